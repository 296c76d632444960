"""The page's tables as grids of ready text: scores by architecture and data set, and what stands beside them."""

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pandas as pd

from archbench.reports.analysis.comparison import CHECKPOINT, Comparison
from archbench.reports.analysis.comparisons import Comparisons
from archbench.reports.analysis.conditions import condition
from archbench.reports.analysis.groups import Group
from archbench.reports.analysis.verdicts import baseline_label
from archbench.reports.base import formatting, provenance
from archbench.reports.base.metrics import BOUND_SUFFIX, MASKED_LOSS, of_table
from archbench.reports.base.tables import Tables
from archbench.tasks.metrics.builtin import BUILTIN

LIKELIHOODS: Final = ("bits_per_byte", "nll_per_token", "perplexity")
WHOLE_ANSWERS: Final = "chrf"
COMMIT_KEYS: Final = ("archbench_commit", "commit")
PUBLISHED_KEY: Final = "published_commit"  # in tables that were published before runs recorded their commit


@dataclass(frozen=True)
class GridCell:
    """A cell: its text, a second line, and how to show it (`strong`, `quiet`, `text` for what is not a number)."""

    text: str
    below: str = ""
    kind: str = ""


@dataclass(frozen=True)
class Grid:
    """A table: a head, rows whose first entry names them."""

    head: tuple[GridCell, ...]
    rows: tuple[tuple[GridCell, ...], ...]


def text_cell(text: str) -> GridCell:
    """A cell whose text is a name, aligned to the left."""
    return GridCell(text, kind="text")


def headline(comparisons: Sequence[Comparison]) -> Grid:
    """Architectures by data sets and metrics, usually the primary one of each; baselines below."""
    head = [text_cell("architecture")]
    head += [
        GridCell(comparison.group.dataset, _joined(comparison.metric.label_with_arrow, _tested(comparison)))
        for comparison in comparisons
    ]
    architectures = dict.fromkeys(cell.architecture for comparison in comparisons for cell in comparison.cells)
    rows = [(text_cell(row), *(_cell(comparison, row) for comparison in comparisons)) for row in architectures]
    return Grid(tuple(head), (*rows, *_reference_rows(comparisons)))


def with_answers(comparisons: Comparisons, first: Sequence[Comparison]) -> list[Comparison]:
    """The comparisons, each with the user's own metrics beside it.

    Beside a likelihood that judges translations also chrF: whole answers, not bits alone.
    """
    shown = []
    for comparison in first:
        judged_by, known = comparison.metric.name, comparisons.metrics(comparison.group)
        beside = [WHOLE_ANSWERS] if judged_by in LIKELIHOODS and WHOLE_ANSWERS in known else []
        beside += [name for name in known if name not in BUILTIN and name != judged_by]
        shown += [comparison, *(comparisons.compare(comparison.group, name) for name in beside)]
    return shown


def every_metric(comparisons: Comparisons, group: Group) -> Grid:
    """Architectures by all metrics of one group, baselines below."""
    measured = [comparisons.compare(group, metric) for metric in comparisons.metrics(group)]
    columns = [
        GridCell(comparison.metric.label, _joined(comparison.metric.direction, _tested(comparison)))
        for comparison in measured
    ]
    rows = [(text_cell(row), *(_cell(comparison, row) for comparison in measured)) for row in group.architectures]
    return Grid((text_cell("architecture"), *columns), (*rows, *_reference_rows(measured)))


def scores(comparisons: Comparisons) -> list[dict[str, object]]:
    """Every score of the report as a row of a table: each group, metric and architecture, and the baselines.

    ``detectable_from_best`` is the minimum detectable difference from the best architecture (of the best from the
    next), at 80% power and uncorrected; what a primary contrast detects stands in the table of contrasts.
    """
    return [
        row
        for group in comparisons.groups
        for metric_name in comparisons.metrics(group)
        for row in _score_rows(comparisons.compare(group, metric_name))
    ]


