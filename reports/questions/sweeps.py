"""Sweeps: a data set's conditions that differ in size, or in depth at equal size, each a point, the lowest first.

What a condition changes is read from the experiment as it was resolved, never from a condition's name. A condition that
changes something else as well is no point. A second one of the same size or depth is a point of a further sweep, where
others were trained on as much as it; sweeps side by side are a grid. What is on no sweep stays what it is elsewhere:
a change that is held against the first condition.
"""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import pandas as pd

from archbench.reports.base.declared import entered
from archbench.reports.base.metrics import within
from archbench.reports.base.statistics import Interval, mean_interval
from archbench.reports.results.comparison import Comparison
from archbench.reports.results.comparisons import Comparisons
from archbench.reports.results.groups import Group

_SHAPE: Final = frozenset({"model.depth", "model.width", "model.heads"})
_RATE: Final = frozenset({"training.learning_rate"})
_LENGTHS: Final = {
    "budget.tokens": "on {:,} tokens",
    "budget.flops": "for {:.3g} FLOPs",
    "budget.seconds": "for {:g} s",
}
_LENGTH: Final = frozenset(_LENGTHS)
_BESIDE: Final = frozenset({"architectures", "seeds", "condition", "fixed", "own", "tuned", "budget.match"})


@dataclass(frozen=True)
class Axis:
    """The axis of a sweep: the setting that grows, those that may change with it, its name in singular and plural."""

    name: str
    setting: str
    along: frozenset[str]
    singular: str
    plural: str

    def words(self, value: int) -> str:
        """A point in words: '50,000 parameters'."""
        return f"{value:,} {self.singular if value == 1 else self.plural}"


SIZE: Final = Axis("scaling", "budget.parameters", _SHAPE | _RATE | _LENGTH, "parameter", "parameters")
DEPTH: Final = Axis("depth", "model.depth", _SHAPE | _RATE, "layer", "layers")
AXES: Final = (SIZE, DEPTH)


@dataclass(frozen=True, eq=False)
class Sweep:
    """The points of one data set: the comparison at each requested value, the lowest value first.

    ``given`` says of a further sweep what its points were trained on: "on 50,000 tokens".
    """

    axis: Axis
    points: Mapping[int, Comparison]
    given: str = ""

    @cached_property
    def group(self) -> Group:
        """All runs, each architecture under its name at each point."""
        sides = ((value, *side) for value, point in self.points.items() for side in point.group.by_architecture.items())
        return self.base.group.of({self.at(name, value): runs for value, name, runs in sides})

    @property
    def dataset(self) -> str:
        return self.base.group.dataset

    @property
    def title(self) -> str:
        """The data set, and what a further sweep of it was trained on."""
        return f"{self.dataset} {self.given}".strip()

    @property
    def base(self) -> Comparison:
        """The lowest point, which has the data set's metric and baselines as every other."""
        return next(iter(self.points.values()))

    @property
    def architectures(self) -> list[str]:
        return list(dict.fromkeys(name for point in self.points.values() for name in point.group.architectures))

    def at(self, architecture: str, value: int) -> str:
        """An architecture's name at a point, as contrasts have it."""
        return f"{architecture} with {self.words(value)}"

    def words(self, value: int) -> str:
        """A point in words: '50,000 parameters', on a further sweep '50,000 parameters on 50,000 tokens'."""
        return f"{self.axis.words(value)} {self.given}".strip()

    def means(self, architecture: str) -> dict[int, float]:
        """The mean scores of an architecture at the points at which it has scores."""
        scored = ((value, cell) for value, point in self.points.items() for cell in point.scored)
        return {value: cell.interval.mean for value, cell in scored if cell.architecture == architecture}


@dataclass(frozen=True)
class SweepScore:
    """An architecture's score at a point, over seeds, and the actual budget of its runs (means; nan if unknown)."""

    architecture: str
    value: int
    parameters: float
    depth: float
    width: float
    hidden: float
    tokens: float
    interval: Interval
    seeds: int

    @property
    def tokens_per_parameter(self) -> float:
        return self.tokens / self.parameters


def sweeps(comparisons: Comparisons, first: Sequence[Comparison], further: Sequence[Comparison]) -> list[Sweep]:
    """The sweeps of every data set: two points with scores or more, on the axis of its first condition."""
    return [sweep for axis in AXES for base in first for sweep in _sweeps(comparisons, axis, base, further)]


def scores(comparisons: Comparisons, sweep: Sweep) -> list[SweepScore]:
    """A score for every architecture and point, architecture by architecture."""
    samples = comparisons.samples(sweep.group, sweep.base.metric.name)
    results = []
    for architecture in sweep.architectures:
        for value in sweep.means(architecture):
            group, sample = sweep.points[value].group, samples[sweep.at(architecture, value)]
            pooled = comparisons.pooled(group.settings(), sweep.base.metric.name)
            results.append(
                SweepScore(
                    architecture,
                    value,
                    **_mean_budget(group.runs, architecture),
                    interval=within(mean_interval(sample, pooled), sweep.base.metric),
                    seeds=len(sample.values),
                )
            )
    return results


