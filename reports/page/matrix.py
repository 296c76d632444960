"""The first table of the page: the architectures of the primary contrasts by data sets, a word in each cell."""

from collections.abc import Sequence
from typing import Final

from archbench.reports.analysis.comparison import Cell, Comparison
from archbench.reports.analysis.contrasts import Contrast
from archbench.reports.analysis.judgement import Judged
from archbench.reports.analysis.verdicts import reference_label
from archbench.reports.base import formatting
from archbench.reports.page.grids import Grid, GridCell, name

WORDS: Final = {
    "wins": "wins",
    "ties": "ties",
    "loses": "loses",
    "open": "not decided",
    "unknown": "not tested",
    "untrained": "not trained enough",
    "alone": "no verdict",
    "accounting": "depends on the accounting",
}
BASELINE: Final = "†"
MOST_NAMES: Final = 2  # of beaten architectures in a cell
BASELINE_ROW: Final = "best simple baseline"


def standing(architecture: str, contrasts: Sequence[Contrast], trained: bool = True) -> str:
    """How an architecture stands in the primary contrasts of a data set that name it.

    ``wins``: better in all of them. ``loses``: worse in at least one. ``ties``: all are decided, none against it, and
    one or more as equal within the margin. ``open``: one or more are not decided. ``unknown``: none was tested.
    ``untrained``: it is not ``trained`` enough. ``alone``: none of the others is; otherwise they do not count.
    ``accounting``: it does not lose, and the outcome of one or more depends on the accounting.
    """
    named = [contrast for contrast in contrasts if architecture in (contrast.first, contrast.second)]
    if named and not trained:
        return "untrained"
    if named and all(contrast.outcome == "untrained" for contrast in named):
        return "alone"
    named = [contrast for contrast in named if contrast.outcome != "untrained"]
    tested = [contrast for contrast in named if contrast.outcome != "unknown"]
    if not tested:
        return "unknown"
    if any(contrast.worse == architecture for contrast in tested):
        return "loses"
    if any(contrast.outcome == "accounting" for contrast in tested):
        return "accounting"
    if all(contrast.better == architecture for contrast in named):
        return "wins"
    return "ties" if all(contrast.decided for contrast in named) else "open"


def matrix(judged: Judged) -> Grid:
    """Architectures by data sets: the word, the mean, which others it beats; the best baseline below.

    Without rows where nothing is a primary contrast.
    """
    primary = judged.tested.primary
    named = dict.fromkeys(entry for contrast in primary for entry in (contrast.first, contrast.second))
    columns = [comparison for comparison in judged.first if judged.tested.of(comparison.group.dataset)]
    head = [name("architecture"), *(_head(comparison) for comparison in columns)]
    rows = [(name(architecture), *(_cell(judged, entry, architecture) for entry in columns)) for architecture in named]
    if any(comparison.classical for comparison in columns):
        rows.append((GridCell(BASELINE_ROW, kind="text quiet"), *map(_baseline, columns)))
    return Grid(tuple(head), tuple(rows) if columns else ())


def behind_baseline(comparison: Comparison, cell: Cell) -> bool:
    """Whether an architecture is not better, by its 95% interval, than the best simple baseline."""
    best = comparison.classical
    if best is None or not cell.values:
        return False
    interval = cell.interval
    ends = (interval.lower, interval.upper) if interval.known else (interval.mean,)
    return min(comparison.metric.gain(end - best[1]) for end in ends) <= 0


def _head(comparison: Comparison) -> GridCell:
    measure = f"{comparison.metric.label} {comparison.metric.arrow}".strip()
    return GridCell(comparison.group.dataset, f"{comparison.group.task}, {measure}", "text")


def _cell(judged: Judged, comparison: Comparison, architecture: str) -> GridCell:
    contrasts = judged.tested.of(comparison.group.dataset)
    cell = next((cell for cell in comparison.cells if cell.architecture == architecture), None)
    if cell is None or not cell.values:
        return GridCell("no score" if cell else "", kind="text unknown")
    state = standing(architecture, contrasts, judged.comparisons.gate(comparison.group, architecture).passed)
    mark = f" {BASELINE}" if behind_baseline(comparison, cell) else ""
    mean = formatting.value(cell.interval.mean, comparison.metric.decimals)
    return GridCell(WORDS[state] + mark, "; ".join([mean, *_others(architecture, state, contrasts)]), f"text {state}")


def _others(architecture: str, state: str, contrasts: Sequence[Contrast]) -> list[str]:
    """Which architectures it beats where it does not win; whether it wins by less than the margin."""
    beaten = [contrast.worse for contrast in contrasts if contrast.better == architecture]
    if state != "wins":
        names = formatting.listing(beaten) if len(beaten) <= MOST_NAMES else f"{len(beaten)} others"
        return [f"beats {names}"] if beaten else []
    small = all(contrast.small for contrast in contrasts if contrast.better == architecture)
    return ["by less than the margin"] if small else []


def _baseline(comparison: Comparison) -> GridCell:
    best = comparison.classical
    if best is None:
        return GridCell("", kind="text quiet")
    return GridCell(formatting.value(best[1], comparison.metric.decimals), reference_label(best[0]), "text quiet")