def _score_rows(comparison: Comparison) -> Iterator[dict[str, object]]:
    group = {"dataset": comparison.group.dataset, "condition": condition(comparison.group)}
    group |= {"metric": comparison.metric.name}
    for cell in comparison.cells:
        yield {
            **group,
            "name": cell.architecture,
            "kind": "architecture",
            "mean": cell.interval.mean,
            "lower": cell.interval.lower,
            "upper": cell.interval.upper,
            "seeds": len(cell.values),
            "planned_seeds": cell.planned,
            "detectable_from_best": comparison.detectable(cell.architecture),
            "test_examples_least": comparison.test_examples[0],
            "test_examples_most": comparison.test_examples[1],
        }
    for baseline, mean in comparison.baselines.items():
        count = comparison.checkpoints.get(baseline, comparison.test_examples[0])
        counts = {
            "test_examples_least": count,
            "test_examples_most": comparison.checkpoints.get(baseline, comparison.test_examples[1]),
        }
        yield {**group, "name": baseline, "kind": "reference", "mean": mean, **counts}


def _reference_rows(comparisons: Sequence[Comparison]) -> list[tuple[GridCell, ...]]:
    """A row for each baseline of all, checkpoints last."""
    names = dict.fromkeys(name for comparison in comparisons for name in comparison.baselines)
    return [
        (
            GridCell(baseline_label(row), kind="text quiet"),
            *(_reference(comparison, row) for comparison in comparisons),
        )
        for row in sorted(names, key=lambda name: name.startswith(CHECKPOINT))
    ]


def cost(comparisons: Sequence[Comparison]) -> Grid:
    """What inference costs: FLOPs of one test example, speed of generation, time to score the test split."""
    columns = {
        "inference_flops": ("inference FLOPs per example", formatting.number),
        "generate_tokens_per_second": ("generated tokens/s", formatting.number),
        "score_seconds": ("time to score the test split", formatting.seconds),
    }
    recorded = [key for key in columns if any(known(comparison.group.runs, key) for comparison in comparisons)]
    head = (text_cell("data set"), text_cell("architecture"), *(GridCell(columns[key][0]) for key in recorded))
    rows = [
        (
            text_cell(title(comparison.group)),
            text_cell(str(architecture)),
            *(GridCell(span(rows, key, columns[key][1])) for key in recorded),
        )
        for comparison in comparisons
        for architecture, rows in comparison.group.runs.groupby("architecture", sort=False)
    ]
    return Grid(head, tuple(rows) if recorded else ())


def datasets(tables: Tables) -> Grid:
    """Origin, licence and size of each data set."""
    head = ("data set", "kind", "licence", "origin", "tokenizer", "examples", "length limits in tokens", "notes")
    rows = [tuple(map(text_cell, _dataset(row))) for _, row in tables["datasets"].iterrows()]
    return Grid(tuple(map(text_cell, head)), tuple(rows))


def _dataset(row: "pd.Series[Any]") -> tuple[str, ...]:
    splits = ("train", "validation", "test")
    sizes = [(split, _float(row.get(f"{split}_examples"))) for split in splits]
    return (
        *(plain(row[key]) for key in ("dataset", "kind", "licence", "origin")),
        f"{plain(row.get('tokenizer'))}, {formatting.count(_float(row.get('vocabulary')))} tokens",
        "\n".join(f"{split} {formatting.count(size)}" for split, size in sizes if math.isfinite(size)),
        f"source {plain(row.get('source_length'))}, target {plain(row.get('target_length'))}",
        _notes(row.get("notes")),
    )


def _notes(value: Any) -> str:
    """The counts that a data set came with, a line each."""
    try:
        counts = json.loads(value)
    except (TypeError, ValueError):
        return plain(value)
    if not isinstance(counts, dict):
        return plain(value)
    return "\n".join(f"{str(key).replace('_', ' ')}: {count}" for key, count in counts.items() if count) or "none"


def environment(tables: Tables) -> Grid:
    """What the runs ran on; where runs differ, each value with the number of its runs."""
    rows = []
    for key, values in tables["environment"].groupby("key", sort=False)["value"]:
        counts = values.value_counts(sort=False, dropna=True)
        text = (
            str(counts.index[0])
            if len(counts) == 1
            else "; ".join(f"{value} ({n} runs)" for value, n in counts.items())
        )
        rows.append((text_cell(str(key)), text_cell(text[:2000])))
    return Grid((text_cell("what"), text_cell("value")), tuple(rows))


