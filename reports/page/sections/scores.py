"""Verdicts and scores: by architecture and data set, in every metric, against cost, and the answers themselves."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final, NamedTuple

import pandas as pd

from archbench.reports.base import declared, formatting
from archbench.reports.base.metrics import BOUND_SUFFIX, MASKED_LOSS
from archbench.reports.contrasts.verdicts import Verdict, baseline_label, changed, verdict
from archbench.reports.contrasts.words import BELOW_GATE_MARK, BOLD, MARKED_BELOW_GATE
from archbench.reports.figures.figure import of_architecture, of_baseline
from archbench.reports.page.elements.grids import Column, Grid, GridCell, grid
from archbench.reports.page.elements.matrix import matrix
from archbench.reports.page.elements.parts import Figure, Note, Section, ShownTable, Special, Table, Terminal
from archbench.reports.page.elements.samples import EXAMPLES, AnsweredExamples, samples
from archbench.reports.report import Report
from archbench.reports.results import pretraining
from archbench.reports.results.comparison import CHECKPOINT, Comparison
from archbench.reports.results.comparisons import Comparisons
from archbench.reports.results.groups import Group
from archbench.tasks.metrics.builtin import BUILTIN

LIKELIHOODS: Final = ("bits_per_byte", "nll_per_token", "perplexity")
WHOLE_ANSWERS: Final = "chrf"


class Scored(NamedTuple):
    """An architecture, or a baseline, that has a score."""

    name: str
    is_baseline: bool = False


def shown(report: Report) -> list[Comparison]:
    """The comparisons under the first condition, each with the user's own metrics beside it.

    Beside a likelihood that judges translations also chrF: whole answers, not bits alone.
    """
    comparisons, entries = report.comparisons, list[Comparison]()
    for comparison in report.judged:
        measures, known = comparison.measures, comparisons.metrics(comparison.group)
        only_likelihoods = set(measures) <= set(LIKELIHOODS) and WHOLE_ANSWERS in known
        beside = [WHOLE_ANSWERS] if only_likelihoods else []
        beside += [name for name in known if name not in BUILTIN and name not in measures]
        beside = [] if comparison.is_second else beside
        entries += [comparison, *(comparisons.compare(comparison.group, name) for name in beside)]
    return entries


def _scored(comparisons: Sequence[Comparison]) -> list[Scored]:
    """The architectures, and the baselines below them, checkpoints last."""
    architectures = dict.fromkeys(cell.architecture for comparison in comparisons for cell in comparison.cells)
    baselines = dict.fromkeys(name for comparison in comparisons for name in comparison.baselines)
    below = sorted(baselines, key=lambda name: name.startswith(CHECKPOINT))
    return [*map(Scored, architectures), *(Scored(name, is_baseline=True) for name in below)]


NAME: Final = Column[Scored](
    "architecture",
    lambda row: GridCell(baseline_label(row.name), kind="text quiet") if row.is_baseline else row.name,
    text=True,
)


def _columns(report: Report) -> list[Column[Scored]]:
    """A column for each data set and metric, with marks at the scores of what is below its gate."""
    return [NAME, *(_column(entry, partial(_marked, report, entry), entry.group.dataset) for entry in shown(report))]


def _on_terminal(report: Report) -> list[Column[Scored]]:
    """The same in one line for each cell; the heads also say what the models started from."""
    ways = {entry.first.group.dataset: entry.first.setup.way_words for entry in pretraining.by_dataset(report)}

    def column(entry: Comparison) -> Column[Scored]:
        made = _column(entry, partial(_marked, report, entry), name := entry.group.dataset)
        head = made.of(made.head)
        below = "; ".join(filter(None, [head.below, ways.get(name)]))
        return Column(replace(head, below=below), lambda row: replace(made.of(made.cell(row)), below=""))

    return [NAME, *map(column, shown(report))]


def _on_its_own(report: Report) -> bool:
    """True if the table of verdicts, which has the same means, does not stand for this one on the terminal."""
    return not matrix(report).rows or bool(pretraining.by_dataset(report))


def _column(comparison: Comparison, cell: Callable[[Scored], GridCell], name: str = "") -> Column[Scored]:
    """The scores of a comparison under the ``name`` of its data set, without one under that of its metric."""
    measure, (least, most) = comparison.metric, map(formatting.count, comparison.test_examples)
    n = f"n = {least}" if least == most else f"n = {least} to {most}"
    what = [measure.label_with_arrow if name else measure.direction, n if comparison.test_examples[1] else ""]
    return Column(GridCell(name or measure.label, ", ".join(filter(None, what))), cell)


def _marked(report: Report, comparison: Comparison, row: Scored) -> GridCell:
    """A score, marked where an architecture is below its gate."""
    cell = _score(comparison, row)
    passed = row.is_baseline or report.comparisons.gate(comparison.group, row.name).passed
    return cell if passed or not cell.text else replace(cell, text=f"{cell.text}{BELOW_GATE_MARK}")


def _score(comparison: Comparison, row: Scored) -> GridCell:
    if row.is_baseline:
        return _reference(comparison, row.name)
    cell = next((cell for cell in comparison.cells if cell.architecture == row.name), None)
    if cell is None:
        return GridCell("", kind="quiet")
    count = len(cell.values)
    seeds = "" if count == _usual_seeds(comparison) else f"{count} seed{'s' * (count != 1)}"
    if count < cell.planned:
        seeds = f"{count} of {cell.planned} seeds"
    if not cell.values:
        scored = comparison.scored and not comparison.metric.name.endswith((BOUND_SUFFIX, MASKED_LOSS))
        return GridCell(formatting.MISSING, seeds if scored else "", "quiet")
    text = formatting.interval(cell.interval, comparison.metric.decimals)
    return GridCell(text, seeds, "strong" if cell.best else "")


def _reference(comparison: Comparison, name: str) -> GridCell:
    score = comparison.baselines.get(name, math.nan)
    count = comparison.checkpoints.get(name)
    other = count is not None and (count, count) != comparison.test_examples
    below = f"n = {formatting.count(count)}" if other and count is not None else ""
    text = formatting.value(score, comparison.metric.decimals) if math.isfinite(score) else ""
    return GridCell(text, below, kind="quiet")


def _usual_seeds(comparison: Comparison) -> int:
    """The number of seeds that most architectures have been scored with."""
    counts = [len(cell.values) for cell in comparison.scored]
    return max(counts, key=counts.count, default=0)


def _seeds(report: Report) -> str:
    """The usual number of seeds of a score, least to greatest over data sets."""
    counts = [_usual_seeds(comparison) for comparison in report.first if comparison.scored]
    if not counts:
        return ""
    ends = dict.fromkeys((min(counts), max(counts)))
    return f"over {' to '.join(map(str, ends))} seed{'s' * (max(counts) != 1)} unless another number is given."


def rows(report: Report) -> Iterator[dict[str, object]]:
    """Every score of the report as a row of a table: each group, metric and architecture, and the baselines.

    ``detectable_from_best`` is the minimum detectable difference from the best architecture (of the best from the
    next), at 80% power and uncorrected; what a primary contrast detects stands in the table of contrasts.
    """
    for group in report.comparisons.groups:
        for metric_name in report.comparisons.metrics(group):
            yield from _rows(report.comparisons.compare(group, metric_name))


def _rows(comparison: Comparison) -> Iterator[dict[str, object]]:
    for cell in comparison.cells:
        yield {
            **of_architecture(comparison, cell),
            "planned_seeds": cell.planned,
            "detectable_from_best": comparison.detectable(cell.architecture),
            **_examples(*comparison.test_examples),
        }
    for baseline, mean in comparison.baselines.items():
        count = comparison.checkpoints.get(baseline)
        examples = _examples(*comparison.test_examples) if count is None else _examples(count, count)
        yield {**of_baseline(comparison, baseline, mean), **examples}


def _examples(least: int, most: int) -> dict[str, int]:
    return {"test_examples_least": least, "test_examples_most": most}


def _every_metric(report: Report) -> list[ShownTable]:
    """Architectures by all metrics of each data set, folded."""
    return [
        ShownTable(_by_metrics(report.comparisons, entry.group), entry.group.dataset, folded=entry.group.dataset)
        for entry in report.first
    ]


def _by_metrics(comparisons: Comparisons, group: Group) -> Grid:
    measured = [comparisons.compare(group, metric) for metric in comparisons.metrics(group)]
    return grid(_scored(measured), [NAME, *(_column(entry, partial(_score, entry)) for entry in measured)])


def _published(report: Report) -> Iterator[dict[str, Any]]:
    """The scores that others published in a known metric, each with the best mean of the report's own."""
    for comparison in report.first:
        rows_of = report.tables["published"]
        known = (rows_of["dataset"] == comparison.group.dataset) & rows_of["metric"].isin(BUILTIN)
        for row in rows_of[known].to_dict("records"):
            measured = report.comparisons.compare(comparison.group, row["metric"])
            best = next((cell for cell in measured.cells if cell.architecture == measured.leader and cell.values), None)
            ours = formatting.value(best.interval.mean, measured.metric.decimals) if best else formatting.MISSING
            facts = {str(key): value for key, value in row.items()}
            yield facts | {"metric": measured.metric, "ours": ours, "best": best.architecture if best else ""}


