"""Causes of a difference between two families: a path of single changes from one to the other, and what each carries.

The steps of a path add up to the whole difference. Each is the difference of two neighbours on the path, with the
interval that the pair has elsewhere on the page, or that of the family of causes. Where an experiment lacks a
neighbour, its two steps become one that names both changes. Where factors interact, another path between the same ends
gives the same changes other shares.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Final

from archbench.reports.base.declared import Pair
from archbench.reports.base.formatting import listing, signed
from archbench.reports.base.once import once_per_report
from archbench.reports.contrasts.contrast import Contrast
from archbench.reports.questions.paths import PATHS, DesignPath, in_contrasts, paths
from archbench.reports.report import Report
from archbench.reports.results.comparison import TARGET
from archbench.reports.results.place import Place
from archbench.tasks.metrics.metric import Metric


@dataclass(frozen=True)
class Design:
    """Design of an architecture, as far as the families differ."""

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
"""Meanings of the names of masks and predictions."""
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
    """The waterfall of every path, for each data set and axis."""
    return tuple(_waterfall(report, path) for path in paths(report))


def _waterfall(report: Report, path: DesignPath) -> Waterfall:
    comparison, (last, first) = path.comparison, path.ends
    designs = _ON_TARGET if report.comparisons.is_on_target_alone(comparison) else DESIGNS
    steps = [
        Step(tuple(_changes(designs[before], designs[after])), _tested(report, path, (after, before)))
        for after, before in path.steps
    ]
    whole = _tested(report, path, path.ends)
    return Waterfall(path.dataset, comparison.group.condition, comparison.metric, first, last, whole, tuple(steps))


def _tested(report: Report, path: DesignPath, pair: Pair) -> Contrast:
    """The contrast of two designs, whichever family of tests has it."""
    families = ("primary", "exploratory", "cause")
    metric = path.comparison.metric
    return next(report.tested.of_pair(path.dataset, metric, path.condition, in_contrasts(pair), families))


def asks_for_causes(report: Report) -> bool:
    """True if most of the compared architectures are designs between the ends of a path."""
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


def _changes(before: Design, after: Design) -> Iterator[str]:
    """The factors in which two designs differ, each with what it becomes."""
    for field in fields(Design):
        old, new = getattr(before, field.name), getattr(after, field.name)
        if old != new and field.name == "stacks":
            yield _STACKS.get((old, new), new)
        elif old != new:
            yield _WORDS[field.name].format("a" if new is True else "no" if new is False else new)
