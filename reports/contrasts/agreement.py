"""Pairs with different outcomes by several families of tests, or by several primary measures.

A pair may be a primary contrast, a control, a doubling of the budget and evidence for a claim at once. Each family is
corrected for its own number of tests, and a control has seeds of its own, so that outcomes near 5% can differ.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from archbench.reports.base.formatting import listing
from archbench.reports.contrasts.contrast import Contrast, turned
from archbench.reports.contrasts.phrase import corrected_p, phrase
from archbench.reports.results.place import Place

_HALF = ", half the budget"  # of a control's name


@dataclass(frozen=True)
class Disagreement:
    """A pair with different outcomes: by family of tests, the contrast, turned so that ``first`` is the first."""

    title: str
    first: str
    second: str
    contrasts: tuple[tuple[str, Contrast], ...]

    @property
    def sentence(self) -> str:
        outcomes: dict[str, list[str]] = {}
        for family, contrast in self.contrasts:
            words = phrase(contrast.ignoring_accounting, "cell")
            outcomes.setdefault(words, []).append(f"{family} ({corrected_p(contrast)})")
        parts = (f"{words} as {listing(families)}" for words, families in outcomes.items())
        return f"{self.title}, {self.first} vs. {self.second}: {'; '.join(parts)}."


def disagreements(families: Sequence[tuple[str, Sequence[Contrast]]]) -> list[Disagreement]:
    """The pairs that two of these families of tests, by name, judge differently under the same condition."""
    by_pair: dict[tuple[str, str, str, str, str], dict[str, Contrast]] = {}
    for family, contrast in _tested(families):
        contrast = replace(contrast, first=_side(contrast.first), second=_side(contrast.second))
        contrast = contrast if contrast.first <= contrast.second else turned(contrast)
        key = (contrast.dataset, contrast.metric.name, contrast.condition, contrast.first, contrast.second)
        by_pair.setdefault(key, {}).setdefault(family, contrast)
    differing = []
    for (*_, first, second), contrasts in by_pair.items():
        if len({contrast.ignoring_accounting.outcome for contrast in contrasts.values()}) > 1:
            title = next(iter(contrasts.values())).title
            differing.append(Disagreement(title, first, second, tuple(contrasts.items())))
    return differing


def by_measure(primary: Sequence[Contrast]) -> list[str]:
    """A sentence for each data set with a pair that its measures decide differently or only one of them decides."""
    by_pair: dict[tuple[str, str, str], list[Contrast]] = {}
    for contrast in primary:
        if contrast.several and contrast.outcome != "unknown":
            by_pair.setdefault((contrast.dataset, contrast.first, contrast.second), []).append(contrast)
    differing: dict[str, list[str]] = {}
    for (dataset, first, second), same in by_pair.items():
        if len({entry.outcome for entry in same}) > 1 and any(entry.decided for entry in same):
            outcomes = ", ".join(f"{phrase(entry, 'cell')} by {entry.metric.label}" for entry in same)
            differing.setdefault(dataset, []).append(f"{first} vs. {second} ({outcomes})")
    return [f"On {dataset} the measures differ: {'; '.join(pairs)}." for dataset, pairs in differing.items()]


def _side(name: str) -> str:
    """A side of a contrast by the name that other families of tests give it."""
    return Place(name.removesuffix(_HALF), share=0.5).words if name.endswith(_HALF) else name


def _tested(families: Sequence[tuple[str, Sequence[Contrast]]]) -> Iterator[tuple[str, Contrast]]:
    for family, contrasts in families:
        yield from ((family, contrast) for contrast in contrasts if contrast.outcome != "unknown")
