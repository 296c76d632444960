"""Ladders: a data set's conditions that differ in size, or in depth at equal size, each a rung, the lowest first.

What a condition changes is read from the experiment as it was resolved, never from a condition's name. A condition that
changes something else as well is no rung; nor is a second one of the same size or depth. Both stay what they are
elsewhere: a change that is held against the first condition.
"""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pandas as pd

from reports.comparison import Comparison, Comparisons, Group
from reports.stated import entered
from reports.statistics import Interval, mean_interval

_SHAPE: Final = frozenset({"model.depth", "model.width", "model.heads"})
_RATE: Final = frozenset({"training.learning_rate"})
_LENGTH: Final = frozenset({"budget.tokens", "budget.flops", "budget.seconds"})
_BESIDE: Final = frozenset({"architectures", "seeds", "condition", "fixed", "own", "tuned", "budget.match"})


@dataclass(frozen=True)
class Axis:
    """What grows from rung to rung: the setting, those that may follow it, what one and many of it are called."""

    name: str
    setting: str
    along: frozenset[str]
    one: str
    many: str

    def said(self, value: int) -> str:
        """A rung in words: '50,000 parameters'."""
        return f"{value:,} {self.one if value == 1 else self.many}"


SIZE: Final = Axis("scaling", "budget.parameters", _SHAPE | _RATE | _LENGTH, "parameter", "parameters")
DEPTH: Final = Axis("depth", "model.depth", _SHAPE | _RATE, "layer", "layers")
AXES: Final = (SIZE, DEPTH)


@dataclass(frozen=True, eq=False)
class Rung:
    """One step of a ladder: the value that was asked for, and the comparison there."""

    value: int
    found: Comparison


@dataclass(frozen=True, eq=False)
class Ladder:
    """The rungs of one data set; ``group`` has all runs, each architecture under its name at each rung."""

    axis: Axis
    rungs: tuple[Rung, ...]
    group: Group

    @property
    def dataset(self) -> str:
        return self.group.dataset

    @property
    def base(self) -> Comparison:
        """The lowest rung, which has the data set's metric and references as every other."""
        return self.rungs[0].found

    @property
    def architectures(self) -> list[str]:
        return list(dict.fromkeys(self.group.runs["named"]))

    def at(self, architecture: str, rung: Rung) -> str:
        """An architecture's name at a rung, as contrasts have it."""
        return _at(self.axis, architecture, rung.value)

    def of(self, architecture: str) -> list[Rung]:
        """The rungs on which an architecture has scores."""
        return [rung for rung in self.rungs if architecture in {cell.architecture for cell in rung.found.scored}]


@dataclass(frozen=True)
class Step:
    """An architecture's score at a rung, over seeds, and what its runs really got (means; nan where unknown)."""

    architecture: str
    rung: int
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


def ladders(comparisons: Comparisons, first: Sequence[Comparison], further: Sequence[Comparison]) -> list[Ladder]:
    """The ladders of every data set: two rungs with scores or more, on the axis of its first condition."""
    made = (_ladder(comparisons, axis, base, further) for axis in AXES for base in first)
    return [one for one in made if one is not None]


def steps(comparisons: Comparisons, ladder: Ladder) -> list[Step]:
    """A step for every architecture and rung, architecture by architecture."""
    samples = comparisons.samples(ladder.group, ladder.base.metric.name)[1]
    found = []
    for architecture in ladder.architectures:
        for rung in ladder.of(architecture):
            sample = samples[ladder.at(architecture, rung)]
            pooled = comparisons.pooled(rung.found.group.runs, ladder.base.metric.name)
            found.append(
                Step(
                    architecture,
                    rung.value,
                    **_got(rung.found.group.runs, architecture),
                    interval=ladder.base.metric.within(mean_interval(sample, pooled)),
                    seeds=len(sample.values),
                )
            )
    return found


def reference(ladder: Ladder, found: Sequence[Step]) -> tuple[str, float] | None:
    """The best classical reference, unless it lies so far off that the steps could not be told apart beside it."""
    best, means = ladder.base.classical, [step.interval.mean for step in found]
    half = (max(means) - min(means)) / 2
    return best if best and min(means) - half <= best[1] <= max(means) + half else None


