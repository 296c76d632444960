"""Tables on pretraining: what was pretrained, what it buys on each data set, what it costs."""

from collections.abc import Sequence
from typing import Final

import pandas as pd

from archbench.reports.analysis import pretraining
from archbench.reports.analysis import saved_labels as analysis
from archbench.reports.analysis.comparisons import Comparisons
from archbench.reports.analysis.gains import started_from
from archbench.reports.analysis.groups import is_started_elsewhere, placed
from archbench.reports.analysis.pretraining import Adapted
from archbench.reports.analysis.report import Report
from archbench.reports.base import formatting
from archbench.reports.base.tables import Tables
from archbench.reports.page import audit
from archbench.reports.page.grids import Grid, GridCell, span, text_cell
from archbench.runs.experiment.spec import FINETUNE, SCRATCH
from archbench.tasks.metrics.builtin import BUILTIN

SIZE_TOLERANCE: Final = 2 * audit.AXES["parameters"][2]  # each of two sizes may miss its target by that much
LIKELIHOOD: Final = "bits_per_byte"
TASKS: Final = {1: "times scratch, 1 task", 10: "times scratch, 10 tasks", 100: "times scratch, 100 tasks"}


def adapted(report: Report) -> Grid:
    """A row for each data set, number of examples, start and adaptation; a column for each architecture."""
    entries = pretraining.adapted(report)
    architectures = list(dict.fromkeys(entry.architecture for entry in entries))
    ways, heading = short_ways([entry.way for entry in entries])
    head = (text_cell("data set"), text_cell("examples"), text_cell(heading), *map(text_cell, architectures))
    keys = dict.fromkeys((entry.dataset, entry.examples, entry.way) for entry in entries)
    rows = []
    for dataset, examples, way in keys:
        by_architecture = {
            e.architecture: e for e in entries if (e.dataset, e.examples, e.way) == (dataset, examples, way)
        }
        cells = [_cell(by_architecture.get(architecture)) for architecture in architectures]
        rows.append((text_cell(dataset), GridCell(f"{examples:,}"), text_cell(ways[way]), *cells))
    return Grid(head, tuple(rows))


def short_ways(ways: Sequence[str]) -> tuple[dict[str, str], str]:
    """Each start and adaptation, without the adaptation if it is the same in all; and the heading of their column."""
    last = {way.rpartition(", ")[2] for way in ways}
    if len(last) > 1:
        return {way: way for way in ways}, "start and adaptation"
    return {way: way.rpartition(", ")[0] for way in ways}, f"start ({last.pop()})" if last else "start"


def other_sizes(report: Report) -> str:
    """A sentence about models that differ in size from those of the task's first condition; empty without any."""
    parts: dict[str, None] = {}
    for started in pretraining.by_dataset(report):
        usual = _sizes(started.first.group.runs)
        for (start, _, _), comparison in started.by_setup.items():
            for architecture, size in _sizes(comparison.group.runs).items():
                ratio = size / usual.get(architecture, size)
                if abs(ratio - 1) > SIZE_TOLERANCE:
                    many = f"{formatting.number(size)} parameters, {ratio:.2f} times those of the first condition"
                    parts[f"{architecture} after {start} has {many}"] = None
    return f"Not of equal size: {'; '.join(parts)}." if parts else ""


def _sizes(runs: pd.DataFrame) -> dict[str, float]:
    """The parameters of each architecture outside embeddings."""
    return {str(name): float(size) for name, size in runs.groupby("architecture")["parameters"].first().items()}


def gain_differences(report: Report) -> Grid:
    """A row for each data set, start and pair of architectures: how much more the first gains by pretraining."""
    tests = report.tested["gain difference"]
    head = ("data set", "examples", "pretraining", "architectures", "difference of gains", "p")
    rows = [
        (
            text_cell(test.dataset),
            GridCell(f"{int(test.about):,}" if test.about else "all"),
            text_cell(started_from(test)),
            text_cell(f"{test.first} vs. {test.second}"),
            GridCell(formatting.signed(test.difference, test.metric.decimals), kind="strong" if test.better else ""),
            GridCell(formatting.p(test.p)),
        )
        for test in tests
    ]
    return Grid(tuple(map(text_cell, head)), tuple(rows))


def pretraining_runs(comparisons: Comparisons) -> Grid:
    """A row for each pretraining and architecture: objective, tokens, FLOPs, held-out likelihood."""
    runs = placed(comparisons.tables, "pretraining")
    columns = (
        "pretraining",
        "architecture",
        "objective",
        "tokens",
        "tokens with a loss",
        "FLOPs",
        "held-out bits/byte",
    )
    rows = []
    for (dataset, architecture, _), own_runs in _by_runs(runs).groupby(["dataset", "architecture", "runs"], sort=False):
        called = ", ".join([str(dataset), *_parts(own_runs["condition"])])
        own_runs = own_runs.drop_duplicates("run")
        scores = comparisons.tables["scores"]
        test = scores[
            (scores["split"] == "test") & (scores["metric"] == LIKELIHOOD) & scores["run"].isin(own_runs["run"])
        ]
        bits = formatting.value(float(test["value"].mean()), BUILTIN[LIKELIHOOD].decimals) if len(test) else ""
        objective = ", ".join(dict.fromkeys(own_runs["objective"].dropna().astype(str)))
        cells = [
            span(own_runs, column, formatting.number) for column in ("train_tokens", "train_loss_tokens", "train_flops")
        ]
        rows.append(
            (text_cell(called), text_cell(str(architecture)), text_cell(objective), *map(GridCell, (*cells, bits)))
        )
    return Grid(tuple(map(text_cell, columns)), tuple(rows))


