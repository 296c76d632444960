"""Data sets on which something starts from a pretraining: their comparisons by start, adaptation and examples."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from archbench.reports.results.comparison import Comparison
from archbench.reports.results.place import Place
from archbench.runs.experiment.spec import SCRATCH

if TYPE_CHECKING:
    from archbench.reports.report import Report


@dataclass(frozen=True)
class Started:
    """A data set on which something starts from a pretraining: its comparison by start, adaptation and examples."""

    first: Comparison
    by_setup: Mapping[Place, Comparison]


def by_dataset(report: "Report") -> list[Started]:
    """The data sets on which something starts from a pretraining."""
    runs = report.tables["runs"]
    if "start" not in runs:
        return []
    names = {str(name) for name in runs.loc[runs["start"].fillna(SCRATCH) != SCRATCH, "dataset"]}
    started = []
    for first in report.first:
        dataset, axis = first.group.dataset, first.group.place.match
        if dataset in names and first.metric.better:
            by_setup: dict[Place, Comparison] = {}
            for comparison in (first, *report.further):
                if comparison.group.dataset == dataset and comparison.group.place.match == axis:
                    by_setup.setdefault(comparison.setup, comparison)  # other conditions come later, with equal setups
            started.append(Started(first, by_setup))
    return started


def is_first_from_scratch(report: "Report") -> bool:
    """True if something starts from a pretraining, and every data set's first condition trains from scratch."""
    return {started.first.setup.start for started in by_dataset(report)} == {SCRATCH}
