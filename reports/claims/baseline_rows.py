"""Architectures against a baseline: which is better or worse by the interval of its score."""

import math
from collections.abc import Sequence
from dataclasses import replace

from archbench.reports.base import formatting
from archbench.reports.base.statistics import p_difference
from archbench.reports.claims.ledger import Claim
from archbench.reports.contrasts.testing import diverged
from archbench.reports.contrasts.words import OUTCOMES
from archbench.reports.results.comparison import UNTRAINED, Cell, Comparison


def standings(claim: Claim, comparison: Comparison, cells: Sequence[Cell]) -> str:
    """Which architectures are better than a baseline on a data set, which worse, and which diverged."""
    value = comparison.baselines[claim.over]
    outcomes = {cell.architecture: against(comparison, cell, value) for cell in cells}
    named = {word: [name for name in outcomes if outcomes[name] == word] for word in outcomes.values()}
    parts = (f"{formatting.listing(names)} {OUTCOMES[word]}" for word, names in named.items())
    lost = diverged(comparison.group, comparison.group.architectures)
    more = f" ({formatting.listing(lost)} diverged)" if lost else ""
    return f"on {comparison.group.dataset}, {formatting.listing(parts)}{more}" if cells else ""


def p_against(claim: Claim, comparison: Comparison, cell: Cell) -> float:
    """The p value of no difference from a baseline, whose own error is not known."""
    return p_difference(replace(cell.interval, mean=cell.interval.mean - comparison.baselines[claim.over]))


def against(comparison: Comparison, cell: Cell, value: float) -> str:
    """The outcome for an architecture against a baseline, by the interval of its score (see ``Contrast.outcome``)."""
    if not cell.interval.known:
        return "unknown"
    gains = comparison.gains_over(value, cell)
    return "ahead" if min(gains) > 0 else "behind" if max(gains) < 0 else "open"


def learned(comparison: Comparison) -> list[str]:
    """The architectures that are better than the untrained model; all where there is no such row, or no interval."""
    value = comparison.baselines.get(UNTRAINED, math.nan)
    known = not math.isnan(value)
    return [
        cell.architecture
        for cell in comparison.scored
        if not (known and cell.interval.known) or against(comparison, cell, value) == "ahead"
    ]