def numbers(ladder: Ladder, found: Sequence[Step]) -> list[dict[str, object]]:
    """The steps as rows of a table, each beside the best classical reference of its data set."""
    name, value = ladder.base.classical or ("", math.nan)
    return [
        {
            "dataset": ladder.dataset,
            "metric": ladder.base.metric.name,
            "architecture": step.architecture,
            "parameters": step.parameters,
            "depth": step.depth,
            "width": step.width,
            "hidden": step.hidden,
            "tokens": step.tokens,
            "tokens_per_parameter": step.tokens_per_parameter,
            "mean": step.interval.mean,
            "lower": step.interval.lower,
            "upper": step.interval.upper,
            "seeds": step.seeds,
            "reference": name,
            "reference_value": value,
        }
        for step in found
    ]


def _ladder(comparisons: Comparisons, axis: Axis, base: Comparison, further: Sequence[Comparison]) -> Ladder | None:
    values = _values(comparisons, axis, base.group.dataset)
    match = base.group.runs["match"].iloc[0]
    found = [
        Rung(values[said], one)
        for one in (base, *further)
        if one.group.dataset == base.group.dataset
        and one.group.runs["match"].iloc[0] == match
        and one.metric == base.metric
        and one.scored
        and (said := one.group.condition.get("condition", "")) in values
    ]
    if len(found) < 2 or not base.metric.better:
        return None
    rungs = tuple(sorted(found, key=lambda rung: rung.value))
    runs = pd.concat([_named(axis, rung) for rung in rungs], ignore_index=True)
    return Ladder(axis, rungs, Group(base.group.dataset, base.group.task, {}, runs))


def _named(axis: Axis, rung: Rung) -> pd.DataFrame:
    runs = rung.found.group.runs
    names = [_at(axis, str(name), rung.value) for name in runs["architecture"]]
    return runs.assign(named=runs["architecture"].astype(str), architecture=names)


def _at(axis: Axis, architecture: str, value: int) -> str:
    return f"{architecture} with {axis.said(value)}"


def _values(comparisons: Comparisons, axis: Axis, dataset: str) -> dict[str, int]:
    """What the setting is under each condition of a data set that is a rung, the task itself under no name."""
    own = (_settings(task) for task in entered(comparisons.tables, "tasks") if task.get("name") == dataset)
    base = next(own, {})
    found = [("", base.get(axis.setting)), *_conditions(comparisons, axis, dataset, base)]
    whole = [(said, value) for said, value in found if type(value) is int and value > 0]
    taken = Counter(said for said, _ in found if said)
    first = {value: said for said, value in reversed(whole)}
    return {said: value for value, said in first.items() if taken[said] <= 1}


def _conditions(comparisons: Comparisons, axis: Axis, dataset: str, base: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """The name of each condition, and the setting's value where it is a rung."""
    for task in entered(comparisons.tables, "conditions"):
        if task.get("name") == dataset:
            other = _settings(task)
            changed = {key for key in base.keys() | other.keys() if base.get(key) != other.get(key)}
            climbs = axis.setting in changed and changed <= {axis.setting} | axis.along
            yield str(task.get("condition") or ""), other.get(axis.setting) if climbs else None


def _settings(task: dict[str, Any]) -> dict[str, Any]:
    """What decides a task's runs, with the names of its tables before the keys in them."""
    flat: dict[str, Any] = {}
    for key, value in task.items():
        inner = {f"{key}.{name}": each for name, each in value.items()} if isinstance(value, dict) else {key: value}
        flat |= {name: each for name, each in inner.items() if {key, name}.isdisjoint(_BESIDE)}
    return flat


def _got(runs: pd.DataFrame, architecture: str) -> dict[str, float]:
    """What an architecture's runs really got, on average; nan where the table does not say."""
    own = runs[runs["architecture"] == architecture].rename(columns={"train_tokens": "tokens"})
    own = own.reindex(columns=["parameters", "depth", "width", "hidden", "tokens"])
    means = own.apply(pd.to_numeric, errors="coerce").astype("float64").mean()
    return {str(name): float(mean) for name, mean in means.items()}