def _published_model(row: dict[str, Any]) -> GridCell:
    size = "" if pd.isna(row["parameters"]) else f", {formatting.count(int(row['parameters']))} parameters"
    note = "" if pd.isna(row["note"]) else f"; {row['note']}"
    return GridCell(f"{row['model']}{size}", f"{row['source']}{note}", "text quiet")


def _verdicts(report: Report) -> list[Verdict]:
    tested = report.tested
    return [verdict(entry, tested.primary_on(entry), changed(entry, tested)) for entry in report.judged]


def answered(report: Report, most: int = EXAMPLES) -> list[tuple[str, AnsweredExamples]]:
    """For each data set its first answered test examples, at ``most`` so many."""
    tables, found = report.tables, []
    scores = tables["scores"]
    labelled = set(scores.loc[(scores["metric"] == "accuracy").fillna(False), "run"])
    for group in (comparison.group for comparison in report.first):
        one_answer = declared.one_answer(tables, group.dataset)
        labels = not labelled.isdisjoint(group.runs["run"])
        found.append((group.dataset, samples(tables["predictions"], group, one_answer, labels, most)))
    return [(dataset, examples) for dataset, examples in found if examples.examples]


SCORES: Final = Table[Scored](
    "scores",
    "Scores by architecture and data set",
    lambda report: _scored(shown(report)),
    _columns,
    about=(
        "Test split, mean ± 95% interval",
        _seeds,
        lambda report: f"{MARKED_BELOW_GATE}." if any(map(report.comparisons.below_gates, shown(report))) else "",
        f"<strong>Bold</strong>: {BOLD}. ↑ higher is better, ↓ lower is better; n: test examples. All metrics and "
        'conditions: <a href="scores.csv">scores.csv</a>.',
    ),
    holds="scores of all architectures and baselines on every data set",
    note=f"Means over seeds with 95% intervals. Bold: {BOLD} (not corrected). {MARKED_BELOW_GATE}.",
    stacked=True,
    terminal=Terminal(1, columns=_on_terminal, needs=_on_its_own),
)
PUBLISHED: Final = Table[dict[str, Any]](
    "published",
    "Published by others",
    _published,
    [
        Column("data set", lambda row: GridCell(row["dataset"], kind="text"), text=True),
        Column("metric", lambda row: GridCell(row["metric"].label_with_arrow, kind="text"), text=True),
        Column("published", lambda row: GridCell(formatting.value(row["value"], row["metric"].decimals), kind="quiet")),
        Column("model", _published_model, text=True),
        Column("here", lambda row: GridCell(row["ours"], row["best"])),
    ],
    titled=True,
    about=(
        "Read in the sources named, not tested here: data, splits and models are as published, budgets are not equal. "
        "Here: the best mean of the report's own architectures.",
    ),
    holds="scores that others published on the data sets, beside the best of the report",
    lacks="published scores on its data sets",
    stacked=True,
)
VERDICTS: Final = Section(
    "Verdicts",
    name="outcome",
    otherwise="Nothing to compare yet.",
    show=(Special("cards", _verdicts), Figure("differences")),
)
SECTION: Final = Section(
    "Scores",
    name="scores",
    show=(Figure("in_short"), Figure("headline"), SCORES, Figure("summary"), PUBLISHED),
)
ANSWERS: Final = Section(
    "Answers to the same inputs",
    name="answers",
    short="Answers",
    otherwise="No answers: none were recorded, or the published report omits their texts.",
    show=(Special("answers", answered),),
)
METRICS: Final = Section(
    "All metrics",
    name="metrics",
    show=(
        Note(
            'First condition; other conditions: <a href="scores.csv">scores.csv</a>. Any-order bounds, if any, are in '
            "separate columns, because they are not comparable with exact likelihoods.",
            look="",
        ),
        Special("tables", _every_metric),
    ),
)
