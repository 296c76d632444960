"""Horizontal distances: how many times the budget one architecture needs for the score that another reaches sooner.

Each point of a curve is a training of its own on a part of the budget. Between points the score is interpolated over
the logarithm of tokens or FLOPs. Two architectures are compared at the last score of the one that ends worse, so that
both curves hold it. Where scores have an end, as exact match has, they are compared at 90% too.

Intervals come from curves that are drawn again: each mean from the t distribution of its own interval (a parametric
bootstrap). A curve that starts beyond the score gives a bound: the distance is at least that to its first point.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from archbench.reports.base.formatting import number, value
from archbench.reports.base.once import once_per_report
from archbench.reports.base.statistics import LEVEL, Interval
from archbench.reports.questions.shares import Share, shares
from archbench.reports.report import Report
from archbench.reports.results.comparison import Comparison
from archbench.tasks.metrics.metric import Metric

DRAWS: Final = 2000
GOALS: Final = {"exact_match": 0.9, "accuracy": 0.9}
COSTS: Final = ("tokens", "flops")
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Distance:
    """``slow`` needs ``ratio`` times the budget of ``fast`` to reach ``score``: its estimate and 95% interval.

    ``cost`` is "tokens" or "flops". ``at_least``: the curve of ``fast`` starts beyond the score, so that the ratio is a
    lower bound. ``goal``: the score is a fixed goal, not that of the one that ends worse. ``or_less``, ``or_more``: a
    limit of the interval lies one doubling beyond the end of a curve, or at its start.
    """

    dataset: str
    metric: Metric
    cost: str
    slow: str
    fast: str
    score: float
    ratio: float
    lower: float
    upper: float
    at_least: bool
    goal: bool = False
    or_less: bool = False
    or_more: bool = False

    @property
    def turned(self) -> "Distance":
        """The same distance with the sides exchanged."""
        return replace(
            self,
            slow=self.fast,
            fast=self.slow,
            ratio=1 / self.ratio,
            lower=1 / self.upper,
            upper=1 / self.lower,
            or_less=self.or_more,
            or_more=self.or_less,
        )

    @property
    def sentence(self) -> str:
        """The distance in a sentence."""
        unit = "tokens" if self.cost == "tokens" else "training FLOPs"
        reached = f"To reach {value(self.score, self.metric.decimals)} {self.metric.label}, {self.slow} takes"
        if self.at_least:
            return f"{reached} at least {number(self.ratio)} times the {unit} of {self.fast}."
        known = math.isfinite(self.lower)
        low, high = " or less" * self.or_less, " or more" * self.or_more
        interval = f" (95% interval {number(self.lower)}{low} to {number(self.upper)}{high})" if known else ""
        return f"{reached} {number(self.ratio)} times the {unit} of {self.fast}{interval}."


@once_per_report
def distances(report: Report) -> tuple[Distance, ...]:
    """Every pair of architectures that were trained on parts of the budget, by the primary metric and by likelihood."""
    comparisons = report.comparisons
    pairs: list[Distance] = []
    for comparison in report.first:
        names = dict.fromkeys([comparison.metric.name, "bits_per_byte"])
        for name in names:
            if name in comparisons.metrics(comparison.group):
                measured = comparisons.compare(comparison.group, name)
                pairs += _of(measured, shares(comparisons, measured))
    return tuple(pairs)


def numbers(distances: Sequence[Distance]) -> list[dict[str, object]]:
    """The distances as rows of a table."""
    return [{**vars(entry), "metric": entry.metric.name} for entry in distances]


def _of(comparison: Comparison, points: Sequence[Share]) -> Iterator[Distance]:
    measure = comparison.metric
    curves = {
        name: [point for point in points if point.architecture == name] for name in comparison.group.architectures
    }
    curves = {name: curve for name, curve in curves.items() if len(curve) > 1 and _grows(curve)}
    for pair in combinations(curves, 2):
        fast, slow = sorted(pair, key=lambda name: -measure.gain(curves[name][-1].interval.mean))
        goal = GOALS.get(measure.name)
        is_reached = goal is not None and measure.gain(curves[slow][-1].interval.mean - goal) >= 0
        for cost in COSTS:
            curve_pair = (comparison.group.dataset, measure, cost, curves[slow], curves[fast])
            yield distance(*curve_pair)
            if is_reached:
                yield distance(*curve_pair, goal)


def distance(
    dataset: str,
    measure: Metric,
    cost: str,
    slow: Sequence[Share],
    fast: Sequence[Share],
    goal: float | None = None,
) -> Distance:
    """The distance of two curves at the last score of ``slow``, or at a ``goal`` that both reach.

    ``slow`` ends worse. Where it is the cheaper one nevertheless, the sides are exchanged.
    """
    sign, score = measure.gain(1.0), slow[-1].interval.mean if goal is None else goal
    costs = [np.log([point.cost(cost) for point in curve]) for curve in (slow, fast)]
    means = [sign * np.array([point.interval.mean for point in curve]) for curve in (slow, fast)]
    generator = np.random.Generator(np.random.PCG64(0))
    drawn = [sign * redrawn([point.interval for point in curve], generator) for curve in (slow, fast)]
    wanted = drawn[0][:, -1] if goal is None else np.full(DRAWS, sign * score)
    ratios = reached(costs[0], drawn[0], wanted, goal is None) - reached(costs[1], drawn[1], wanted)
    once = np.array([sign * score])
    ratio = reached(costs[0], means[0][None], once, goal is None) - reached(costs[1], means[1][None], once)
    lower, upper = np.quantile(ratios, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    known = all(point.interval.known for point in (*slow, *fast))
    first, last = ([cost[0] for cost in costs], [cost[-1] + math.log(2) for cost in costs])  # what `reached` can give
    if goal is None:
        first[0] = last[0] = costs[0][-1]
    least, most = first[0] - last[1], last[0] - first[1]
    distance = Distance(
        dataset,
        measure,
        cost,
        slow[0].architecture,
        fast[0].architecture,
        score,
        float(np.exp(ratio[0])),
        float(np.exp(lower)) if known else math.nan,
        float(np.exp(upper)) if known else math.nan,
        bool(means[1][0] >= sign * score),
        goal is not None,
        known and bool(np.isclose(lower, least)),
        known and bool(np.isclose(upper, most)),
    )
    return distance if distance.at_least or distance.ratio >= 1 else distance.turned


def _grows(curve: Sequence[Share]) -> bool:
    """True if every point cost more than the one before: a share of the budget may be lost in rounding."""
    return all(before.cost(name) < after.cost(name) for before, after in pairwise(curve) for name in COSTS)


def redrawn(curve: Sequence[Interval], generator: np.random.Generator) -> Floats:
    """Means of a curve drawn again, (draws, points)."""
    columns = []
    for interval in curve:
        degrees = interval.df if math.isfinite(interval.df) else 1e6
        error = interval.standard_error if math.isfinite(interval.standard_error) else 0.0
        columns.append(interval.mean + error * generator.standard_t(degrees, DRAWS))
    return np.stack(columns, 1)


def reached(costs: Floats, scores: Floats, wanted: Floats, at_the_end: bool = False) -> Floats:
    """Log cost at which each curve (draws, points), better upwards, first reaches its wanted score (draws,).

    The first point's where that is beyond it already; the last point's where it is ``at_the_end``. Where no point is
    beyond it, the last piece goes on, by a doubling at most.
    """
    if at_the_end:
        return np.full(len(scores), costs[-1])
    rise = (scores[:, -1] - scores[:, -2]) / (costs[-1] - costs[-2])
    missing = wanted - scores[:, -1]
    further = np.divide(missing, rise, out=np.full(len(scores), math.log(2)), where=rise > 0)
    crossing = costs[-1] + np.clip(further, 0.0, math.log(2))
    for index in range(len(costs) - 2, -1, -1):
        below, above = scores[:, index], scores[:, index + 1]
        crosses = (below < wanted) & (above >= wanted)
        share = np.where(crosses, (wanted - below) / np.where(crosses, above - below, 1.0), 0.0)
        crossing = np.where(crosses, costs[index] + share * (costs[index + 1] - costs[index]), crossing)
    result: Floats = np.where(scores[:, 0] >= wanted, costs[0], crossing)
    return result
