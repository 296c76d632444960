"""Public data sets by name: translation, classification, running text, inflection and pronunciation.

The splits are the publishers' where they exist. ``trec`` has no validation split: it takes 5% of train, with identical
questions on one side. ``subjectivity`` has no splits: 10% are test, 5% validation, drawn in the same way.
``tiny-shakespeare`` is one file: its last 5% are test, the 5% before them validation.
"""

import gzip
import io
import json
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from archbench.tasks.base.dataset import Dataset, Table, Text, make_dataset, seen_in_train, text_in_memory
from archbench.tasks.base.groups import components, normal, sides
from archbench.tasks.base.progress import Say
from archbench.tasks.builtin_data import publishers, sigmorphon
from archbench.tasks.builtin_data.pinned_files import Fetch, Publisher, contents

VERSION = 1  # raise when the same files would be read otherwise
SHARE = 0.05
SENTIMENTS = {"0": "negative", "1": "positive"}
QUESTIONS = {"0": "description", "1": "entity", "2": "abbreviation", "3": "human", "4": "location", "5": "number"}
OPINIONS = {"subjective": "quote.tok.gt9.5000", "objective": "plot.tok.gt9.5000"}

Splits = tuple[Text, Text, Text] | tuple[Table, Table, Table]


@dataclass(frozen=True)
class PublicData:
    """A public data set: the kind of task it is for, one line about it, its files and how they are read.

    ``primary`` is the metric that a task with these data is judged by, empty where it is the kind's own.
    """

    kind: str
    description: str
    licence: str
    publisher: Publisher
    read: Callable[[Sequence[bytes]], Splits]
    primary: str = ""

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


def read_multi30k_mirrored(raw: Sequence[bytes]) -> tuple[Table, Table, Table]:
    """The same files, English to German."""
    train, validation, test = (Table(table.targets, table.sources) for table in read_multi30k(raw))
    return train, validation, test


def read_sst2(raw: Sequence[bytes]) -> tuple[Table, Table, Table]:
    """``sentence<TAB>0 or 1`` without a header, of train, validation and test."""
    train, validation, test = (_labelled([line.split("\t") for line in _lines(part)], SENTIMENTS) for part in raw)
    return train, validation, test


def read_trec(raw: Sequence[bytes]) -> tuple[Table, Table, Table]:
    """``0 to 5<space>question`` in latin-1, of train and test; validation is split off train."""
    train, test = (
        _labelled([line.partition(" ")[::-2] for line in _lines(part, "latin-1")], QUESTIONS) for part in raw
    )
    placed = _drawn(train, {"validation": SHARE})
    return _part(train, placed, "train"), _part(train, placed, "validation"), test


def read_clinc150(raw: Sequence[bytes]) -> tuple[Table, Table, Table]:
    """Lists of ``[question, intent]`` in JSON, by split; those out of scope (``oos_...``) are left out."""
    content = json.loads(raw[0])
    train, validation, test = (
        Table([question for question, _ in content[split]], [intent for _, intent in content[split]])
        for split in ("train", "val", "test")
    )
    return train, validation, test


def read_subjectivity(raw: Sequence[bytes]) -> tuple[Table, Table, Table]:
    """A zip with a file of sentences for each label; identical sentences get the same split."""
    with zipfile.ZipFile(io.BytesIO(raw[0])) as archive:
        texts = {label: _lines(archive.read(f"subjectivity/{name}")) for label, name in OPINIONS.items()}
    labels = [label for label, sentences in texts.items() for _ in sentences]
    whole = Table([sentence for sentences in texts.values() for sentence in sentences], labels)
    placed = _drawn(whole, {"test": 2 * SHARE, "validation": SHARE})
    return _part(whole, placed, "train"), _part(whole, placed, "validation"), _part(whole, placed, "test")


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


def _drawn(table: Table, shares: dict[str, float]) -> list[str]:
    """The split of each row, at random; the same for sources with the same words."""
    groups = components([[normal(source)] for source in table.sources])
    return sides([table.sources[group] for group in groups], shares)


