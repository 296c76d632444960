"""Causes of a difference between two families: a path of single changes from one to the other, and what each carries.

The steps of a path add up to the whole difference. Each is the difference of two neighbours on the path, with the
interval that the pair has elsewhere on the page, or that of an exploratory contrast. Where an experiment lacks a
neighbour, its two steps become one that names both changes. Where factors interact, another path between the same ends
gives the same changes other shares.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from itertools import pairwise
from typing import Final

from archbench.reports.base.formatting import listing, signed
from archbench.reports.base.once import once_per_report
from archbench.reports.contrasts.contrast import Contrast
from archbench.reports.contrasts.testing import Question, exploratory_contrast
from archbench.reports.report import Report
from archbench.reports.results.comparison import TARGET, Comparison
from archbench.reports.results.comparisons import Comparisons
from archbench.reports.results.place import Place
from archbench.tasks.metrics.metric import Metric


@dataclass(frozen=True)
class Design:
    """What an architecture is, as far as the families differ."""

    mask: str
    prediction: str
    source_loss: bool
    stacks: str


DESIGNS: Final = {
    "decoder": Design("causal", "next-token loss", True, "one stack"),
    f"decoder|{TARGET}": Design("causal", "next-token loss", False, "one stack"),
    "prefix-decoder": Design("prefix", "next-token loss", False, "one stack"),
    f"next-cell-encoder|{TARGET}": Design("full", "next-cell loss", False, "one stack"),
    f"suffix-encoder|{TARGET}": Design("full", "suffix masking", False, "one stack"),
    f"encoder|{TARGET}": Design("full", "any-order masking", False, "one stack"),
    "encoder": Design("full", "any-order masking", True, "one stack"),
    "shared-encoder-decoder": Design("prefix", "next-token loss", False, "two stacks, shared layers"),
    "encoder-decoder": Design("prefix", "next-token loss", False, "two stacks"),
}
MEANINGS: Final = {
    "prefix mask": "hides only later target tokens",
    "full mask": "hides nothing but masked tokens",
    "next-cell loss": "predicts the next target token, with all later ones masked",
    "suffix masking": "predicts every token of a masked end of the target",
    "any-order masking": "predicts target tokens masked at random",
}
"""What the names of masks and predictions mean."""
_ON_TARGET: Final = {
    Place.parse(name).architecture: replace(design, source_loss=False) for name, design in DESIGNS.items()
}
_WORDS: Final = {
    "mask": "{} mask",
    "prediction": "{}",
    "source_loss": "{} loss on the source",
}
_STACKS: Final = {
    ("one stack", "two stacks, shared layers"): "two stacks with the same layers",
    ("two stacks, shared layers", "two stacks"): "separate layers for each stack",
    ("two stacks", "two stacks, shared layers"): "the same layers in both stacks",
    ("two stacks, shared layers", "one stack"): "one stack instead of two",
}  # others: what the stacks become
PATHS: Final = (
    (
        "decoder",
        f"decoder|{TARGET}",
        "prefix-decoder",
        f"next-cell-encoder|{TARGET}",
        f"suffix-encoder|{TARGET}",
        f"encoder|{TARGET}",
        "encoder",
    ),
    ("decoder", f"decoder|{TARGET}", "prefix-decoder", "shared-encoder-decoder", "encoder-decoder"),
    (
        "encoder-decoder",
        "shared-encoder-decoder",
        "prefix-decoder",
        f"next-cell-encoder|{TARGET}",
        f"suffix-encoder|{TARGET}",
        f"encoder|{TARGET}",
        "encoder",
    ),
)


@dataclass(frozen=True)
class Step:
    """One step of a path: which factors change, and the contrast of the later design against the earlier one."""

    changes: tuple[str, ...]
    contrast: Contrast


@dataclass(frozen=True)
class Waterfall:
    """A path from ``first`` to ``last`` on a data set, and the whole difference; positive where the later is better.

    ``axis`` is what is held equal, in words, where the data set is compared on several axes; else "".
    """

    dataset: str
    axis: str
    metric: Metric
    first: str
    last: str
    whole: Contrast
    steps: tuple[Step, ...]

    @property
    def sentence(self) -> str:
        """The whole difference, and what each step carries."""
        measure = self.metric
        total = signed(self.whole.difference, measure.decimals)
        parts = [f"{listing(step.changes)} {signed(step.contrast.difference, measure.decimals)}" for step in self.steps]
        return (
            f"From {self.first} to {self.last} on {self.dataset}{f' at {self.axis}' if self.axis else ''}, "
            f"{measure.label} (+ better, \N{MINUS SIGN} worse): "
            f"{total} in total; {'; '.join(parts)}."
        )


@once_per_report
def waterfalls(report: Report) -> tuple[Waterfall, ...]:
    """Every path with at least one design between its ends, for each data set and axis."""
    other_axes = [comparison for comparison in report.further if not comparison.group.place.condition]
    candidates = (
        _waterfall(report, comparison, path)
        for comparison in (*report.first, *other_axes)
        for path in _paths(report.comparisons, comparison)
        if comparison.metric.better
    )
    return tuple(entry for entry in candidates if entry is not None)


def asks_for_causes(report: Report) -> bool:
    """Whether most of the compared architectures are designs between the ends of a path."""
    names = {name for comparison in report.first for name in comparison.group.architectures}
    designs = {Place.parse(name).architecture for path in PATHS for name in path}
    ends = {name for path in PATHS for name in (path[0], path[-1])}
    return 2 * len(names & (designs - ends)) > len(names)


def numbers(waterfalls: Sequence[Waterfall]) -> list[dict[str, object]]:
    """The steps as rows of a table, the whole difference of each path last."""
    return [row for entry in waterfalls for row in _rows(entry)]


def _rows(entry: Waterfall) -> Iterator[dict[str, object]]:
    path = f"{entry.first} to {entry.last}"
    shared_columns = {"dataset": entry.dataset, "axis": entry.axis, "metric": entry.metric.name, "path": path}
    for name, contrast in (
        *((listing(step.changes), step.contrast) for step in entry.steps),
        ("whole difference", entry.whole),
    ):
        gap = contrast.difference
        sides = {"changes": name, "from": contrast.second, "to": contrast.first}
        yield {**shared_columns, **sides, **gap.columns("difference"), "p": contrast.p, "gate": contrast.gate}


def _paths(comparisons: Comparisons, comparison: Comparison) -> list[tuple[str, ...]]:
    """The paths, by the names that the designs have there: with a loss on the target alone, no usual loss is left."""
    if not comparisons.is_on_target_alone(comparison):
        return list(PATHS)
    return [tuple(dict.fromkeys(Place.parse(name).architecture for name in path)) for path in PATHS]


def _waterfall(report: Report, comparison: Comparison, path: Sequence[str]) -> Waterfall | None:
    comparisons, dataset = report.comparisons, comparison.group.dataset
    on_first_axis = any(comparison.group is known.group for known in report.first)
    runs = {name: comparisons.side(comparison, name) for name in path}
    known = [name for name in path if (runs[name]["status"] == "done").fillna(False).any()]
    if len(known) < 3 or (known[0], known[-1]) != (path[0], path[-1]):
        return None

    def tested(before: str, after: str) -> Contrast:
        for contrast in report.tested.pair(after, before) if on_first_axis else ():
            if contrast.dataset == dataset:
                return contrast
        pair = Place.parse(after).words, Place.parse(before).words
        group = comparison.group.of(dict(zip(pair, (runs[after], runs[before]), strict=True)))
        return exploratory_contrast(comparisons, Question(group, comparison.metric, pair))

    designs = _ON_TARGET if comparisons.is_on_target_alone(comparison) else DESIGNS
    steps = [
        Step(tuple(_changes(designs[before], designs[after])), tested(before, after))
        for before, after in pairwise(known)
    ]
    whole = tested(path[0], path[-1])
    return Waterfall(dataset, comparison.group.condition, comparison.metric, path[0], path[-1], whole, tuple(steps))


def _changes(before: Design, after: Design) -> Iterator[str]:
    """The factors in which two designs differ, each with what it becomes."""
    for field in fields(Design):
        old, new = getattr(before, field.name), getattr(after, field.name)
        if old != new and field.name == "stacks":
            yield _STACKS.get((old, new), new)
        elif old != new:
            yield _WORDS[field.name].format("a" if new is True else "no" if new is False else new)
