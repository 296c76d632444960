"""Effects of a change of the task on one architecture: a condition against the first one, a task against its baseline.

Contrasts of architectures stay within one condition. Here the same architecture stands on both sides, under the
names "decoder with dropout 0.1" and "decoder", or "decoder on phrases-char" and "decoder on phrases-bpe".
"""

from collections.abc import Collection, Container, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from archbench.reports.base.declared import baselines, entered
from archbench.reports.base.tables import Tables
from archbench.reports.contrasts.testing import Question
from archbench.reports.results.comparison import Comparison
from archbench.reports.results.place import Place
from archbench.runs.experiment.spec import SCRATCH
from archbench.tasks.metrics.builtin import BUILTIN
from archbench.tasks.metrics.metric import Metric

if TYPE_CHECKING:
    from archbench.reports.report import Report

BITS_PER_BYTE = BUILTIN["bits_per_byte"]  # where two tasks have no metric in common that other tokens leave alone


SETTING = (
    *("supervision", "optimizer", "planned_tokens", "parameters", "embedding_parameters"),
    *("depth", "width", "heads", "hidden", "batch_tokens"),
)  # what a condition that is tuned by itself may change, beside what its trials choose


def effects(report: "Report") -> Iterator[Question]:
    """Every change against its baseline by the primary metric.

    The points of sweeps are tested there, as steps, and not once more as changes.
    """
    first, further = report.compared
    points = [point for sweep in report.sweeps for point in sweep.points.values()]
    held, tuned = baselines(report.tables), _tuned(report.tables)
    for base in first:
        name = base.group.dataset
        conditions = [entry for entry in further if entry.group.dataset == name and not any(entry is p for p in points)]
        changes = {f" with {other.group.place.condition}": other for other in conditions if _is_change(base, other)}
        yield from _asked(base, "", changes, tuned)
        others = [comparison for comparison in first if held.get(comparison.group.dataset) == name]
        yield from _asked(base, f" on {name}", {f" on {other.group.dataset}": other for other in others})


def _tuned(tables: Tables) -> set[str]:
    """The conditions with trials of their own that change nothing but the setting of a run."""
    return {
        str(task.get("condition"))
        for task in entered(tables, "conditions")
        if task.get("retuned") and set(task.get("fixed") or ()) <= set(SETTING)
    }


def _is_change(base: Comparison, other: Comparison) -> bool:
    """True if a further condition is on the same axis and changes something else.

    What pretraining adds to training from scratch is tested as a gain. Other numbers of training examples and other
    ways to adapt are no changes of one recipe.
    """
    place, base_place = other.group.place, base.group.place
    same_axis = place.match == base_place.match
    return bool(place.condition) and not base_place.condition and same_axis and _is_one_recipe(base_place, place)


def _is_one_recipe(place: Place, other: Place) -> bool:
    """True if two conditions start alike, or from two pretrainings, and are adapted alike on as many examples."""
    starts = {place.start, other.start}
    return place.setup == replace(other.setup, start=place.start) and (len(starts) == 1 or SCRATCH not in starts)


def _asked(
    base: Comparison, words: str, changes: Mapping[str, Comparison], tuned: Container[str] = ()
) -> Iterator[Question]:
    """A question for every architecture and change; none where its runs are the same as without it.

    ``words`` are added to the architectures' names without the change, the keys of ``changes`` to those with it.
    """
    sides = {
        f"{name}{added}": runs
        for added, comparison in {words: base, **changes}.items()
        for name, runs in comparison.group.by_architecture.items()
    }
    group = base.group.of(sides)
    for added, other in changes.items():
        for name in base.group.architectures:
            retuned = other.group.place.condition in tuned
            if name in other.group.architectures and not _same(base, other, name, retuned):
                yield Question(group, _metric(base, other), (f"{name}{added}", f"{name}{words}"))


def _same(base: Comparison, other: Comparison, name: str, retuned: bool) -> bool:
    """True if the change did nothing to an architecture.

    True if every common seed has the same score. Also true if a condition with its own trials differs only in the
    settings that they selected, because another learning rate is not another supervision.
    """
    first, second = ({cell.architecture: cell.values for cell in compared.cells}[name] for compared in (base, other))
    common = first.keys() & second.keys()
    if base.metric.name == other.metric.name and common and all(first[seed] == second[seed] for seed in common):
        return True
    return retuned and _setting(base, name, common) == _setting(other, name, common) is not None


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