def failures(tables: Tables) -> Grid:
    """The runs that did not come to a score, or came with an error, and why."""
    runs = tables["runs"]
    wrong = (runs["status"] != "done").fillna(True)
    if "error" in runs:
        wrong |= runs["error"].notna() & (runs["error"] != "").fillna(False)
    rows = [
        (plain(row["run"]), plain(row["status"]), plain(row.get("error"))[:2000]) for _, row in runs[wrong].iterrows()
    ]
    return Grid(tuple(map(text_cell, ("run", "status", "error"))), tuple(tuple(map(text_cell, row)) for row in rows))


def title(group: Group) -> str:
    """The data set's name, with the condition where there are several."""
    what = condition(group)
    return f"{group.dataset}: {what}" if what else group.dataset


def plain(value: Any) -> str:
    """A value from a table as text; a dash for a missing one."""
    return formatting.MISSING if value is None or (pd.api.types.is_scalar(value) and pd.isna(value)) else str(value)


def known(runs: pd.DataFrame, column: str) -> bool:
    """Whether any of the runs has a number in `column`."""
    return column in runs and pd.api.types.is_numeric_dtype(runs[column]) and bool(runs[column].notna().any())


def span(runs: pd.DataFrame, column: str, form: Any = formatting.number) -> str:
    """The values of a column over runs: one text where they read the same, else 'least to greatest'."""
    if not known(runs, column):
        return formatting.MISSING
    values = runs[column].dropna().astype(float)
    least, greatest = form(values.min()), form(values.max())
    return str(least) if least == greatest else f"{least} to {greatest}"


def _tested(comparison: Comparison) -> str:
    """The number of test examples behind the scores; empty where unknown."""
    least, greatest = map(formatting.count, comparison.test_examples)
    if not comparison.test_examples[1]:
        return ""
    return f"n = {least}" if least == greatest else f"n = {least} to {greatest}"


def _joined(*parts: str) -> str:
    return ", ".join(filter(None, parts))


def usual_seeds(comparison: Comparison) -> int:
    """The number of seeds that most architectures have been scored with."""
    counts = [len(cell.values) for cell in comparison.scored]
    return max(counts, key=counts.count, default=0)


def _cell(comparison: Comparison, architecture: str) -> GridCell:
    cell = next((cell for cell in comparison.cells if cell.architecture == architecture), None)
    if cell is None:
        return GridCell("", kind="quiet")
    count = len(cell.values)
    seeds = "" if count == usual_seeds(comparison) else f"{count} seed{'s' * (count != 1)}"
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


def _float(value: Any) -> float:
    try:
        return math.nan if value is None or pd.isna(value) else float(value)
    except (TypeError, ValueError):
        return math.nan


def glossary(tables: Tables, names: Iterable[str]) -> list[tuple[str, str]]:
    """What each metric says, with its signature where the runs recorded one."""
    rows = tables["environment"].dropna(subset=["key", "value"])
    terms = []
    known = of_table(tables["metrics"])
    for measure in (known[name] for name in names):
        signatures = rows.loc[rows["key"] == f"{measure.name}_signature", "value"].unique()
        signed = f"; signature {formatting.listing(map(str, signatures))}" if len(signatures) else ""
        terms.append((f"{measure.label} ({measure.direction})", measure.meaning + signed))
    return terms


def made_by(tables: Tables) -> str:
    """The version of archbench that planned the runs, and the commits of the code that ran them."""
    experiment = tables["experiment"].dropna(subset=["key", "value"])
    versions = experiment.loc[experiment["key"] == "archbench", "value"].astype(str).tolist()
    rows = pd.concat([experiment[["key", "value"]], tables["environment"][["key", "value"]].dropna()])
    commits = rows.loc[rows["key"].isin(COMMIT_KEYS), "value"].astype(str)
    published = experiment.loc[experiment["key"] == PUBLISHED_KEY, "value"].astype(str).tolist()
    return provenance.made_by("".join(versions[:1]), commits, "".join(published[:1]))
