"""Output on the terminal after a comparison: the tables of sections, and a sentence for each data set."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from archbench.reports.contrasts.agreement import by_measure
from archbench.reports.contrasts.phrase import elsewhere, phrase
from archbench.reports.contrasts.verdicts import cautions, changed, left_out, verdict
from archbench.reports.page.elements import lede
from archbench.reports.page.elements.bottom_line import limits, pretrained
from archbench.reports.page.elements.grids import GridCell
from archbench.reports.page.elements.parts import Section, Table, Terminal
from archbench.reports.page.elements.task_lines import task_lines
from archbench.reports.page.sections import SECTIONS, on_terminal, tuning
from archbench.reports.questions import scaling
from archbench.reports.report import Report
from archbench.reports.results.comparison import Comparison


class Printed(NamedTuple):
    """A table as plain text, the head first, words above it, and how many rows it has in all."""

    above: str
    rows: list[list[str]]
    total: int


def tables(report: Report, sections: tuple[Section, ...] = SECTIONS) -> dict[str, Printed]:
    """Tables of the sections for the terminal, by name; '*' marks the best where the tests allow it."""
    return {table.name: _printed(report, terminal, table) for terminal, table in on_terminal(report, sections)}


def _printed(report: Report, terminal: Terminal[Any], table: Table[Any]) -> Printed:
    grid = table.grid(report, "terminal")
    head = [f"{cell.text} ({cell.below})" if cell.below else cell.text for cell in grid.head]
    rows = [[_line(cell) for cell in row] for row in grid.rows[: terminal.most]]
    return Printed(terminal.above(report), [head, *rows], len(grid.rows))


def sentences(report: Report) -> list[str]:
    """A line for each data set and what limits them or, without primary contrasts, the effects of changes.

    Sentences about size and depth, and about pretraining, follow where conditions differ in them.
    """
    lines = [*map(str, task_lines(report))] or [_sentences(report, comparison) for comparison in report.judged]
    lines += filter(None, [*by_measure(report.tested.primary), limits(report)])
    if not report.tested.primary:
        lines += [phrase(contrast, "sentence") for contrast in report.tested["effect"]]
    lines += [f"{trend.sweep.title}: {line}" for trend in report.trends for line in scaling.sentences(trend)]
    lines += pretrained(report)
    tables = report.tables
    if other_starts := lede.elsewhere(tables):
        lines.append(f"{other_starts} The table by start has the scores; no test compares them.")
    cost = tuning.cost(tables)
    return [*lines, *([f"tuning: {cost}"] if cost else []), *left_out(tables)]


def _sentences(report: Report, comparison: Comparison) -> str:
    """The verdict on one data set, the primary contrasts that are not decided, and the cautions."""
    outcome = verdict(comparison, report.tested.primary_on(comparison))
    further = elsewhere(changed(comparison, report.tested))
    said = [f"{comparison.title}: {outcome.sentence}", *_undecided(report, comparison), *further]
    return " ".join([*said, *cautions(comparison)])


def _undecided(report: Report, comparison: Comparison) -> Iterator[str]:
    for contrast in report.tested.primary_on(comparison):
        if contrast.outcome in ("open", "accounting") or contrast.lost_to_divergence:
            yield phrase(contrast, "sentence")


def _line(cell: GridCell) -> str:
    """A cell with its second line in parentheses: "0.892 (+0.072, 0.024 to 0.120)"."""
    below = cell.below.replace(" (", ", ").rstrip(")")
    best = "strong" in cell.kind.split()
    return f"{cell.text}{f' ({below})' if below else ''}{' *' if best else ''}"
