"""Labels that pretraining saves: how many examples training from scratch needs for the score of a pretrained model.

Scores from scratch are interpolated over the logarithm of the number of examples that were read, without going beyond
the most. Intervals are a parametric bootstrap of the scores, as in ``horizontal``.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from archbench.reports.base.once import once_per_report
from archbench.reports.base.statistics import LEVEL
from archbench.reports.readings.adapted import Adapted, adapted
from archbench.reports.readings.horizontal import reached, redrawn
from archbench.reports.report import Report
from archbench.runs.experiment.spec import FINETUNE, SCRATCH, is_scratch


@dataclass(frozen=True)
class SavedLabels:
    """``needed`` examples from scratch, finetuned, give the score of ``pretrained``; with a 95% interval.

    ``most`` is the largest number that was read in training from scratch, ``fewest`` the smallest: a value at either is
    a bound. ``draws`` is how many draws of few examples the scores are over, the fewest of them.
    """

    pretrained: Adapted
    needed: float
    lower: float
    upper: float
    fewest: int
    most: int
    draws: int = 0

    @property
    def is_determined(self) -> bool:
        """True if the interval leaves out some of the numbers of examples that were read in training from scratch."""
        return self.lower > self.fewest * 1.001 or self.upper < self.most * 0.999

    @property
    def text(self) -> str:
        """The number with its interval: "310 (140 to ≥ 1,000)"."""
        if not self.is_determined:
            return "not determined"
        parts = [self._words(count) for count in (self.needed, self.lower, self.upper)]
        return f"{parts[0]} ({parts[1]} to {parts[2]})" if self.lower < self.upper else parts[0]

    def _words(self, count: float) -> str:
        if count >= self.most * 0.999:
            return f"≥\N{NO-BREAK SPACE}{self.most:,}"
        return f"≤\N{NO-BREAK SPACE}{self.fewest:,}" if count <= self.fewest * 1.001 else f"{count:,.0f}"


@once_per_report
def saved_labels(report: Report) -> tuple[SavedLabels, ...]:
    """For every score after a pretraining, where scratch was trained on at least two numbers of examples."""
    entries = adapted(report)
    scratch: dict[tuple[str, str], list[Adapted]] = {}
    for entry in entries:
        if entry.start == SCRATCH and entry.adapt == FINETUNE:
            scratch.setdefault((entry.dataset, entry.architecture), []).append(entry)
    return tuple(
        _needed(entry, curve)
        for entry in entries
        if not is_scratch(entry.start) and len(curve := scratch.get((entry.dataset, entry.architecture), [])) > 1
    )


def _needed(entry: Adapted, scratch: Sequence[Adapted]) -> SavedLabels:
    curve = sorted(scratch, key=lambda point: point.examples)
    sign, costs = entry.metric.gain(1.0), np.log([float(point.read) for point in curve])
    generator = np.random.Generator(np.random.PCG64(0))
    drawn = sign * redrawn([*(point.score for point in curve), entry.score], generator)
    mean = sign * np.array([[*(point.score.mean for point in curve), entry.score.mean]])
    logs = [np.minimum(reached(costs, part[:, :-1], part[:, -1]), costs[-1]) for part in (mean, drawn)]
    lower, upper = np.quantile(logs[1], [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    known = entry.score.known and all(point.score.known for point in curve)
    limits = np.exp([lower, upper]) if known else np.exp([logs[0][0]] * 2)
    needed, fewest, most = float(np.exp(logs[0][0])), curve[0].read, curve[-1].read
    drawn_over = min(filter(None, (point.draws for point in (*curve, entry))), default=0)
    return SavedLabels(entry, needed, float(limits[0]), float(limits[1]), fewest, most, drawn_over)
