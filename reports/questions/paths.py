"""Paths from one family to another by single changes of the design: each step and the whole difference is a question.

Pairs that are already primary or exploratory contrasts are not tested again. Where an experiment lacks a design, the
steps to it and from it become one.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import pandas as pd

from archbench.reports.base.declared import Pair
from archbench.reports.base.once import once_per_report
from archbench.reports.contrasts.testing import Question
from archbench.reports.results.comparison import TARGET, Comparison
from archbench.reports.results.comparisons import Comparisons
from archbench.reports.results.place import Place

if TYPE_CHECKING:
    from archbench.reports.report import Report

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


@dataclass(frozen=True, eq=False)
class DesignPath:
    """The designs of a path that a data set has under a condition, "" for the first one: their runs by name."""

    comparison: Comparison
    condition: str
    runs: Mapping[str, pd.DataFrame]

    @property
    def dataset(self) -> str:
        return self.comparison.group.dataset

    @property
    def steps(self) -> list[Pair]:
        """Every two neighbours, the later one first."""
        return [(after, before) for before, after in pairwise(self.runs)]

    @property
    def ends(self) -> Pair:
        """The last design and the first."""
        first, *_, last = self.runs
        return last, first


@once_per_report
def paths(report: "Report") -> tuple[DesignPath, ...]:
    """Every path with at least one design between its ends, for each data set and axis."""
    first = [("", comparison) for comparison in report.first]
    axes = [(entry.group.condition, entry) for entry in report.further if not entry.group.place.condition]
    found = (
        _path(report.comparisons, comparison, condition, names)
        for condition, comparison in (*first, *axes)
        for names in _named(report.comparisons, comparison)
        if comparison.metric.better
    )
    return tuple(path for path in found if path is not None)


def causes(report: "Report") -> Iterator[Question]:
    """The steps and whole differences that are no contrasts of the report already."""
    known = *report.primary, *report.exploratory
    tested = {(c.dataset, c.metric, c.condition, frozenset((c.first, c.second))) for c in known}
    for path in paths(report):
        for pair in (*path.steps, path.ends):
            later, earlier = in_contrasts(pair)
            key = (path.dataset, path.comparison.metric, path.condition, frozenset((later, earlier)))
            if key not in tested:
                tested.add(key)
                group = path.comparison.group.of({later: path.runs[pair[0]], earlier: path.runs[pair[1]]})
                yield Question(group, path.comparison.metric, (later, earlier), path.condition)


def in_contrasts(pair: Pair) -> Pair:
    """Two designs by the names that contrasts give them."""
    later, earlier = (Place.parse(name).words for name in pair)
    return later, earlier


def _named(comparisons: Comparisons, comparison: Comparison) -> list[tuple[str, ...]]:
    """The paths with the names of the designs there; if all have a loss on the target alone, names do not say so."""
    if not comparisons.is_on_target_alone(comparison):
        return list(PATHS)
    return [tuple(dict.fromkeys(Place.parse(name).architecture for name in path)) for path in PATHS]


def _path(
    comparisons: Comparisons, comparison: Comparison, condition: str, names: tuple[str, ...]
) -> DesignPath | None:
    runs = {name: comparisons.side(comparison, name) for name in names}
    known = {name: rows for name, rows in runs.items() if (rows["status"] == "done").fillna(False).any()}
    if len(known) < 3 or not {names[0], names[-1]} <= known.keys():
        return None
    return DesignPath(comparison, condition, known)
