"""What pretraining buys: scores by start, pairs after pretraining, gains, saved labels, cost."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import pandas as pd

from archbench.reports.analysis import pretraining
from archbench.reports.analysis.contrasts import Contrast
from archbench.reports.analysis.gains import started_from
from archbench.reports.analysis.groups import placed
from archbench.reports.analysis.pretraining import Adapted
from archbench.reports.analysis.report import Report
from archbench.reports.analysis.saved_labels import SavedLabels, saved_labels
from archbench.reports.base import formatting
from archbench.reports.page import lede
from archbench.reports.page.grids import Column, GridCell, span
from archbench.reports.page.parts import Figure, Section, Table, of_tables
from archbench.reports.page.sections.budget import AXES
from archbench.reports.page.sections.tests import CONTRASTS, DIFFERENCES
from archbench.runs.experiment.spec import FINETUNE, SCRATCH
from archbench.tasks.metrics.builtin import BUILTIN

SIZE_TOLERANCE: Final = 2 * AXES["parameters"].tolerance  # each of two sizes may miss its target by that much
LIKELIHOOD: Final = "bits_per_byte"
FINETUNED: Final = "Finetuned on the first number of training examples that the task lists in `examples`."

Place = tuple[str, int, str]  # data set, number of examples, start and adaptation


def _place(entry: Adapted) -> Place:
    return entry.dataset, entry.examples, entry.way


def _places(entries: Sequence[Adapted]) -> list[Place]:
    return list(dict.fromkeys(map(_place, entries)))


def _by_place(entries: Sequence[Adapted], architectures: Sequence[str], cell: Any) -> list[Column[Any]]:
    """Columns for places: data set, examples, start and adaptation, then a ``cell`` for each architecture."""
    ways, heading = short_ways([entry.way for entry in entries])
    return [
        Column("data set", lambda place: place[0], text=True),
        Column("examples", lambda place: f"{place[1]:,}"),
        Column(heading, lambda place: ways[place[2]], text=True),
        *(Column(name, partial(cell, name)) for name in architectures),
    ]


def short_ways(ways: Sequence[str]) -> tuple[dict[str, str], str]:
    """Each start and adaptation, without the adaptation if it is the same in all; and the heading of their column."""
    last = {way.rpartition(", ")[2] for way in ways}
    if len(last) > 1:
        return {way: way for way in ways}, "start and adaptation"
    return {way: way.rpartition(", ")[0] for way in ways}, f"start ({last.pop()})" if last else "start"


def _architectures(report: Report) -> list[str]:
    return list(dict.fromkeys(entry.architecture for entry in pretraining.adapted(report)))


def _score_columns(report: Report) -> list[Column[Any]]:
    entries = pretraining.adapted(report)
    found = {(_place(entry), entry.architecture): entry for entry in entries}
    return _by_place(entries, _architectures(report), lambda name, place: _score(found.get((place, name))))


def _score(entry: Adapted | None) -> GridCell:
    """A score; below it the difference from training from scratch."""
    if entry is None:
        return GridCell("", kind="quiet")
    gain = formatting.signed(entry.gain, entry.metric.decimals) if entry.gain is not None else ""
    return GridCell(formatting.interval(entry.score, entry.metric.decimals), gain)


def _saved_columns(report: Report) -> list[Column[Any]]:
    entries = saved_labels(report)
    found = {(_place(entry.pretrained), entry.pretrained.architecture): entry.text for entry in entries}
    names = [name for name in _architectures(report) if any(name == architecture for _, architecture in found)]
    return _by_place(_pretrained(entries), names, lambda name, place: found.get((place, name), ""))


def _pretrained(entries: Sequence[SavedLabels]) -> list[Adapted]:
    return [entry.pretrained for entry in entries]


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


SCORES: Final = Table[Place](
    "pretraining",
    "Scores by start, adaptation and number of examples",
    lambda report: _places(pretraining.adapted(report)),
    _score_columns,
    titled=True,
    about=(
        "Test split, mean ± 95% interval. Below each score: the difference from training all weights "
        "from scratch on as many examples (95% interval, not corrected for multiple tests); positive "
        "is better.",
        other_sizes,
        of_tables(lede.elsewhere),
    ),
    holds="scores by start, adaptation and number of training examples",
    lacks="runs that start from a pretraining",
    note="Means over seeds with 95% intervals. Below: the difference from training from scratch, finetuned on as many "
    "examples; 95% intervals, not corrected.",
)
AFTER: Final = Table[Contrast](
    "after_pretraining",
    "Which architecture is better after the same pretraining",
    lambda report: report.tested["after pretraining"],
    CONTRASTS,
    titled=True,
    about="The pairs of the primary contrasts, finetuned on the first number of examples in the task's "
    "<code>examples</code> list. Difference: positive where the first is better, with its 95% "
    "interval. p is corrected for all rows.",
    holds="which architecture is better after the same pretraining",
    lacks="primary contrasts, and two of their architectures after the same pretraining",
    note=f"{FINETUNED} {DIFFERENCES}",
)
GAIN_DIFFERENCES: Final = Table[Contrast](
    "gain_differences",
    "Which architecture gains more by pretraining",
    lambda report: report.tested["gain difference"],
    (
        Column("data set", lambda test: test.dataset, text=True),
        Column("examples", lambda test: f"{int(test.about):,}" if test.about else "all"),
        Column("pretraining", started_from, text=True),
        Column("architectures", lambda test: f"{test.first} vs. {test.second}", text=True),
        Column(
            "difference of gains",
            lambda test: GridCell(
                formatting.signed(test.difference, test.metric.decimals), kind="strong" if test.better else ""
            ),
        ),
        Column("p", lambda test: formatting.p(test.p)),
    ),
    titled=True,
    about="The gain of the first architecture minus that of the second, finetuned on the first number of "
    "examples in the task's <code>examples</code> list, with its 95% interval; paired over seeds and "
    "test examples. p is corrected for all rows.",
    holds="which architecture gains more by pretraining",
    lacks="two architectures with runs from the same pretraining and from scratch",
    note=f"{FINETUNED} The gain of the first minus that of the second, with a 95% interval; p corrected for all rows.",
)
SAVED_LABELS: Final = Table[Place](
    "saved_labels",
    "Examples that training from scratch needs for the same score",
    lambda report: _places(_pretrained(saved_labels(report))),
    _saved_columns,
    titled=True,
    about="Examples that training from scratch needs for the score of the pretrained model, with 95% "
    "intervals; interpolated linearly in the logarithm of the number of examples, within the range "
    "that was trained on. “examples”: what the pretrained model was trained on, or the shots of its "
    "prompt.",
    holds="examples that training from scratch needs for the score of a pretrained model",
    lacks="runs that start from a pretraining, and runs from scratch on several numbers of examples",
    note="With 95% intervals; interpolated over the logarithm of the number of examples. Not determined: the interval "
    "covers all numbers of examples that were trained on from scratch.",
)
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
SECTION: Final = Section(
    "What pretraining buys",
    name="pretraining",
    short="What pretraining buys",
    needs=pretraining.adapted,
    show=(
        Figure("pretraining_gains"),
        Figure("pretraining"),
        SCORES,
        AFTER,
        GAIN_DIFFERENCES,
        SAVED_LABELS,
        PRETRAININGS,
        Figure("pretraining_curves"),
        COST,
    ),
)
