"""Pairs that several families of tests judge, with outcomes that differ.

A pair may be a primary contrast, a control, a doubling of the budget and evidence for a claim at once. Each family is
corrected for its own number of tests, and a control has seeds of its own, so that outcomes near 5% can differ.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from archbench.reports.analysis.contrasts import OUTCOMES, Contrast, turned
from archbench.reports.analysis.sides import Side
from archbench.reports.analysis.verdicts import p_text
from archbench.reports.base.formatting import listing

_HALF = ", half the budget"  # of a control's name


@dataclass(frozen=True)
class Disagreement:
    """A pair with different outcomes: by family of tests, the contrast, turned so that ``first`` is the first."""

    dataset: str
    first: str
    second: str
    contrasts: tuple[tuple[str, Contrast], ...]

    @property
    def sentence(self) -> str:
        outcomes: dict[str, list[str]] = {}
        for family, contrast in self.contrasts:
            outcomes.setdefault(_outcome(contrast), []).append(f"{family} ({p_text(contrast)})")
        parts = (f"{words} as {listing(families)}" for words, families in outcomes.items())
        return f"{self.dataset}, {self.first} vs. {self.second}: {'; '.join(parts)}."


def disagreements(families: Sequence[tuple[str, Sequence[Contrast]]]) -> list[Disagreement]:
    """The pairs that two of these families of tests, by name, judge differently under the same condition."""
    judged: dict[tuple[str, str, str, str, str], dict[str, Contrast]] = {}
    for family, contrast in _tested(families):
        first, second = _side(contrast.first), _side(contrast.second)
        if first > second:
            first, second, contrast = second, first, turned(contrast)
        key = (contrast.dataset, contrast.metric.name, contrast.condition, first, second)
        judged.setdefault(key, {}).setdefault(family, contrast)
    differing = []
    for (dataset, _, _, first, second), contrasts in judged.items():
        if len({contrast.ignoring_accounting.outcome for contrast in contrasts.values()}) > 1:
            differing.append(Disagreement(dataset, first, second, tuple(contrasts.items())))
    return differing


def _side(name: str) -> str:
    """A side of a contrast by the name that other families of tests give it."""
    return Side(name.removesuffix(_HALF), share=0.5).words if name.endswith(_HALF) else name


def _tested(families: Sequence[tuple[str, Sequence[Contrast]]]) -> Iterator[tuple[str, Contrast]]:
    for family, contrasts in families:
        yield from ((family, contrast) for contrast in contrasts if contrast.outcome != "unknown")


def _outcome(contrast: Contrast) -> str:
    contrast = contrast.ignoring_accounting
    return f"{_side(contrast.better)} better" if contrast.better else OUTCOMES[contrast.outcome]
