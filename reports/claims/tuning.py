"""Tuning of the sides of a test, and whether any trial of theirs passes the gate."""

import math
from collections.abc import Sequence
from typing import Final, NamedTuple

from archbench.reports.base.formatting import grouped
from archbench.reports.base.once import once_per_report
from archbench.reports.contrasts.contrast import Contrast
from archbench.reports.report import Report
from archbench.reports.results import gates, trials
from archbench.reports.results.groups import Group


class Tuning(NamedTuple):
    """How good the tuning of a test's sides is (2: tuned, 1: some below the gate, 0: some not at all), and in words."""

    level: int
    words: str


NOT_TUNED: Final = Tuning(0, "not tuned")


class Tried(NamedTuple):
    """An architecture that was tuned on a data set; ``below``: no trial is better than the bar of the gate."""

    dataset: str
    architecture: str
    below: bool


@once_per_report
def settings(report: Report) -> list[Tried]:
    """Architectures that were tuned, under the names of what is compared; every form of an architecture counts."""
    tables = report.tables
    found = trials.settings(tables)
    if not found:
        return []
    bars = gates.bars_per_token(tables)
    names = {(one.dataset, one.variant): one.architecture for one in trials.chosen_variants(tables)}
    return [
        Tried(
            one.dataset,
            names.get((one.dataset, one.architecture), one.architecture),
            not one.lowest < bars.get(one.dataset, (math.inf, ""))[0],
        )
        for one in found
    ]


def of(tried: Sequence[Tried], groups: Sequence[Group], counted: Sequence[Contrast]) -> Tuning:
    """The tuning of the sides of contrasts; of all architectures on the data sets where there are no contrasts."""
    sides = {(entry.dataset, name.split()[0]) for entry in counted for name in (entry.first, entry.second)}
    sides = sides or {(group.dataset, name) for group in groups for name in group.architectures}
    by_side: dict[tuple[str, str], list[bool]] = {}
    for one in tried:
        by_side.setdefault((one.dataset, one.architecture), []).append(one.below)
    without = sorted(side for side in sides if side not in by_side)
    if len(without) == len(sides):
        return NOT_TUNED
    below = sorted(side for side in sides if all(by_side.get(side, [False])))
    parts = [f"no trial of {_words(below)} passes the gate"] if below else []
    parts += [f"{_words(without)} not tuned"] if without else []
    return Tuning(0 if without else 1 if below else 2, "; ".join(["tuned", *parts]))


def _words(sides: Sequence[tuple[str, str]]) -> str:
    return grouped((name, dataset) for dataset, name in sides)
