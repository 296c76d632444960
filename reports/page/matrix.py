"""The first table of the page: the architectures of the primary contrasts by data sets, a word in each cell."""

from collections.abc import Sequence
from typing import Final

from archbench.reports.base import formatting
from archbench.reports.base.once import once_per_report
from archbench.reports.contrasts.contrast import Contrast
from archbench.reports.contrasts.verdicts import baseline_label, changed, place
from archbench.reports.page.grids import Grid, GridCell, text_cell
from archbench.reports.readings.standing import NOT_ABOVE_BASELINE, WORDS, behind_baseline, in_primary, state
from archbench.reports.report import Report
from archbench.reports.results.comparison import Comparison
from archbench.reports.results.pretraining import adapted
from archbench.runs.experiment.spec import FINETUNE, is_scratch

MOST_NAMES: Final = 2  # of other architectures after a verb in a cell
MOST_STARTS: Final = 2  # pretrainings of a data set whose scores stand in the cells
BASELINE_ROW: Final = "best simple baseline"


@once_per_report
def matrix(report: Report) -> Grid:
    """Architectures by data sets: the word, the mean, how it stands to single others; the best baseline below.

    Without rows where nothing is a primary contrast.
    """
    columns = [comparison for comparison in report.first if report.tested.primary_on(comparison.group.dataset)]
    head = [text_cell("architecture"), *(_head(comparison) for comparison in columns)]
    rows = [
        (text_cell(architecture), *(_cell(report, entry, architecture) for entry in columns))
        for architecture in in_primary(report)
    ]
    if any(comparison.best_simple_baseline for comparison in columns):
        rows.append((GridCell(BASELINE_ROW, kind="text quiet"), *map(_baseline, columns)))
    return Grid(tuple(head), tuple(rows) if columns else ())


def _head(comparison: Comparison) -> GridCell:
    measure = comparison.metric.label_with_arrow
    return GridCell(comparison.group.dataset, f"{comparison.group.task}, {measure}", "text")


def _cell(report: Report, comparison: Comparison, architecture: str) -> GridCell:
    contrasts = report.tested.primary_on(comparison.group.dataset)
    cell = next((cell for cell in comparison.cells if cell.architecture == architecture), None)
    if cell is None or not cell.values:
        return GridCell("no score" if cell else "", kind="text unknown")
    word = state(report, comparison, architecture)
    mark = f" {NOT_ABOVE_BASELINE}" if behind_baseline(comparison, cell) else ""
    mean = formatting.value(cell.interval.mean, comparison.metric.decimals)
    lines = [mean, *_others(architecture, word, contrasts)]
    if word == "wins":
        for contrast in changed(comparison.group.dataset, report.tested):
            if architecture in (contrast.first, contrast.second):
                there = "different" if contrast.decided else "not decided"
                lines.append(f"{there} {_lower(place(contrast.condition))}")
    lines += _after_pretraining(report, comparison, architecture)
    return GridCell(WORDS[word] + mark, "; ".join(dict.fromkeys(lines)), f"text {word}")


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


def _others(architecture: str, word: str, contrasts: Sequence[Contrast]) -> list[str]:
    """Whether it wins by less than the margin; else, where it beats another, how it stands to each."""
    if word != "wins":
        own_contrasts = [contrast for contrast in contrasts if architecture in (contrast.first, contrast.second)]
        beaten = [contrast.worse for contrast in own_contrasts if contrast.better == architecture]
        if not beaten:
            return []
        lost = [contrast.better for contrast in own_contrasts if contrast.worse == architecture]
        open_to = [_other(contrast, architecture) for contrast in own_contrasts if contrast.outcome == "open"]
        standing = (("beats", beaten), ("loses to", lost), ("not decided vs.", open_to))
        return [f"{verb} {_named(names)}" for verb, names in standing if names]
    small = all(contrast.small for contrast in contrasts if contrast.better == architecture)
    return ["by less than the margin"] if small else []


def _named(names: Sequence[str]) -> str:
    return formatting.listing(names) if len(names) <= MOST_NAMES else f"{len(names)} others"


def _other(contrast: Contrast, architecture: str) -> str:
    return contrast.second if contrast.first == architecture else contrast.first


def _baseline(comparison: Comparison) -> GridCell:
    best = comparison.best_simple_baseline
    if best is None:
        return GridCell("", kind="text quiet")
    return GridCell(formatting.value(best[1], comparison.metric.decimals), baseline_label(best[0]), "text quiet")


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]
