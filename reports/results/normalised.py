"""Scores on one scale for all data sets: 0 is the best classical row, 1 the best end of the metric's scale."""

import math
from dataclasses import dataclass
from functools import cached_property

from archbench.reports.base.statistics import Interval
from archbench.reports.results.comparison import Comparison


@dataclass(frozen=True, eq=False)
class Scale:
    """The ends of a comparison's scale: ``floor`` is the best classical row, ``ceiling`` the metric's best value.

    Without a classical row the floor is the metric's worst value.
    """

    comparison: Comparison

    @cached_property
    def floor(self) -> float:
        best = self.comparison.best_simple_baseline
        return best[1] if best else self.comparison.metric.worst

    @property
    def ceiling(self) -> float:
        return self.comparison.metric.best

    @property
    def known(self) -> bool:
        """True if both ends are finite and apart."""
        return math.isfinite(self.ceiling - self.floor) and self.ceiling != self.floor

    def of(self, score: Interval) -> tuple[float, float, float]:
        """Mean and limits on the scale; the limits are nan where the interval is not known."""
        mean, *ends = (
            (end - self.floor) / (self.ceiling - self.floor) for end in (score.mean, score.lower, score.upper)
        )
        lower, upper = sorted(ends) if score.known else (math.nan, math.nan)
        return mean, lower, upper
