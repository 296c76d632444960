"""Score against budget: parts of the budget, each trained and annealed by itself, and whether more would still help."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pandas as pd

from archbench.reports.analysis.comparison import Comparison, Comparisons, Group
from archbench.reports.analysis.contrasts import Contrast
from archbench.reports.analysis.judgement import Judged
from archbench.reports.analysis.testing import Question, answered
from archbench.reports.analysis.verdicts import p_said
from archbench.reports.base.statistics import Interval, mean_interval

WHOLE, HALF = 1.0, 0.5


@dataclass(frozen=True)
class Share:
    """An architecture's score after a share of the budget: training tokens and the mean over seeds."""

    architecture: str
    share: float
    tokens: float
    interval: Interval
    seeds: int


def shares(comparisons: Comparisons, found: Comparison) -> list[Share]:
    """The scores of the architectures that were trained on parts of the budget too, the whole last; empty without."""
    group = _together(comparisons, found)
    if group is None:
        return []
    samples = comparisons.samples(group, found.metric.name)[1]
    rows = group.runs.drop_duplicates("architecture").set_index("architecture")
    names, parts = rows["named"].astype(str).to_dict(), rows["share"].astype(float).to_dict()
    pooled = {name: comparisons.pooled(group.settings([name]), found.metric.name) for name in group.architectures}
    tokens = group.runs.groupby("architecture")["train_tokens"].mean().astype(float).to_dict()
    points = [
        Share(
            names[name],
            parts[name],
            tokens[name],
            found.metric.within(mean_interval(sample, pooled[name])),
            len(sample.values),
        )
        for name, sample in samples.items()
    ]
    order = list(dict.fromkeys(names.values()))
    return sorted(points, key=lambda one: (order.index(one.architecture), one.share))


def doublings(judged: Judged) -> list[Contrast]:
    """For each data set and architecture the whole budget against half of it; corrected for being so many."""
    found: list[Question] = []
    for one in judged.first:
        group = _together(judged.comparisons, one)
        if group is not None:
            found += _doublings(group, one.metric.name)
    return answered(judged.comparisons, found)


def sentence(one: Contrast) -> str:
    """What a doubling did: "converged" means that it changed the score by less than the margin."""
    name = one.first.partition(" at ")[0]
    if one.outcome == "equal" or one.small:
        return f"{name} has converged: from half to all of the budget its score changed by less than {one.margin:g}."
    if one.outcome == "ahead":
        return f"{name} has not converged: from half to all of the budget it still became better ({p_said(one)})."
    if one.outcome == "behind":
        return f"{name} became worse from half to all of the budget ({p_said(one)})."
    said = f" ({p_said(one)})" if one.outcome == "open" else ""
    return f"{name}: whether it has converged is not decided{said}."


def _doublings(group: Group, metric: str) -> Iterator[Question]:
    for name in dict.fromkeys(group.runs["named"]):
        pair = (_named(name, WHOLE), _named(name, HALF))
        if set(pair) <= set(group.architectures):
            yield Question(group, metric, pair)


def _together(comparisons: Comparisons, found: Comparison) -> Group | None:
    """The data set's runs on parts of the budget, and those of the same architectures on all of it."""
    parts = comparisons.on_parts(found)
    if parts.empty or not found.metric.better:
        return None
    whole = found.group.runs
    whole = whole[whole["architecture"].isin(list(parts["architecture"]))]
    runs = pd.concat([parts, whole], ignore_index=True)
    names = [_named(name, share) for name, share in zip(runs["architecture"], runs["share"], strict=True)]
    return Group(found.group.dataset, found.group.task, {}, runs.assign(named=runs["architecture"], architecture=names))


def _named(architecture: str, share: float) -> str:
    return f"{architecture} at {share:g}"


def numbers(found: Comparison, points: Sequence[Share]) -> list[dict[str, object]]:
    """The points as rows of a table."""
    return [
        {
            "dataset": found.group.dataset,
            "metric": found.metric.name,
            "architecture": point.architecture,
            "share": point.share,
            "tokens": point.tokens,
            "mean": point.interval.mean,
            "lower": point.interval.lower,
            "upper": point.interval.upper,
            "seeds": point.seeds,
        }
        for point in points
    ]
