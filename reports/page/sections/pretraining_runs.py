"""Pretrainings, and their cost when several tasks share them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import pandas as pd

from archbench.reports.base import formatting
from archbench.reports.page.elements.grids import Column, span
from archbench.reports.page.elements.parts import Table
from archbench.reports.report import Report
from archbench.reports.results.groups import placed
from archbench.runs.experiment.spec import FINETUNE, SCRATCH
from archbench.tasks.metrics.builtin import BUILTIN

LIKELIHOOD: Final = "bits_per_byte"


@dataclass(frozen=True)
class Pretrained:
    """A pretraining of an architecture: what it is called, its runs, and their held-out bits per byte."""

    name: str
    architecture: str
    runs: pd.DataFrame
    bits: float | None


def _pretrainings(report: Report) -> Iterator[Pretrained]:
    """Every pretraining, the conditions that share its runs in one."""
    scores = report.tables["scores"]
    scores = scores[(scores["split"] == "test") & (scores["metric"] == LIKELIHOOD)]
    runs = _by_runs(placed(report.tables, "pretraining"))
    for (dataset, architecture, _), own_runs in runs.groupby(["dataset", "architecture", "runs"], sort=False):
        name = ", ".join([str(dataset), *_parts(own_runs["condition"])])
        own_runs = own_runs.drop_duplicates("run")
        values = scores.loc[scores["run"].isin(own_runs["run"]), "value"]
        yield Pretrained(name, str(architecture), own_runs, float(values.mean()) if len(values) else None)


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


@dataclass(frozen=True)
class PretrainingCost:
    """Training FLOPs of a pretraining of an architecture, of finetuning it, and of training a task from scratch."""

    start: str
    architecture: str
    pretraining: float
    finetuning: float
    scratch: float

    def ratio(self, tasks: int) -> str:
        """The cost of a task as a multiple of training from scratch, if that many share the pretraining."""
        return formatting.number((self.pretraining / tasks + self.finetuning) / self.scratch)


def _costs(report: Report) -> Iterator[PretrainingCost]:
    """The cost of each start and architecture with runs from scratch on the same data sets."""
    runs = placed(report.tables, "compared")
    if not {"start", "pretraining_flops"} <= set(runs):
        return
    usual = runs["adapt"].fillna(FINETUNE) == FINETUNE
    runs = runs[usual & runs["train_flops"].notna()].assign(start=runs["start"].fillna(SCRATCH))
    scratch = runs[runs["start"] == SCRATCH]
    for key, started in runs[runs["pretraining_flops"] > 0].groupby(["start", "architecture"], sort=False):
        start, architecture = map(str, key)
        same = scratch[(scratch["architecture"] == architecture) & scratch["dataset"].isin(started["dataset"])]
        if not same.empty:
            flops = (started["pretraining_flops"], started["train_flops"], same["train_flops"])
            yield PretrainingCost(start, architecture, *(float(column.astype(float).mean()) for column in flops))


PRETRAININGS: Final = Table[Pretrained](
    "pretrainings",
    "What was pretrained",
    _pretrainings,
    (
        Column("pretraining", lambda one: one.name, text=True),
        Column("architecture", lambda one: one.architecture, text=True),
        Column(
            "objective", lambda one: ", ".join(dict.fromkeys(one.runs["objective"].dropna().astype(str))), text=True
        ),
        Column("tokens", lambda one: span(one.runs, "train_tokens")),
        Column("tokens with a loss", lambda one: span(one.runs, "train_loss_tokens")),
        Column("FLOPs", lambda one: span(one.runs, "train_flops")),
        Column(
            "held-out bits/byte",
            lambda one: "" if one.bits is None else formatting.value(one.bits, BUILTIN[LIKELIHOOD].decimals),
        ),
    ),
    titled=True,
    about="Bits per byte of the second half of a held-out window given the first. Not every objective trains "
    "this likelihood, so it does not rank objectives. Budgets of tasks do not include pretraining.",
)
COST: Final = Table[PretrainingCost](
    "pretraining_cost",
    "Cost of pretraining, spread over tasks",
    _costs,
    (
        Column("start", lambda cost: cost.start, text=True),
        Column("architecture", lambda cost: cost.architecture, text=True),
        Column("pretraining, planned", lambda cost: formatting.number(cost.pretraining)),
        Column("a task from scratch", lambda cost: formatting.number(cost.scratch)),
        Column("times scratch, 1 task", lambda cost: cost.ratio(1)),
        Column("times scratch, 10 tasks", lambda cost: cost.ratio(10)),
        Column("times scratch, 100 tasks", lambda cost: cost.ratio(100)),
    ),
    titled=True,
    about="Training FLOPs of a pretraining and of a task from scratch; then those per task (finetuning plus "
    "a share of the pretraining) as a multiple of training from scratch, if 1, 10 or 100 tasks share "
    "the pretraining.",
    holds="training FLOPs with a part of the pretraining, as a multiple of training from scratch",
    lacks="finetuned runs from a pretraining and from scratch",
)
