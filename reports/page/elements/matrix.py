"""The first table of the page: the architectures of the primary contrasts by data sets, a word in each cell."""

from typing import Final

from archbench.reports.base import formatting
from archbench.reports.base.once import once_per_report
from archbench.reports.contrasts import words
from archbench.reports.contrasts.contrast import architectures_of
from archbench.reports.contrasts.phrase import under
from archbench.reports.contrasts.verdicts import baseline_label, changed
from archbench.reports.page.elements.grids import Grid, GridCell, text_cell
from archbench.reports.readings.adapted import adapted
from archbench.reports.readings.standing import standing_of
from archbench.reports.report import Report
from archbench.reports.results.comparison import Comparison
from archbench.runs.experiment.spec import FINETUNE, is_scratch

MOST_STARTS: Final = 2  # pretrainings of a data set whose scores stand in the cells
BASELINE_ROW: Final = "best simple baseline"


@once_per_report
def matrix(report: Report) -> Grid:
    """Architectures by data sets: the word, the mean, how it stands to single others; the best baseline below.

    Without rows where nothing is a primary contrast.
    """
    columns = [comparison for comparison in report.judged if report.tested.primary_on(comparison)]
    head = [text_cell("architecture"), *(_head(comparison) for comparison in columns)]
    rows = [
        (text_cell(architecture), *(_cell(report, entry, architecture) for entry in columns))
        for architecture in architectures_of(report.tested.primary)
    ]
    if any(comparison.best_simple_baseline for comparison in columns):
        rows.append((GridCell(BASELINE_ROW, kind="text quiet"), *map(_baseline, columns)))
    return Grid(tuple(head), tuple(rows) if columns else ())


def _head(comparison: Comparison) -> GridCell:
    measure = comparison.metric.label_with_arrow
    return GridCell(comparison.group.dataset, f"{comparison.group.task}, {measure}", "text")


def _cell(report: Report, comparison: Comparison, architecture: str) -> GridCell:
    contrasts = report.tested.primary_on(comparison)
    cell = next((cell for cell in comparison.cells if cell.architecture == architecture), None)
    if cell is None or not cell.values:
        return GridCell("no score" if cell else "", kind="text unknown")
    standing = standing_of(report, comparison, cell)
    lines = [standing.mean, *words.against_each(architecture, standing.state, contrasts)]
    if standing.state == "wins":
        for contrast in changed(comparison, report.tested):
            if architecture in (contrast.first, contrast.second):
                there = "different" if contrast.decided else words.OUTCOMES["open"]
                lines.append(f"{there} {under(contrast.condition)}")
    lines += [] if comparison.is_second else _after_pretraining(report, comparison, architecture)
    return GridCell(standing.words, "; ".join(dict.fromkeys(lines)), f"text {standing.state}")


def _after_pretraining(report: Report, comparison: Comparison, architecture: str) -> list[str]:
    """The scores after pretraining, finetuned on as many examples; none if the data set has too many pretrainings."""
    asked = comparison.group.dataset, FINETUNE, comparison.setup.examples
    started = [
        entry
        for entry in adapted(report)
        if (entry.dataset, entry.adapt, entry.examples) == asked and not is_scratch(entry.start)
    ]
    if len({entry.start for entry in started}) > MOST_STARTS:
        return []
    return [
        f"{formatting.value(entry.score.mean, entry.metric.decimals)} after {entry.start}"
        for entry in started
        if entry.architecture == architecture
    ]


def _baseline(comparison: Comparison) -> GridCell:
    best = comparison.best_simple_baseline
    if best is None:
        return GridCell("", kind="text quiet")
    return GridCell(formatting.value(best[1], comparison.metric.decimals), baseline_label(best[0]), "text quiet")