def _by_runs(runs: pd.DataFrame) -> pd.DataFrame:
    """The runs with a column that is equal where conditions share all runs: several pretrainings continue them."""
    keys = ["dataset", "architecture", "condition"]
    runs = runs.assign(condition=runs["condition"].fillna(""))
    shared = runs.groupby(keys, sort=False)["run"].agg(lambda names: ",".join(sorted(names))).rename("runs")
    return runs.merge(shared.reset_index(), on=keys)


def _parts(conditions: "pd.Series[str]") -> list[str]:
    """Conditions that differ in their last word alone, in one: "0.9 of the tokens of switch-10 and prefix-10"."""
    last: dict[str, dict[str, None]] = {}
    for condition in filter(None, conditions):
        before, _, word = str(condition).rpartition(" ")
        last.setdefault(before, {})[word] = None
    return [f"{before} {formatting.listing(words)}".strip() for before, words in last.items()]


def saved_labels(report: Report) -> Grid:
    """A row for each data set, start, adaptation and number of examples; a column for each architecture."""
    entries = analysis.saved_labels(report)
    entered = {entry.pretrained.architecture for entry in entries}
    order = dict.fromkeys(entry.architecture for entry in pretraining.adapted(report))
    architectures = [architecture for architecture in order if architecture in entered]
    ways, heading = short_ways([entry.pretrained.way for entry in entries])
    head = (text_cell("data set"), text_cell("examples"), text_cell(heading), *map(text_cell, architectures))
    rows: dict[tuple[str, int, str], dict[str, str]] = {}
    for entry in entries:
        row_key = entry.pretrained.dataset, entry.pretrained.examples, entry.pretrained.way
        rows.setdefault(row_key, {})[entry.pretrained.architecture] = entry.text
    return Grid(
        head,
        tuple(
            (
                text_cell(dataset),
                GridCell(f"{examples:,}"),
                text_cell(ways[way]),
                *(GridCell(texts.get(architecture, "")) for architecture in architectures),
            )
            for (dataset, examples, way), texts in rows.items()
        ),
    )


def amortised(comparisons: Comparisons) -> Grid:
    """A row for each architecture and start: training FLOPs of a task plus a share of the pretraining."""
    runs = placed(comparisons.tables, "compared")
    if not {"start", "pretraining_flops"} <= set(runs):
        return Grid((), ())
    usual = runs["adapt"].fillna(FINETUNE) == FINETUNE
    runs = runs[usual & runs["train_flops"].notna()].assign(start=runs["start"].fillna(SCRATCH))
    scratch = runs[runs["start"] == SCRATCH]
    head = ("start", "architecture", "pretraining, planned", "a task from scratch", *TASKS.values())
    rows = []
    started = runs[runs["pretraining_flops"] > 0]
    for key, started_runs in started.groupby(["start", "architecture"], sort=False):
        start, architecture = map(str, key)
        same = scratch[(scratch["architecture"] == architecture) & scratch["dataset"].isin(started_runs["dataset"])]
        if same.empty:
            continue
        once, per_task = (
            float(started_runs[column].astype(float).mean()) for column in ("pretraining_flops", "train_flops")
        )
        base = float(same["train_flops"].astype(float).mean())
        ratios = [f"{formatting.number((once / tasks + per_task) / base)}" for tasks in TASKS]
        cells = [*map(formatting.number, (once, base)), *ratios]
        rows.append((text_cell(start), text_cell(architecture), *map(GridCell, cells)))
    return Grid(tuple(map(text_cell, head)), tuple(rows))


def elsewhere(tables: Tables) -> str:
    """A sentence about the checkpoints that were finetuned; empty where there are none."""
    runs = placed(tables, "compared")
    names = list(runs.loc[is_started_elsewhere(runs), "architecture"].dropna().unique())
    if not names:
        return ""
    several = len(names) > 1
    are = "are checkpoints" if several else "is a checkpoint"
    return (
        f"{formatting.listing(names)} {are} of transformers, trained elsewhere and finetuned here: "
        f"{'their' if several else 'its'} earlier training is in no budget."
    )


def _cell(entry: Adapted | None) -> GridCell:
    if entry is None:
        return GridCell("", kind="quiet")
    text = formatting.interval(entry.score, entry.metric.decimals)
    return GridCell(text, formatting.signed(entry.gain, entry.metric.decimals) if entry.gain is not None else "")
