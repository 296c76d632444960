"""How an architecture stands on a data set, in a word, by the primary contrasts that name it."""

from collections.abc import Sequence
from typing import Final

from archbench.reports.contrasts.contrast import OUTCOMES, Contrast, architectures_of, wins
from archbench.reports.report import Report
from archbench.reports.results.comparison import Cell, Comparison

NOT_ABOVE_BASELINE: Final = "\N{DAGGER}"  # marks a score not shown to be better than the best simple baseline
WORDS: Final = {
    **OUTCOMES,
    "wins": "wins",
    "better": "better",
    "ties": "ties",
    "loses": "loses",
    "alone": "no verdict",
}


def standing(architecture: str, contrasts: Sequence[Contrast], trained: bool = True) -> str:
    """How an architecture stands in the primary contrasts of a data set that name it.

    ``wins``: better than every other one (`contrasts.wins`). ``better``: better in all of them, but not tested against
    every other one. ``loses``: worse in at least one. ``ties``: all are decided, none against it, and one or more as
    equal within the margin. ``open``: one or more are not decided. ``unknown``: none was tested. ``untrained``: it is
    not ``trained`` enough. ``alone``: none of the others is; otherwise they do not count. ``accounting``: it does not
    lose, and the outcome of one or more depends on the accounting.
    """
    if wins(architecture, contrasts):
        return "wins"
    own = [contrast for contrast in contrasts if architecture in (contrast.first, contrast.second)]
    if own and not trained:
        return "untrained"
    if own and all(contrast.outcome == "untrained" for contrast in own):
        return "alone"
    own = [contrast for contrast in own if contrast.outcome != "untrained"]
    tested = [contrast for contrast in own if contrast.outcome != "unknown"]
    if not tested:
        return "unknown"
    if any(contrast.worse == architecture for contrast in tested):
        return "loses"
    if any(contrast.outcome == "accounting" for contrast in tested):
        return "accounting"
    if all(contrast.better == architecture for contrast in own):
        return "better"
    return "ties" if all(contrast.decided for contrast in own) else "open"


def state(report: Report, comparison: Comparison, architecture: str) -> str:
    """The standing of an architecture on the data set of a comparison."""
    trained = report.comparisons.gate(comparison.group, architecture).passed
    return standing(architecture, report.tested.primary_on(comparison.group.dataset), trained)


def in_primary(report: Report) -> list[str]:
    """The architectures that primary contrasts name, in their order."""
    return architectures_of(report.tested.primary)


def behind_baseline(comparison: Comparison, cell: Cell) -> bool:
    """Whether an architecture is not better, by its 95% interval, than the best simple baseline."""
    best = comparison.best_simple_baseline
    if best is None or not cell.values:
        return False
    return min(comparison.gains_over(best[1], cell)) <= 0
