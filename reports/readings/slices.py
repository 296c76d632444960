"""Scores on further test sets of a data set: other lengths, numbers of pairs, steps or shots than in training."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from archbench.reports.base.metrics import within
from archbench.reports.base.once import once_per_report
from archbench.reports.base.statistics import Interval, mean_interval
from archbench.reports.report import Report
from archbench.reports.results.comparison import Comparison

SLICE = "slice"  # the split of these scores


@dataclass(frozen=True)
class SliceScore:
    """The score of an architecture on a slice such as "length=40", by the data set's first primary measure.

    ``setting`` and ``value`` are the parts of the slice's name; ``value`` is nan where it is no number.
    """

    comparison: Comparison
    architecture: str
    slice: str
    setting: str
    value: float
    score: Interval


@once_per_report
def slice_scores(report: Report) -> list[SliceScore]:
    """The scores by slice under each data set's first condition, by setting and value."""
    found = (entry for comparison in report.first for entry in _of(report, comparison))
    return sorted(found, key=lambda entry: (entry.comparison.group.dataset, entry.setting, entry.value))


def _of(report: Report, comparison: Comparison) -> Iterator[SliceScore]:
    """Means over seeds; their intervals take the variance between the seeds of each slice, pooled as usual."""
    rows, metric = report.tables["scores"], comparison.metric
    rows = rows[((rows["split"] == SLICE) & (rows["metric"] == metric.name) & np.isfinite(rows["value"])).fillna(False)]
    pooled = report.comparisons.pooled(comparison.group.settings(), metric.name)
    for cell in comparison.scored:
        runs = comparison.group.by_architecture[cell.architecture]["run"]
        sample = report.comparisons.samples(comparison.group, metric.name)[cell.architecture]
        for name, of_slice in rows[rows["run"].isin(runs)].groupby("slice", sort=False):
            values = replace(sample, values=of_slice["value"].to_numpy(dtype=float), examples=None)
            setting, _, text = str(name).partition("=")
            number = float(text) if text.replace(".", "", 1).isdigit() else math.nan
            score = within(mean_interval(values, pooled), metric)
            yield SliceScore(comparison, cell.architecture, str(name), setting, number, score)
