"""The page's tables as grids of ready text: scores by architecture and data set, and what stands beside them."""

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from archbench.reports.analysis.comparison import CHECKPOINT, Comparison, Comparisons, Group
from archbench.reports.analysis.conditions import condition
from archbench.reports.analysis.verdicts import reference_label
from archbench.reports.base import formatting
from archbench.reports.base.metrics import Metric, metric
from archbench.reports.base.tables import Tables
from archbench.reports.figures.curves import BOUND_SUFFIX, MASKED_LOSS


@dataclass(frozen=True)
class Entry:
    """A cell: its text, a second line, and how to show it (`strong`, `quiet`, `text` for what is not a number)."""

    text: str
    below: str = ""
    kind: str = ""


@dataclass(frozen=True)
class Grid:
    """A table: a head, rows whose first entry names them, and what a reader has to know about it."""

    head: tuple[Entry, ...]
    rows: tuple[tuple[Entry, ...], ...]
    note: str = ""


def name(text: str) -> Entry:
    return Entry(text, kind="text")


def headline(comparisons: Sequence[Comparison]) -> Grid:
    """Architectures by data sets, the primary metric of each; classical references below."""
    head = [name("architecture")]
    head += [Entry(found.group.dataset, _joined(_measured(found.metric), _tested(found))) for found in comparisons]
    architectures = dict.fromkeys(cell.architecture for found in comparisons for cell in found.cells)
    references = _references(comparisons)
    rows = [(name(row), *(_cell(found, row) for found in comparisons)) for row in architectures]
    rows += [
        (Entry(reference_label(row), kind="text quiet"), *(_reference(found, row) for found in comparisons))
        for row in references
    ]
    return Grid(tuple(head), tuple(rows))


def every_metric(comparisons: Comparisons, group: Group) -> Grid:
    """Architectures by all metrics of one group, references below."""
    found = [comparisons.compare(group, metric) for metric in comparisons.metrics(group)]
    head = (
        name("architecture"),
        *(Entry(one.metric.label, _joined(one.metric.direction, _tested(one))) for one in found),
    )
    references = _references(found)
    rows = [(name(row), *(_cell(one, row) for one in found)) for row in group.architectures]
    rows += [
        (Entry(reference_label(row), kind="text quiet"), *(_reference(one, row) for one in found)) for row in references
    ]
    return Grid(head, tuple(rows))


def _references(comparisons: Sequence[Comparison]) -> list[str]:
    """The references of all, checkpoints last."""
    names = dict.fromkeys(name for found in comparisons for name in found.references)
    return sorted(names, key=lambda name: name.startswith(CHECKPOINT))


def rankings(comparisons: Sequence[Comparison]) -> Grid:
    """The order of means under each condition."""
    head = tuple(map(name, ("data set", "condition", "order of means, best first")))
    rows = []
    for found in comparisons:
        order = sorted(found.scored, key=lambda cell: -found.metric.gain(cell.interval.mean))
        text = " > ".join(f"{cell.architecture} {_mean(found.metric, cell.interval.mean)}" for cell in order)
        rows.append(tuple(map(name, (found.group.dataset, condition(found.group), text))))
    return Grid(head, tuple(rows))


def cost(comparisons: Sequence[Comparison]) -> Grid:
    """What inference costs: FLOPs of one test example, speed of generation, time to score the test split."""
    columns = {
        "inference_flops": ("inference FLOPs per example", formatting.number),
        "generate_tokens_per_second": ("generated tokens/s", formatting.number),
        "score_seconds": ("time to score", formatting.seconds),
    }
    shown = {key: value for key, value in columns.items() if any(known(found.group.runs, key) for found in comparisons)}
    head = (name("data set"), name("architecture"), *(Entry(title) for title, _ in shown.values()))
    rows = [
        (
            name(title(found.group)),
            name(str(architecture)),
            *(Entry(span(rows, key, form)) for key, (_, form) in shown.items()),
        )
        for found in comparisons
        for architecture, rows in found.group.runs.groupby("architecture", sort=False)
    ]
    return Grid(head, tuple(rows) if shown else ())


