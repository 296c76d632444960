"""How much of what a task tests on stands in a pretraining text.

An example counts as seen where at least half of its sequences of eight words do (GPT-3 drops examples with sequences of
13 words, 2005.14165, appendix C). Texts of fewer words are not checked: they recur by chance.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from archbench.tasks.base.dataset import Dataset, Table, Text
from archbench.tasks.base.groups import normal

WORDS = 8
SEEN = 0.5  # of an example's sequences
LIMIT = 0.01  # of the checked examples


@dataclass(frozen=True)
class Overlap:
    """The examples of a test split that were checked, those of them that are seen, and the first of these."""

    checked: int
    seen: int
    example: str = ""

    @property
    def too_much(self) -> bool:
        return self.seen > LIMIT * self.checked


def overlap(pretraining: Text, tested: Sequence[str]) -> Overlap:
    """The texts of ``tested`` that stand in the pretraining text."""
    grams = [_grams(text) for text in tested]
    wanted = {gram for own in grams for gram in own}
    known = wanted & _shared(pretraining.chunks(), wanted)
    seen = [place for place, own in enumerate(grams) if own and sum(g in known for g in own) >= SEEN * len(own)]
    return Overlap(sum(map(bool, grams)), len(seen), tested[seen[0]] if seen else "")


def texts_of_tests(dataset: Dataset, labels: bool) -> list[str]:
    """What a task tests on: sources, and targets where they are not ``labels``; of running text its lines."""
    if isinstance(dataset.test, Table):
        return [*dataset.test.sources, *([] if labels else dataset.test.targets)]
    return [line for chunk in dataset.test.chunks() for line in chunk.split("\n") if line.strip()]


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
