"""Ladders: a data set's conditions that differ in size, or in depth at equal size, each a rung, the lowest first.

What a condition changes is read from the experiment as it was resolved, never from a condition's name. A condition that
changes something else as well is no rung. A second one of the same size or depth is a rung of a further ladder, where
others were trained on as much as it; ladders side by side are a grid. What is on no ladder stays what it is elsewhere:
a change that is held against the first condition.
"""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import pandas as pd

from archbench.reports.analysis.comparison import Comparison, Comparisons, Group
from archbench.reports.base.declared import entered
from archbench.reports.base.statistics import Interval, mean_interval

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
    """The rungs of one data set; ``group`` has all runs, each architecture under its name at each rung.

    ``given`` says of a further ladder what its rungs were trained on: "on 50,000 tokens".
    """

    axis: Axis
    rungs: tuple[Rung, ...]
    group: Group
    given: str = ""

    @property
    def dataset(self) -> str:
        return self.group.dataset

    @property
    def title(self) -> str:
        """The data set, and what a further ladder of it was trained on."""
        return f"{self.dataset} {self.given}".strip()

    @property
    def base(self) -> Comparison:
        """The lowest rung, which has the data set's metric and references as every other."""
        return self.rungs[0].found

    @property
    def architectures(self) -> list[str]:
        return list(dict.fromkeys(self.group.runs["named"]))

    def at(self, architecture: str, rung: Rung) -> str:
        """An architecture's name at a rung, as contrasts have it."""
        return _at(architecture, self.said(rung))

    def said(self, rung: Rung) -> str:
        """A rung in words: '50,000 parameters', on a further ladder '50,000 parameters on 50,000 tokens'."""
        return f"{self.axis.said(rung.value)} {self.given}".strip()

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
    return [one for axis in AXES for base in first for one in _ladders(comparisons, axis, base, further)]


def steps(comparisons: Comparisons, ladder: Ladder) -> list[Step]:
    """A step for every architecture and rung, architecture by architecture."""
    samples = comparisons.samples(ladder.group, ladder.base.metric.name)[1]
    found = []
    for architecture in ladder.architectures:
        for rung in ladder.of(architecture):
            sample = samples[ladder.at(architecture, rung)]
            pooled = comparisons.pooled(rung.found.group.settings(), ladder.base.metric.name)
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


def _ladders(comparisons: Comparisons, axis: Axis, base: Comparison, further: Sequence[Comparison]) -> Iterator[Ladder]:
    match = base.group.runs["match"].iloc[0]
    there = {
        one.group.condition.get("condition", ""): one
        for one in (base, *further)
        if one.group.dataset == base.group.dataset
        and one.group.runs["match"].iloc[0] == match
        and one.metric == base.metric
        and one.scored
    }
    for given, values in _values(comparisons, axis, base.group.dataset) if base.metric.better else ():
        found = [Rung(value, there[said]) for said, value in values.items() if said in there]
        if len(found) > 1:
            rungs = tuple(sorted(found, key=lambda rung: rung.value))
            yield _joined(Ladder(axis, rungs, base.group, given))


def _joined(ladder: Ladder) -> Ladder:
    """The ladder with the runs of all its rungs as its group."""
    parts = []
    for rung in ladder.rungs:
        runs = rung.found.group.runs
        names = [ladder.at(str(name), rung) for name in runs["architecture"]]
        parts.append(runs.assign(named=runs["architecture"].astype(str), architecture=names))
    runs = pd.concat(parts, ignore_index=True)
    return replace(ladder, group=Group(ladder.group.dataset, ladder.group.task, {}, runs))


def _at(architecture: str, said: str) -> str:
    return f"{architecture} with {said}"


def _values(comparisons: Comparisons, axis: Axis, dataset: str) -> Iterator[tuple[str, dict[str, int]]]:
    """For each ladder what it was given, '' for the first, and the setting's value under each of its conditions.

    The task itself is under no name. The first ladder has one rung of each value, those that were trained on as much as
    the task before others; what is left makes ladders of rungs that were trained on as much as one another.
    """
    own = (_settings(task) for task in entered(comparisons.tables, "tasks") if task.get("name") == dataset)
    base = next(own, {})
    found = [("", base.get(axis.setting), _length(base)), *_conditions(comparisons, axis, dataset, base)]
    taken = Counter(said for said, _, _ in found if said)
    whole = [one for one in found if type(one[1]) is int and one[1] > 0 and taken[one[0]] <= 1]
    whole.sort(key=lambda one: one[2] != _length(base))
    first = _of_each_value(whole)
    yield "", {said: value for said, value, _ in first}
    left = [one for one in whole if one not in first]
    for given in dict.fromkeys(given for _, _, given in left):
        yield given, {said: value for said, value, _ in _of_each_value([one for one in left if one[2] == given])}


def _of_each_value(found: Sequence[tuple[str, Any, str]]) -> list[tuple[str, Any, str]]:
    return list({value: (said, value, given) for said, value, given in reversed(found)}.values())


def _conditions(
    comparisons: Comparisons, axis: Axis, dataset: str, base: dict[str, Any]
) -> Iterator[tuple[str, Any, str]]:
    """The name of each condition, the setting's value where it can be a rung, and what it was given."""
    growing = {axis.setting} | (_LENGTH & axis.along)
    for task in entered(comparisons.tables, "conditions"):
        if task.get("name") == dataset:
            other = _settings(task)
            changed = {key for key in base.keys() | other.keys() if base.get(key) != other.get(key)}
            climbs = not changed.isdisjoint(growing) and changed <= {axis.setting} | axis.along
            yield str(task.get("condition") or ""), other.get(axis.setting) if climbs else None, _length(other)


def _length(settings: dict[str, Any]) -> str:
    """How long is trained, in words; '' where it follows from something else."""
    given = ((words, settings.get(key)) for key, words in _LENGTHS.items())
    return " ".join(words.format(value) for words, value in given if type(value) in (int, float))


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
