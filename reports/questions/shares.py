"""Score against budget: parts of the budget, each trained and annealed by itself, and whether more would still help."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from archbench.reports.base.metrics import within
from archbench.reports.base.statistics import Interval, mean_interval
from archbench.reports.contrasts.contrast import Contrast
from archbench.reports.contrasts.phrase import phrase
from archbench.reports.contrasts.testing import Question
from archbench.reports.results.comparison import Comparison
from archbench.reports.results.comparisons import Comparisons
from archbench.reports.results.groups import Group
from archbench.reports.results.place import Place
from archbench.tasks.metrics.metric import Metric

if TYPE_CHECKING:
    from archbench.reports.report import Report

HALF = 0.5


@dataclass(frozen=True)
class Share:
    """An architecture's score after a share of the budget: training tokens and FLOPs, and the mean over seeds."""

    architecture: str
    share: float
    tokens: float
    flops: float
    interval: Interval
    seeds: int

    def cost(self, name: str) -> float:
        """Its training tokens or FLOPs."""
        return self.tokens if name == "tokens" else self.flops


def shares(comparisons: Comparisons, comparison: Comparison) -> list[Share]:
    """The scores of the architectures that were trained on parts of the budget too, the whole last; empty without."""
    group = _together(comparisons, comparison)
    if group is None:
        return []
    samples = comparisons.samples(group, comparison.metric.name)
    rows = group.first_runs
    names, parts = rows["entered"].astype(str).to_dict(), rows["share"].astype(float).to_dict()
    pooled = {name: comparisons.pooled(group.settings([name]), comparison.metric.name) for name in group.architectures}
    costs = group.runs.groupby("architecture")[["train_tokens", "train_flops"]].mean().astype(float)
    points = [
        Share(
            names[name],
            parts[name],
            float(costs["train_tokens"][name]),
            float(costs["train_flops"][name]),
            within(mean_interval(sample, pooled[name]), comparison.metric),
            len(sample.values),
        )
        for name, sample in samples.items()
    ]
    order = list(dict.fromkeys(names.values()))
    return sorted(points, key=lambda point: (order.index(point.architecture), point.share))


def doublings(report: "Report") -> Iterator[Question]:
    """For each data set and architecture, the whole budget against half of it."""
    for comparison in report.compared[0]:
        group = _together(report.comparisons, comparison)
        if group is not None:
            yield from _doublings(group, comparison.metric)


def converged(contrast: Contrast) -> bool:
    """True if doubling the budget changed the score by less than the margin."""
    return contrast.outcome == "equal" or contrast.small


def sentence(contrast: Contrast) -> str:
    """The effect on an architecture's score of doubling the budget, from half to all of it."""
    known = {"ahead": "has not converged", "equal": "has converged"}.get(contrast.outcome, "")
    state = "has converged" if converged(contrast) else known
    subject = f"{contrast.first} {state}".rstrip()
    return f"{subject}: the second half of the budget {phrase(contrast, 'change')}."


def _doublings(group: Group, metric: Metric) -> Iterator[Question]:
    for name in dict.fromkeys(group.runs["entered"]):
        pair = (name, Place(name, share=HALF).words)
        if set(pair) <= set(group.architectures):
            yield Question(group, metric, pair)


def _together(comparisons: Comparisons, comparison: Comparison) -> Group | None:
    """The data set's runs on parts of the budget, and those of the same architectures on all of it."""
    parts = comparisons.on_parts(comparison)
    if parts.empty or not comparison.metric.better:
        return None
    on_parts = {}
    for _, runs in parts.groupby(["architecture", "share"], sort=False):
        place = Place.of(runs.iloc[0])
        on_parts[Place(place.architecture, share=place.share).words] = runs
    named = set(parts["architecture"])
    whole = {name: runs for name, runs in comparison.group.by_architecture.items() if name in named}
    return comparison.group.of(on_parts | whole)


def numbers(comparison: Comparison, points: Sequence[Share]) -> list[dict[str, object]]:
    """The points as rows of a table."""
    return [
        {
            "dataset": comparison.group.dataset,
            "metric": comparison.metric.name,
            "architecture": point.architecture,
            "share": point.share,
            "tokens": point.tokens,
            "flops": point.flops,
            **point.interval.columns(),
            "seeds": point.seeds,
        }
        for point in points
    ]