def _part(table: Table, placed: Sequence[str], split: str) -> Table:
    kept = [index for index, side in enumerate(placed) if side == split]
    return Table([table.sources[index] for index in kept], [table.targets[index] for index in kept])


_MULTI30K_LICENCE = "for research; see github:multi30k/dataset (Elliott et al. 2016)"


def _inflection(language: str, end: str) -> PublicData:
    amount, rows = sigmorphon.ROWS[end]
    return PublicData(
        "translation",
        f"tags and {language.title()} lemma to the inflected form, {rows} to train on (SIGMORPHON 2017); languages: "
        f"{', '.join(sigmorphon.INFLECTED)}, each also with -medium",
        "none stated in the repository; from Wiktionary (CC BY-SA) by UniMorph (Cotterell et al. 2017)",
        sigmorphon.inflection(language, amount),
        sigmorphon.read_inflection,
        primary="exact_match",
    )


def _pronunciation(language: str) -> PublicData:
    return PublicData(
        "translation",
        f"4,500 {language.title()} words, letters to phonemes (SIGMORPHON 2020); languages: "
        f"{', '.join(sigmorphon.PRONOUNCED)}",
        "none stated in the repository; from Wiktionary (CC BY-SA) by WikiPron (Gorman et al. 2020)",
        sigmorphon.pronunciation(language),
        sigmorphon.read_pronunciation,
        primary="exact_match",
    )


_INFLECTION = {
    f"inflection-{language}{end}": _inflection(language, end)
    for end in sigmorphon.ROWS
    for language in sigmorphon.INFLECTED
}
_PRONUNCIATION = {f"g2p-{language}": _pronunciation(language) for language in sigmorphon.PRONOUNCED}
PUBLIC = {
    "multi30k-de-en": PublicData(
        "translation",
        "31,014 picture captions, German to English (Multi30k, test set of 2016); fetched from GitHub",
        _MULTI30K_LICENCE,
        publishers.MULTI30K,
        read_multi30k,
    ),
    "multi30k-en-de": PublicData(
        "translation",
        "the same captions, English to German",
        _MULTI30K_LICENCE,
        publishers.MULTI30K,
        read_multi30k_mirrored,
    ),
    "sst2": PublicData(
        "classification",
        "9,613 sentences from film reviews, negative or positive (SST-2); fetched from GitHub",
        "for research; see github:clairett/pytorch-sentiment-classification (Socher et al. 2013)",
        publishers.SST2,
        read_sst2,
    ),
    "trec": PublicData(
        "classification",
        "5,952 questions, six classes of what they ask for (TREC, coarse labels); fetched from GitHub",
        "none stated for the questions; see github:harvardnlp/sent-conv-torch (Li and Roth 2002)",
        publishers.TREC,
        read_trec,
    ),
    "clinc150": PublicData(
        "classification",
        "22,500 questions to an assistant, 150 intents (CLINC150 without questions out of scope); fetched from GitHub",
        "CC BY 3.0 (Larson et al. 2019)",
        publishers.CLINC150,
        read_clinc150,
    ),
    "subjectivity": PublicData(
        "classification",
        "10,000 sentences about films, subjective or objective, from reviews or plots; fetched from GitHub",
        "CC BY 4.0 (Pang and Lee 2004)",
        publishers.SUBJECTIVITY,
        read_subjectivity,
    ),
    "tiny-shakespeare": PublicData(
        "generation",
        "1.1 million characters of Shakespeare's plays in one file (Karpathy); fetched from GitHub",
        "public domain text; the repository states no licence for it",
        publishers.TINY_SHAKESPEARE,
        read_text,
    ),
    **_INFLECTION,
    **_PRONUNCIATION,
}
UNLISTED = {*[*_INFLECTION][1:], *[*_PRONUNCIATION][1:]}  # the first of a family stands for all in listings
