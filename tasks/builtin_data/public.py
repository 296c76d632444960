"""Public data sets by name: ``multi30k-de-en``, ``sst2``, ``trec``, ``tiny-shakespeare``.

The splits are the publishers' where they exist. ``trec`` has no validation split: it takes 5% of train, with identical
questions on one side. ``tiny-shakespeare`` is one file: its last 5% are test, the 5% before them validation.
"""

import gzip
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from archbench.tasks.base.dataset import Dataset, Table, Text, make_dataset, seen_in_train, text_in_memory
from archbench.tasks.base.groups import components, normal, sides
from archbench.tasks.base.progress import Say
from archbench.tasks.builtin_data.pinned_files import Fetch, PinnedFile, Publisher, contents

VERSION = 1  # raise when the same files would be read otherwise
SHARE = 0.05
SENTIMENTS = {"0": "negative", "1": "positive"}
QUESTIONS = {"0": "description", "1": "entity", "2": "abbreviation", "3": "human", "4": "location", "5": "number"}

Splits = tuple[Text, Text, Text] | tuple[Table, Table, Table]


@dataclass(frozen=True)
class PublicData:
    """A public data set: the kind of task it is for, one line about it, its files and how they are read."""

    kind: str
    description: str
    licence: str
    publisher: Publisher
    read: Callable[[Sequence[bytes]], Splits]

    @property
    def version(self) -> str:
        return f"{VERSION} {self.publisher.version}"


def load(name: str, cache: Path, say: Say, fetch: Fetch | None = None) -> Dataset:
    """The data set of that name in ``PUBLIC``; raises ``InputError`` where its files cannot be had."""
    public = PUBLIC[name]
    train, validation, test = public.read(contents(name, public.publisher, cache, say, fetch))
    notes = {}
    if isinstance(train, Table) and isinstance(test, Table):
        notes["test_sources_seen_in_train"] = seen_in_train(train, test)
    return make_dataset(
        public.kind,
        train,
        validation,
        test,
        licence=public.licence,
        origin=public.publisher.origin,
        notes=notes,
    )


def read_multi30k(raw: Sequence[bytes]) -> tuple[Table, Table, Table]:
    """Gzip-compressed lines in German and in English, of train, validation and test."""
    texts = [_lines(gzip.decompress(part)) for part in raw]
    tables = [Table(texts[index], texts[index + 1]) for index in (0, 2, 4)]
    for table in tables:
        assert len(table.sources) == len(table.targets)
    return tables[0], tables[1], tables[2]


def read_sst2(raw: Sequence[bytes]) -> tuple[Table, Table, Table]:
    """``sentence<TAB>0 or 1`` without a header, of train, validation and test."""
    train, validation, test = (_labelled([line.split("\t") for line in _lines(part)], SENTIMENTS) for part in raw)
    return train, validation, test


def read_trec(raw: Sequence[bytes]) -> tuple[Table, Table, Table]:
    """``0 to 5<space>question`` in latin-1, of train and test; validation is split off train."""
    train, test = (
        _labelled([line.partition(" ")[::-2] for line in _lines(part, "latin-1")], QUESTIONS) for part in raw
    )
    groups = components([[normal(question)] for question in train.sources])
    placed = sides([train.sources[group] for group in groups], {"validation": SHARE})
    return _part(train, placed, "train"), _part(train, placed, "validation"), test


def read_text(raw: Sequence[bytes]) -> tuple[Text, Text, Text]:
    """One text, contiguously: train, validation, test."""
    whole = raw[0].decode()
    wanted = [round(len(whole) * (1 - 2 * SHARE)), round(len(whole) * (1 - SHARE))]
    ends = [0, *(whole.find("\n", position - 1) + 1 or position for position in wanted), len(whole)]
    train, validation, test = (text_in_memory(whole[start:stop]) for start, stop in pairwise(ends))
    return train, validation, test


def _lines(raw: bytes, encoding: str = "utf-8") -> list[str]:
    """Lines without surrounding space; only "\\n" ends a line."""
    return [line.strip() for line in raw.decode(encoding).removesuffix("\n").split("\n")]


def _labelled(rows: Sequence[Sequence[str]], names: dict[str, str]) -> Table:
    return Table([sentence.strip() for sentence, _ in rows], [names[label] for _, label in rows])