def datasets(tables: Tables) -> Grid:
    """Origin, licence and size of each data set."""
    head = ("data set", "kind", "licence", "origin", "tokenizer", "examples", "lengths in tokens", "notes")
    rows = [tuple(map(name, _dataset(row))) for _, row in tables["datasets"].iterrows()]
    return Grid(tuple(map(name, head)), tuple(rows))


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
    for key, found in tables["environment"].groupby("key", sort=False)["value"]:
        counts = found.value_counts(sort=False, dropna=True)
        text = (
            str(counts.index[0])
            if len(counts) == 1
            else "; ".join(f"{value} ({n} runs)" for value, n in counts.items())
        )
        rows.append((name(str(key)), name(text[:2000])))
    return Grid((name("what"), name("value")), tuple(rows))


def failures(tables: Tables) -> Grid:
    """The runs that did not come to a score, or came with an error, and why."""
    runs = tables["runs"]
    wrong = (runs["status"] != "done").fillna(True)
    if "error" in runs:
        wrong |= runs["error"].notna() & (runs["error"] != "").fillna(False)
    rows = [
        (plain(row["run"]), plain(row["status"]), plain(row.get("error"))[:2000]) for _, row in runs[wrong].iterrows()
    ]
    return Grid(tuple(map(name, ("run", "status", "error"))), tuple(tuple(map(name, row)) for row in rows))


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


def _measured(found: Metric) -> str:
    return f"{found.label} {found.arrow}".strip()


def _tested(found: Comparison) -> str:
    """The number of test examples behind the scores; empty where unknown."""
    least, greatest = map(formatting.count, found.tested)
    if not found.tested[1]:
        return ""
    return f"n = {least}" if least == greatest else f"n = {least} to {greatest}"


def _joined(*parts: str) -> str:
    return ", ".join(filter(None, parts))


def _mean(found: Metric, value: float) -> str:
    return formatting.value(value, found.decimals)


def _cell(found: Comparison, architecture: str) -> Entry:
    cell = next((cell for cell in found.cells if cell.architecture == architecture), None)
    if cell is None:
        return Entry("", kind="quiet")
    seeds = f"{len(cell.values)} seed{'s' * (len(cell.values) != 1)}"
    if len(cell.values) < cell.planned:
        seeds = f"{len(cell.values)} of {cell.planned} seeds"
    if not cell.values:
        scored = found.scored and not found.metric.name.endswith((BOUND_SUFFIX, MASKED_LOSS))
        return Entry(formatting.MISSING, seeds if scored else "", "quiet")
    shown = found.detectable(architecture)
    if 0 < shown <= found.metric.extent:
        seeds = f"{seeds}, detects {formatting.value(shown, found.metric.decimals)}"
    return Entry(formatting.interval(cell.interval, found.metric.decimals), seeds, "strong" if cell.best else "")


def _reference(found: Comparison, name: str) -> Entry:
    value = found.references.get(name, math.nan)
    count = found.checkpoints.get(name)
    other = count is not None and (count, count) != found.tested
    below = f"n = {formatting.count(count)}" if other and count is not None else ""
    return Entry(_mean(found.metric, value) if math.isfinite(value) else "", below, kind="quiet")


def _float(value: Any) -> float:
    try:
        return math.nan if value is None or pd.isna(value) else float(value)
    except (TypeError, ValueError):
        return math.nan


def glossary(tables: Tables, names: Iterable[str]) -> list[tuple[str, str]]:
    """What each metric says, with its signature where the runs recorded one."""
    rows = tables["environment"].dropna(subset=["key", "value"])
    terms = []
    for found in map(metric, names):
        signatures = rows.loc[rows["key"] == f"{found.name}_signature", "value"].unique()
        signed = f"; signature {formatting.listing(map(str, signatures))}" if len(signatures) else ""
        terms.append((f"{found.label} ({found.direction})", found.meaning + signed))
    return terms
