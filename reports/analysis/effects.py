"""Effects of a change of the task on one architecture: a condition against the first one, a task against its baseline.

Contrasts of architectures stay within one condition. Here the same architecture stands on both sides, under the
names "decoder with dropout 0.1" and "decoder", or "decoder on phrases-char" and "decoder on phrases-bpe".
"""

from collections.abc import Collection, Container, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from archbench.reports.analysis.comparison import Comparison
from archbench.reports.analysis.groups import Group
from archbench.reports.analysis.testing import Question
from archbench.reports.base.declared import baselines, entered
from archbench.reports.base.tables import Tables
from archbench.runs.experiment.spec import SCRATCH
from archbench.tasks.metrics.builtin import BUILTIN
from archbench.tasks.metrics.metric import Metric

if TYPE_CHECKING:
    from archbench.reports.analysis.report import Report

BITS_PER_BYTE = BUILTIN["bits_per_byte"]  # where two tasks have no metric in common that other tokens leave alone


SETTING = (
    *("supervision", "optimizer", "planned_tokens", "parameters", "embedding_parameters"),
    *("depth", "width", "heads", "hidden", "batch_tokens"),
)  # what a condition that is tuned by itself may change, beside what its trials choose


@dataclass(frozen=True)
class Change:
    """A comparison, and what is added to an architecture's name there; ``retuned`` where it has trials of its own."""

    comparison: Comparison
    words: str
    retuned: bool = False

    def named(self) -> pd.DataFrame:
        """Its runs, every architecture under its name with the change."""
        runs = self.comparison.group.runs
        return runs.assign(architecture=runs["architecture"].astype(str) + self.words)


def effects(report: "Report") -> Iterator[Question]:
    """Every change against its baseline by the primary metric.

    The points of sweeps are tested there, as steps, and not once more as changes.
    """
    first, further = report.compared
    points = [point.comparison for sweep in report.sweeps for point in sweep.points]
    held, tuned = baselines(report.tables), _tuned(report.tables)
    for base in first:
        name = base.group.dataset
        conditions = [entry for entry in further if entry.group.dataset == name and not any(entry is p for p in points)]
        changes = [change for comparison in conditions for change in _condition(base, comparison, tuned)]
        yield from _asked(Change(base, ""), changes)
        others = [comparison for comparison in first if held.get(comparison.group.dataset) == name]
        named = [Change(comparison, f" on {comparison.group.dataset}") for comparison in others]
        yield from _asked(Change(base, f" on {name}"), named)


def _tuned(tables: Tables) -> set[object]:
    """The conditions with trials of their own that change nothing but the setting of a run."""
    return {
        task.get("condition")
        for task in entered(tables, "conditions")
        if task.get("retuned") and set(task.get("fixed") or ()) <= set(SETTING)
    }


def _condition(base: Comparison, other: Comparison, tuned: Container[object]) -> Iterator[Change]:
    """A further condition on the same axis, where it changes more than the axis.

    What pretraining adds to training from scratch is tested as a gain. Other numbers of training examples and other
    ways to adapt are no changes of one recipe.
    """
    name, axes = other.group.condition.get("condition", ""), (base.group.runs["match"], other.group.runs["match"])
    same_axis = len({axis.iloc[0] for axis in axes}) == 1
    if name and not base.group.condition.get("condition") and same_axis and _is_one_recipe(base, other):
        yield Change(other, f" with {name}", name in tuned)


def _is_one_recipe(base: Comparison, other: Comparison) -> bool:
    """Whether two conditions start alike, or from two pretrainings, and are adapted alike on as many examples."""
    (start, *rest), (other_start, *other_rest) = base.setup, other.setup
    return rest == other_rest and (start == other_start or SCRATCH not in (start, other_start))


def _asked(base: Change, changes: Sequence[Change]) -> Iterator[Question]:
    """A question for every architecture and change; none where its runs are the same as without it."""
    runs = pd.concat([base.named(), *(change.named() for change in changes)], ignore_index=True)
    group = Group(base.comparison.group.dataset, base.comparison.group.task, {}, runs)
    for change in changes:
        for name in base.comparison.group.architectures:
            if name in change.comparison.group.architectures and not _same(base.comparison, change, name):
                pair = (f"{name}{change.words}", f"{name}{base.words}")
                yield Question(group, _metric(base.comparison, change.comparison), pair)


def _same(base: Comparison, change: Change, name: str) -> bool:
    """Whether the change did nothing to an architecture.

    True if every common seed has the same score. Also true if a condition with its own trials differs only in the
    settings that they selected, because another learning rate is not another supervision.
    """
    other = change.comparison
    first, second = ({cell.architecture: cell.values for cell in compared.cells}[name] for compared in (base, other))
    common = first.keys() & second.keys()
    if base.metric.name == other.metric.name and common and all(first[seed] == second[seed] for seed in common):
        return True
    return change.retuned and _setting(base, name, common) == _setting(other, name, common) is not None


def _setting(comparison: Comparison, name: str, seeds: Collection[int]) -> tuple[str, ...] | None:
    """The training settings of an architecture's runs, except rate and dropout; None if the records lack them.

    Of these seeds, where there are any: where FLOPs are held equal, each seed has its own number of tokens.
    """
    runs = comparison.group.runs
    if not set(SETTING) <= set(runs):
        return None
    chosen = (runs["architecture"] == name).fillna(False) & (runs["seed"].isin(list(seeds)) if seeds else True)
    rows = runs.loc[chosen, list(SETTING)].astype(str)
    return tuple(sorted(set(map("|".join, rows.itertuples(index=False)))))


def _metric(base: Comparison, other: Comparison) -> Metric:
    metrics = {comparison.metric for comparison in (base, other) if comparison.scored} or {base.metric}
    metric = metrics.pop()
    return metric if not metrics and metric.across_tokenizers else BITS_PER_BYTE
