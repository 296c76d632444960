"""Raw data before any tokenizer: running text or a table of pairs, in three splits.

generation      Text    the works of an author, read in chunks, never all at once
classification  Table   sources are texts, targets their labels
translation     Table   sources are sentences, targets their translations
summarization   Table   sources are texts, targets their summaries
memorization    Table   sources are keys, targets the random strings to memorize
skill           Table   sources are questions, targets their answers
pairs           Text    to train on, or empty; the test split is a Table whose targets are the texts of each row in turn
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

CHUNK = 1 << 20  # characters
SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Text:
    """One split of running text: ``pieces`` can be iterated repeatedly, ``bytes`` is its length in UTF-8."""

    pieces: Iterable[str]
    bytes: int

    def chunks(self) -> Iterator[str]:
        """The text in order, in strings of at most ``CHUNK`` characters, cut after a line or at least a word."""
        held = ""
        for piece in self.pieces:
            for start in range(0, len(piece), CHUNK):
                held += piece[start : start + CHUNK]
                while len(held) > CHUNK:
                    cut = _cut(held)
                    yield held[:cut]
                    held = held[cut:]
        if held:
            yield held


@dataclass(frozen=True)
class Table:
    """One split of pairs: ``targets[i]`` is the label, translation or summary of ``sources[i]``.

    ``rows[i]`` is the row in the file (or split of the hub) that pair ``i`` was read from, counted from 0.
    """

    sources: list[str]
    targets: list[str]
    rows: Sequence[int] = field(default=(), compare=False)  # default: 0, 1, 2, ...

    def __post_init__(self) -> None:
        object.__setattr__(self, "rows", self.rows or range(len(self.sources)))

    def __len__(self) -> int:
        return len(self.sources)

    def take(self, indices: Sequence[int]) -> "Table":
        """Only the pairs at ``indices``."""
        sources, targets = ([column[index] for index in indices] for column in (self.sources, self.targets))
        return Table(sources, targets, [self.rows[index] for index in indices])


@dataclass(frozen=True)
class Dataset:
    """Three splits, all ``Text`` or all ``Table`` (but of pairs), with their licence, origin and digest.

    ``digest`` is the SHA-256 of the content (not of file names or dates); ``notes`` counts dropped and shared rows.
    ``slices`` are further test sets of pairs by name, such as "length=40". ``vocabulary`` is a text with every token of
    data whose tokenizer is not trained.
    """

    kind: str
    train: Text | Table
    validation: Text | Table
    test: Text | Table
    licence: str
    origin: str
    digest: str
    notes: dict[str, int] = field(default_factory=dict)
    slices: Mapping[str, Table] = field(default_factory=dict)
    vocabulary: str = ""


def seen_in_train(train: Table, test: Table) -> int:
    """The number of test rows whose source training has too."""
    known = set(train.sources)
    return sum(source in known for source in test.sources)


def text_in_memory(*documents: str) -> Text:
    """Text that is held in memory, for example one string for each work."""
    return Text(documents, sum(len(document.encode()) for document in documents))


def make_dataset(
    kind: str,
    train: Text | Table,
    validation: Text | Table,
    test: Text | Table,
    *,
    licence: str,
    origin: str,
    notes: dict[str, int] | None = None,
    slices: Mapping[str, Table] | None = None,
    vocabulary: str = "",
) -> Dataset:
    """A ``Dataset`` whose digest is computed here."""
    slices = slices or {}
    digest = content_digest(train, validation, test, *slices.values())
    return Dataset(kind, train, validation, test, licence, origin, digest, notes or {}, slices, vocabulary)


def content_digest(*splits: Text | Table) -> str:
    """SHA-256 of the splits' content, the same however the text is cut into pieces."""
    total = hashlib.sha256()
    for split in splits:
        part = _text_digest(split) if isinstance(split, Text) else _table_digest(split)
        total.update(part)
    return total.hexdigest()


def _text_digest(split: Text) -> bytes:
    digest = hashlib.sha256(b"text\0")
    for chunk in split.chunks():
        digest.update(chunk.encode())
    return digest.digest()


def _table_digest(split: Table) -> bytes:
    digest = hashlib.sha256(b"table\0")
    for source, target in zip(split.sources, split.targets, strict=True):
        _update(digest, source)
        _update(digest, target)
    return digest.digest()


def _update(digest: Any, value: str) -> None:
    raw = value.encode()
    digest.update(len(raw).to_bytes(8, "little"))
    digest.update(raw)


def amount(digits: str | None, usual: int, most: int) -> int | None:
    """The number of examples that a built-in name asks for, as in ``:5_000``; None where it is not 1 to ``most``."""
    plain = (digits or str(usual)).replace("_", "").lstrip("0")
    if not plain or len(plain) > len(str(most)) or not 1 <= int(plain) <= most:  # Python reads some thousand digits
        return None
    return int(plain)


def _cut(held: str) -> int:
    """Where to cut a string longer than ``CHUNK``: after its last line break or space, else at ``CHUNK``."""
    for mark in ("\n", " "):
        end = held.rfind(mark, 0, CHUNK)
        if end > 0:
            return end + 1
    return CHUNK
