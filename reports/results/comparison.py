"""Architectures compared on one data set by one metric: means, intervals and who leads."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Final

import pandas as pd

from archbench.reports.base.statistics import Interval, detectable
from archbench.reports.results.groups import Group, is_started_elsewhere
from archbench.reports.results.place import Place
from archbench.tasks.metrics.metric import Metric

EARLY_TOKENS_PER_PARAMETER: Final = 5.0
MANY_PASSES: Final = 10  # over the training examples
LATE_PEAK: Final = 0.75  # mean share of the training at the best checkpoint; where it is smaller, more would not help
UNTRAINED: Final = "untrained"
CHECKPOINT: Final = "checkpoint:"
TARGET: Final = "target supervision"
NATIVE: Final = "native supervision"


@dataclass(frozen=True)
class Cell:
    """One architecture's result: `values` by seed, the interval of their mean, how many runs were planned."""

    architecture: str
    values: Mapping[int, float]
    interval: Interval
    planned: int
    best: bool = False


@dataclass(frozen=True)
class Comparison:
    """All architectures of a group under one metric.

    `resamples_examples` says whether the score of every test example is known, so that intervals resample them too.
    `test_examples` is the number of test examples behind a score, least and greatest over runs (0 where unknown);
    `idle` names the architectures whose encoder has no source to read. `checkpoints` has the number of test examples
    behind each baseline that is a checkpoint. ``finetuned`` has the mean score of every other checkpoint that was
    finetuned on the data set: no test compares it.

    `differences` holds, for every architecture but the leader, the interval of (leader - it), positive where the
    leader is better; they are not corrected for multiple tests. `detects` has the differences between two architectures
    that their primary contrast would find.

    ``measures`` are the primary measures of the data set, the first one first; ``metric`` need not be one of them.
    """

    group: Group
    metric: Metric
    cells: tuple[Cell, ...]
    leader: str
    differences: Mapping[str, Interval]
    baselines: Mapping[str, float]
    resamples_examples: bool
    test_examples: tuple[int, int] = (0, 0)
    idle: tuple[str, ...] = ()
    checkpoints: Mapping[str, int] = field(default_factory=dict)
    detects: Mapping[frozenset[str], float] = field(default_factory=dict)
    finetuned: Mapping[str, float] = field(default_factory=dict)
    measures: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """The data set, and the metric where it has several primary measures: "multi30k-de-en by BLEU"."""
        dataset = self.group.dataset
        return f"{dataset} by {self.metric.label}" if len(self.measures) > 1 else dataset

    @property
    def is_second(self) -> bool:
        """True if it is by a further primary measure; facts about all measures are reported with the first one."""
        return self.metric.name in self.measures[1:]

    @property
    def setup(self) -> Place:
        """Start, adaptation and number of training examples of its runs."""
        return self.group.place.setup

    @property
    def scored(self) -> list[Cell]:
        return [cell for cell in self.cells if cell.values]

    @property
    def open_rivals(self) -> list[str]:
        """The architectures whose interval of the difference from the leader includes 0, or is unknown."""
        return [name for name, interval in self.differences.items() if not interval.excludes_zero]

    @property
    def nearest(self) -> str:
        """The architecture with the best mean after the leader's; empty where there is none."""
        return min(self.differences, key=lambda name: self.differences[name].mean, default="")

    def detectable(self, architecture: str) -> float:
        """The minimum detectable difference (80% power) from the leader; for the leader, from the nearest."""
        other = self.nearest if architecture == self.leader else architecture
        pair = frozenset((self.leader, other))
        if pair in self.detects:
            return self.detects[pair]
        return detectable(self.differences[other]) if other in self.differences else math.nan

    @property
    def best_simple_baseline(self) -> tuple[str, float] | None:
        """The best baseline that a classical method gave: its name and value."""
        if not self.metric.better:
            return None
        classical = {k: v for k, v in self.baselines.items() if k != UNTRAINED and not k.startswith(CHECKPOINT)}
        rows = [(name, value) for name, value in classical.items() if math.isfinite(value)]
        return max(rows, key=lambda row: self.metric.gain(row[1]), default=None)

    @property
    def none_beats_baseline(self) -> bool:
        """True if no architecture's interval lies beyond the best baseline, on the better side.

        A score without an interval is taken as it is.
        """
        return bool(self.scored) and all(map(self.is_behind_baseline, self.scored))

    def is_behind_baseline(self, cell: Cell) -> bool:
        """True if a score is not better, by its 95% interval, than the best simple baseline."""
        best = self.best_simple_baseline
        return best is not None and bool(cell.values) and min(self.gains_over(best[1], cell)) <= 0

    def gains_over(self, value: float, cell: Cell) -> tuple[float, ...]:
        """How much better than a baseline's value both ends of a score's interval are; its mean, if it has none."""
        interval = cell.interval
        ends = (interval.lower, interval.upper) if interval.known else (interval.mean,)
        return tuple(self.metric.gain(end - value) for end in ends)

    @property
    def at_the_end(self) -> bool:
        """True if the two best means are within the usual margin of the end of the metric's scale."""
        return len(self._near(self.metric.best)) > 1

    @property
    def at_the_ceiling(self) -> bool:
        """True if every mean is within the usual margin of the best end of the metric's scale."""
        return len(self.scored) > 1 and len(self._near(self.metric.best)) == len(self.scored)

    @property
    def at_the_floor(self) -> bool:
        """True if every mean is within the usual margin of the worst end of the metric's scale."""
        return bool(self.scored) and len(self._near(self.metric.worst)) == len(self.scored)

    def _near(self, end: float) -> list[Cell]:
        """The results within the usual margin of an end of the scale."""
        return [cell for cell in self.scored if abs(cell.interval.mean - end) < (self.metric.margin or 0.0)]

    @property
    def bounded(self) -> tuple[str, ...]:
        """The architectures whose checkpoints were chosen by a bound on the likelihood that is compared here."""
        return self._chosen_by("masked")

    @property
    def unbounded(self) -> tuple[str, ...]:
        """The architectures whose checkpoints were chosen by a masked loss that bounds nothing."""
        return self._chosen_by("suffix")

    def _chosen_by(self, objective: str) -> tuple[str, ...]:
        """The architectures whose checkpoints were selected by the loss of this objective; none if all were.

        Runs that record ``selected_by`` used the compared likelihood itself.
        """
        runs = self.group.runs
        if self.metric.name != "bits_per_byte" or "objective" not in runs:
            return ()
        chosen = (runs["objective"] == objective).fillna(False)
        if "selected_by" in runs:
            chosen &= runs["selected_by"].isna()
        return tuple(runs.loc[chosen, "architecture"].unique()) if not chosen.all() else ()

    @cached_property
    def token_ratios(self) -> "pd.Series[float]":
        """Training tokens per parameter of the group's runs, with those of a pretraining that they start from.

        Finetuned checkpoints are left out: how many tokens they were trained on elsewhere is unknown. So are runs that
        trained nothing.
        """
        runs = self.group.runs[~is_started_elsewhere(self.group.runs)]
        tokens = runs["train_tokens"].astype(float)
        if "pretraining_tokens" in runs:
            tokens += runs["pretraining_tokens"].astype(float).fillna(0)
        ratios: pd.Series[float] = tokens / runs["parameters"].astype(float)
        return ratios[ratios > 0]

    @property
    def tokens_per_parameter(self) -> float:
        """The fewest training tokens per parameter among the group's runs; nan where unknown or nothing was trained."""
        return float(self.token_ratios.min())

    @property
    def loss_tokens(self) -> "pd.Series[float]":
        """Training tokens with a loss of each architecture, the mean over runs; without those that record none."""
        runs = self.group.runs.reindex(columns=["architecture", "train_loss_tokens"])
        return runs.groupby("architecture", sort=False)["train_loss_tokens"].mean().astype(float).dropna()

    @property
    def early(self) -> bool:
        """True if few tokens were read for a model's size, though not in many passes over few examples.

        Where the best checkpoints come well before the end, or the best scores are at the end of the scale, more
        training would not help.
        """
        runs, passes, peak = self.group.runs, math.nan, math.nan
        if "epochs" in runs:
            passes = float(runs["epochs"].astype(float).min())
        if "best_step" in runs:
            peak = float((runs["best_step"].astype(float) / runs["steps"].astype(float)).mean())
        is_small = self.tokens_per_parameter < EARLY_TOKENS_PER_PARAMETER
        return is_small and not passes > MANY_PASSES and not peak < LATE_PEAK and not self._near(self.metric.best)


def by_condition(comparisons: Sequence[Comparison]) -> tuple[list[Comparison], list[Comparison]]:
    """The comparison under each data set's first condition, which makes the headline, and those under further ones."""
    first: dict[str, Comparison] = {}
    for comparison in comparisons:
        first.setdefault(comparison.group.dataset, comparison)
    return list(first.values()), [
        comparison for comparison in comparisons if first[comparison.group.dataset] is not comparison
    ]


def oriented(interval: Interval, measure: Metric) -> Interval:
    """A difference with the sign that makes better positive, cut at the greatest that the metric's scale allows."""
    most = measure.most - measure.least
    cut = replace(interval, lower=max(interval.lower, -most), upper=min(interval.upper, most))
    if measure.better != "lower":
        return cut
    return replace(cut, mean=-cut.mean, lower=-cut.upper, upper=-cut.lower)
