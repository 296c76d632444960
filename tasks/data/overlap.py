"""How much of a task's test split occurs in a pretraining text.

A text counts as seen where at least half of its sequences of eight words occur in the pretraining text (GPT-3 drops
examples with sequences of 13 words, 2005.14165, appendix C). A text of fewer words counts where a line of the
pretraining text has the same words.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from archbench.tasks.base.dataset import Dataset, Table, Text
from archbench.tasks.base.groups import normal

WORDS = 8
SEEN = 0.5  # of an example's sequences
LIMIT = 0.01  # of the checked examples


@dataclass(frozen=True)
class Overlap:
    """The number of test texts that were checked, how many of them were seen, and the first of these."""

    checked: int
    seen: int
    example: str = ""

    @property
    def too_much(self) -> bool:
        return self.seen > LIMIT * self.checked


def overlap(pretraining: Text, tested: Sequence[str]) -> Overlap:
    """The texts of ``tested`` that occur in the pretraining text."""
    grams_by_text = [_grams(text) for text in tested]
    short_texts = ["" if grams else normal(text) for text, grams in zip(tested, grams_by_text, strict=True)]
    known = _shared(pretraining.chunks(), {gram for grams in grams_by_text for gram in grams})
    lines = _lines(pretraining.chunks(), set(short_texts) - {""})
    seen = [
        text
        for text, grams, short in zip(tested, grams_by_text, short_texts, strict=True)
        if (short in lines if short else grams and sum(gram in known for gram in grams) >= SEEN * len(grams))
    ]
    return Overlap(len(tested), len(seen), seen[0] if seen else "")


def texts_of_tests(dataset: Dataset, labels: bool) -> list[str]:
    """What a task tests on: sources, and targets where they are not ``labels``; pieces of running text."""
    if isinstance(dataset.test, Table):
        return [*dataset.test.sources, *([] if labels else dataset.test.targets)]
    return list(_pieces(line for chunk in dataset.test.chunks() for line in chunk.split("\n") if line.strip()))


def _pieces(lines: Iterable[str]) -> Iterator[str]:
    """Lines joined until they have eight words: shorter ones, such as the name of a speaker, recur by chance."""
    piece: list[str] = []
    for line in lines:
        piece.append(line)
        if len(normal(" ".join(piece)).split()) >= WORDS:
            yield " ".join(piece)
            piece = []


def _grams(text: str) -> list[str]:
    words = normal(text).split()
    return [" ".join(words[at : at + WORDS]) for at in range(len(words) - WORDS + 1)]


def _shared(chunks: Iterable[str], wanted: set[str]) -> set[str]:
    """The sequences of ``wanted`` that the text has."""
    grams: set[str] = set()
    last: list[str] = []
    for chunk in chunks:
        words = [*last, *normal(chunk).split()]
        grams.update(
            gram for at in range(len(words) - WORDS + 1) if (gram := " ".join(words[at : at + WORDS])) in wanted
        )
        last = words[-WORDS + 1 :]
    return grams


def _lines(chunks: Iterable[str], wanted: set[str]) -> set[str]:
    """The texts of ``wanted`` that are a line of the text."""
    lines: set[str] = set()
    last = ""
    for chunk in chunks if wanted else ():
        *whole, last = (last + chunk).split("\n")
        lines.update(words for line in whole if (words := normal(line)) in wanted)
    return lines | ({normal(last)} & wanted)