def _part(table: Table, placed: Sequence[str], split: str) -> Table:
    kept = [index for index, side in enumerate(placed) if side == split]
    return Table([table.sources[index] for index in kept], [table.targets[index] for index in kept])


PUBLIC = {
    "multi30k-de-en": PublicData(
        "translation",
        "31,014 picture captions, German to English (Multi30k, test set of 2016); fetched from GitHub",
        "for research; see github:multi30k/dataset (Elliott et al. 2016)",
        Publisher(
            "multi30k/dataset",
            "a3d2e0d26b56f3846f66a952536ffed4e401d05a",
            (
                PinnedFile(
                    "data/task1/raw/train.de.gz",
                    637044,
                    "726e39b2fa9eb9ffb6dc763fb35a179f80fae06ffc5d28b6ace5faa883de28a6",
                ),
                PinnedFile(
                    "data/task1/raw/train.en.gz",
                    568929,
                    "d79cfa999dd4c51d2cb42499b6796d5a882c3a8a961923c25a898c90f8bbd56f",
                ),
                PinnedFile(
                    "data/task1/raw/val.de.gz",
                    24681,
                    "f0cba2f995189cf5770f29a8a9a537a3ad3f51657ad873405082ff6863a5e75a",
                ),
                PinnedFile(
                    "data/task1/raw/val.en.gz",
                    21650,
                    "14f7d25ddd868909a9213e361768460edcacdd6ab9d1e77b92560dc10c10dc28",
                ),
                PinnedFile(
                    "data/task1/raw/test_2016_flickr.de.gz",
                    22890,
                    "9204244e408ccb38d2a55cfcd344df15005fc42a07a6e55ca6c52b6ababb8cc8",
                ),
                PinnedFile(
                    "data/task1/raw/test_2016_flickr.en.gz",
                    21077,
                    "611d361c6334bc7246101d48097c13cf5c4413c5befc793cc629934359d532d9",
                ),
            ),
        ),
        read_multi30k,
    ),
    "sst2": PublicData(
        "classification",
        "9,613 sentences from film reviews, negative or positive (SST-2); fetched from GitHub",
        "for research; see github:clairett/pytorch-sentiment-classification (Socher et al. 2013)",
        Publisher(
            "clairett/pytorch-sentiment-classification",
            "457ffd83de90a9d6d472d8ffc31bbffe40a8b236",
            (
                PinnedFile(
                    "data/SST2/train.tsv", 720259, "ec192f833a64da08f475488a77b0d0b47db47acd0f458bd18433fc793b569920"
                ),
                PinnedFile(
                    "data/SST2/dev.tsv", 92057, "eddea6b39e601dd4e7a672b53cc40fdf6019fa80522f351206c24340ca5d9359"
                ),
                PinnedFile(
                    "data/SST2/test.tsv", 188749, "831169c7e2e429d6026e1bdbb542f33b636e3e596caad9602ebc953c205928b7"
                ),
            ),
        ),
        read_sst2,
    ),
    "trec": PublicData(
        "classification",
        "5,952 questions, six classes of what they ask for (TREC, coarse labels); fetched from GitHub",
        "none stated for the questions; see github:harvardnlp/sent-conv-torch (Li and Roth 2002)",
        Publisher(
            "harvardnlp/sent-conv-torch",
            "d61ded09c99c0199d8c5bca946cd65864de2b296",
            (
                PinnedFile(
                    "data/TREC.train.all", 292402, "c8183fd8c2a5cc4a9a1c56548d7c6410a8b71ed7843df9ef1f0a05cd7cf2fb3e"
                ),
                PinnedFile(
                    "data/TREC.test.all", 19479, "92a6a3cede5678b447ef5f1d7ec474134fcda211e6590e6fa627b4a2c68e4566"
                ),
            ),
        ),
        read_trec,
    ),
    "tiny-shakespeare": PublicData(
        "generation",
        "1.1 million characters of Shakespeare's plays in one file (Karpathy); fetched from GitHub",
        "public domain text; the repository states no licence for it",
        Publisher(
            "karpathy/char-rnn",
            "6f9487a6fe5b420b7ca9afb0d7c078e37c1d1b4e",
            (
                PinnedFile(
                    "data/tinyshakespeare/input.txt",
                    1115394,
                    "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
                ),
            ),
        ),
        read_text,
    ),
}