def baseline(sweep: Sweep, scores: Sequence[SweepScore]) -> tuple[str, float] | None:
    """The best baseline, unless it lies so far off that the scores beside it could not be distinguished."""
    best, means = sweep.base.best_simple_baseline, [score.interval.mean for score in scores]
    half = (max(means) - min(means)) / 2
    return best if best and min(means) - half <= best[1] <= max(means) + half else None


def numbers(sweep: Sweep, scores: Sequence[SweepScore]) -> list[dict[str, object]]:
    """The scores as rows of a table, each beside the best baseline of its data set."""
    name, value = sweep.base.best_simple_baseline or ("", math.nan)
    return [
        {
            "dataset": sweep.dataset,
            "metric": sweep.base.metric.name,
            "architecture": score.architecture,
            "parameters": score.parameters,
            "depth": score.depth,
            "width": score.width,
            "hidden": score.hidden,
            "tokens": score.tokens,
            "tokens_per_parameter": score.tokens_per_parameter,
            **score.interval.columns(),
            "seeds": score.seeds,
            "reference": name,
            "reference_value": value,
        }
        for score in scores
    ]


def _sweeps(comparisons: Comparisons, axis: Axis, base: Comparison, further: Sequence[Comparison]) -> Iterator[Sweep]:
    match = base.group.place.match
    by_condition = {
        comparison.group.place.condition: comparison
        for comparison in (base, *further)
        if comparison.group.dataset == base.group.dataset
        and comparison.group.place.match == match
        and comparison.metric == base.metric
        and comparison.scored
    }
    for given, values in _values(comparisons, axis, base.group.dataset) if base.metric.better else ():
        points = {value: by_condition[condition] for condition, value in values.items() if condition in by_condition}
        if len(points) > 1:
            yield Sweep(axis, dict(sorted(points.items())), given)


def _values(comparisons: Comparisons, axis: Axis, dataset: str) -> Iterator[tuple[str, dict[str, int]]]:
    """For each sweep what it was given, '' for the first, and the setting's value under each of its conditions.

    The task itself is under no name. All points of a sweep were trained on as much as one another, those of the first
    sweep on as much as the task.
    """
    tasks = (_settings(task) for task in entered(comparisons.tables, "tasks") if task.get("name") == dataset)
    base = next(tasks, {})
    entries = [("", base.get(axis.setting), _length(base)), *_conditions(comparisons, axis, dataset, base)]
    taken = Counter(condition for condition, _, _ in entries if condition)
    whole = [entry for entry in entries if type(entry[1]) is int and entry[1] > 0 and taken[entry[0]] <= 1]
    for length in dict.fromkeys((_length(base), *(length for _, _, length in whole))):
        by_value = {value: condition for condition, value, given in reversed(whole) if given == length}
        yield "" if length == _length(base) else length, {condition: value for value, condition in by_value.items()}


def _conditions(
    comparisons: Comparisons, axis: Axis, dataset: str, base: dict[str, Any]
) -> Iterator[tuple[str, Any, str]]:
    """The name of each condition, the setting's value where it can be a point, and what it was given."""
    growing = {axis.setting} | (_LENGTH & axis.along)
    for task in entered(comparisons.tables, "conditions"):
        if task.get("name") == dataset:
            other = _settings(task)
            changed = {key for key in base.keys() | other.keys() if base.get(key) != other.get(key)}
            trends = not changed.isdisjoint(growing) and changed <= {axis.setting} | axis.along
            yield str(task.get("condition") or ""), other.get(axis.setting) if trends else None, _length(other)


def _length(settings: dict[str, Any]) -> str:
    """The training length in words; '' if it follows from something else."""
    given = ((words, settings.get(key)) for key, words in _LENGTHS.items())
    return " ".join(words.format(value) for words, value in given if type(value) in (int, float))


def _settings(task: dict[str, Any]) -> dict[str, Any]:
    """The settings that decide the results of a task's runs, by key with the table's name before it."""
    flat: dict[str, Any] = {}
    for key, value in task.items():
        inner = (
            {f"{key}.{name}": inner_value for name, inner_value in value.items()}
            if isinstance(value, dict)
            else {key: value}
        )
        flat |= {name: inner_value for name, inner_value in inner.items() if {key, name}.isdisjoint(_BESIDE)}
    return flat


def _mean_budget(runs: pd.DataFrame, architecture: str) -> dict[str, float]:
    """The mean actual budget of an architecture's runs; nan if unknown."""
    rows = runs[runs["architecture"] == architecture].rename(columns={"train_tokens": "tokens"})
    rows = rows.reindex(columns=["parameters", "depth", "width", "hidden", "tokens"])
    means = rows.apply(pd.to_numeric, errors="coerce").astype("float64").mean()
    return {str(name): float(mean) for name, mean in means.items()}
