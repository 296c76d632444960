"""The headline for the terminal: architectures by data set, and a sentence for each data set."""

from collections.abc import Iterator

from archbench.reports.contrasts.phrase import elsewhere, phrase
from archbench.reports.contrasts.verdicts import cautions, changed, left_out, verdict
from archbench.reports.page import lede
from archbench.reports.page.bottom_line import pretrained
from archbench.reports.page.grids import GridCell
from archbench.reports.page.sections import pretraining as started
from archbench.reports.page.sections import scores, tuning
from archbench.reports.questions import scaling
from archbench.reports.report import Report
from archbench.reports.results import pretraining
from archbench.reports.results.comparison import Comparison


def text(report: Report) -> list[list[str]]:
    """The headline matrix as rows of plain text, the head first; '*' marks the best where the tests allow it."""
    grid = scores.SCORES.grid(report)
    setups = {entry.first.group.dataset: entry.first.setup.way_words for entry in pretraining.by_dataset(report)}
    below = ["; ".join(filter(None, (cell.below, setups.get(cell.text)))) for cell in grid.head]
    head = [f"{cell.text} ({more})" if more else cell.text for cell, more in zip(grid.head, below, strict=True)]
    return [head, *([_plain(cell) for cell in row] for row in grid.rows)]


def after_pretraining(report: Report) -> list[list[str]]:
    """Every score by start, adaptation and number of examples, as rows of plain text; empty without pretraining."""
    grid = started.SCORES.grid(report)
    rows = [[_with_gain(cell) for cell in row] for row in grid.rows]
    return [[cell.text for cell in grid.head], *rows] if rows else []


def heading_by_start(report: Report) -> str:
    """What ``after_pretraining`` shows: gains only where something was trained from scratch, too."""
    has_gains = any(cell.below for row in started.SCORES.grid(report).rows for cell in row)
    gains = " (in parentheses: the difference from training from scratch)" if has_gains else ""
    return f"Scores for each start{gains}:"


def _with_gain(cell: GridCell) -> str:
    """A score, and in parentheses its gain over training from scratch: "0.892 (+0.072, 0.024 to 0.120)"."""
    gain = cell.below.replace(" (", ", ").rstrip(")")
    return f"{cell.text} ({gain})" if gain else cell.text


def sentences(report: Report) -> list[str]:
    """The decided and open contrasts of each data set with their caveats or, without contrasts, the effects of changes.

    Sentences about size and depth, and about pretraining, follow where conditions differ in them.
    """
    lines = [_sentences(report, comparison) for comparison in report.first]
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
    dataset = comparison.group.dataset
    outcome = verdict(comparison, report.tested.primary_on(dataset))
    further = elsewhere(changed(dataset, report.tested))
    return " ".join([f"{dataset}: {outcome.sentence}", *_undecided(report, dataset), *further, *cautions(comparison)])


def _undecided(report: Report, dataset: str) -> Iterator[str]:
    for contrast in report.tested.primary_on(dataset):
        if contrast.outcome in ("open", "accounting") or contrast.lost_to_divergence:
            yield phrase(contrast, "sentence")


def _plain(cell: GridCell) -> str:
    return f"{cell.text} *" if "strong" in cell.kind.split() else cell.text
