"""Whether architectures keep their order at another size: decision accuracy, and signal to noise of the data set.

Decision accuracy is the share of pairs whose means differ in the same direction at both sizes (DataDecide, 2504.11393).
Signal to noise is the range of the architectures' means divided by the standard deviation between seeds (2508.13144).
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

from archbench.reports.base.declared import entered
from archbench.reports.base.once import once_per_report
from archbench.reports.report import Report
from archbench.reports.results.comparison import Comparison


@dataclass(frozen=True, eq=False)
class SizeOrder:
    """A data set under its first condition and under one of another size, by the same metric.

    ``agreeing`` of ``pairs`` pairs of architectures differ in the same direction; pairs that are equal at either size
    do not agree. The ratios of signal to noise are nan where a size has one architecture or one seed.
    """

    base: Comparison
    other: Comparison
    agreeing: int
    pairs: int
    base_ratio: float
    other_ratio: float


@once_per_report
def size_orders(report: Report) -> list[SizeOrder]:
    """The order at every other size, with two architectures or more that have scores at both."""
    return [order for base in report.judged for order in _of(report, base)]


def _of(report: Report, base: Comparison) -> Iterator[SizeOrder]:
    group, sizes = base.group, _sizes(report, base.group.dataset)
    further = (entry.group for entry in report.further if entry.group.dataset == group.dataset)
    for other in (entry for entry in further if entry.place.match == group.place.match):
        if sizes.get(other.place.condition) in (None, sizes.get("")):
            continue
        compared = report.comparisons.compare(other, base.metric.name)
        here, there = _means(base), _means(compared)
        pairs = list(combinations([name for name in here if name in there], 2))
        if pairs:
            products = ((here[a] - here[b]) * (there[a] - there[b]) for a, b in pairs)
            agreeing = sum(product > 0 for product in products)
            yield SizeOrder(
                base, compared, agreeing, len(pairs), signal_to_noise(report, base), signal_to_noise(report, compared)
            )


def signal_to_noise(report: Report, comparison: Comparison) -> float:
    """The range of the means over the standard deviation between seeds."""
    means = list(_means(comparison).values())
    variance = report.comparisons.pooled(comparison.group.settings(), comparison.metric.name).variance
    return (max(means) - min(means)) / math.sqrt(variance) if len(means) > 1 and variance > 0 else math.nan


def _means(comparison: Comparison) -> dict[str, float]:
    return {cell.architecture: cell.interval.mean for cell in comparison.scored}


def _sizes(report: Report, dataset: str) -> dict[str, object]:
    """The stated parameters of a data set by condition, "" for the first one."""
    tasks = (*entered(report.tables, "tasks"), *entered(report.tables, "conditions"))
    own = (task for task in tasks if task.get("name") == dataset)
    return {str(task.get("condition") or ""): task.get("budget", {}).get("parameters") for task in own}
