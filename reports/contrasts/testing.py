"""The test of one pair of architectures, and the number of seeds needed to decide it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from archbench.reports.base.declared import Pair
from archbench.reports.base.formatting import listing
from archbench.reports.base.statistics import (
    POWER,
    Interval,
    Sample,
    VarianceEstimate,
    detectable,
    difference_interval,
    p_beyond,
    p_difference,
    paired_difference,
    pool,
    pooled_difference,
    seeds_needed,
    welch_difference,
)
from archbench.reports.contrasts.contrast import ALPHA, Contrast, holm_corrected
from archbench.reports.results.comparison import oriented
from archbench.reports.results.comparisons import Comparisons
from archbench.reports.results.gates import Gate
from archbench.reports.results.groups import Group
from archbench.tasks.metrics.metric import Metric


@dataclass(frozen=True)
class Question:
    """A question about two architectures of a group: which is better by a metric?

    Two questions are equal if data set, metric, pair and condition are. ``about`` is what the family adds: the outcome
    that a control expects, the factors that change, the number of examples of a gain. ``samples`` replace the scores of
    the group, in the test and in the estimate of variance.
    """

    group: Group = field(compare=False)
    metric: Metric
    pair: Pair
    condition: str = ""
    about: str = field(default="", compare=False)
    samples: Mapping[str, Sample] | None = field(default=None, compare=False)
    dataset: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "dataset", self.group.dataset)


def answered(comparisons: Comparisons, questions: Sequence[Question]) -> list[Contrast]:
    """The contrasts of the questions, Holm-corrected for all of them together."""
    return holm_corrected([answer(comparisons, question, len(questions)) for question in questions])


def answer(comparisons: Comparisons, asked: Question, tests: int = 1, alpha_share: float = 1.0) -> Contrast:
    """The contrast that a question is about, not yet corrected for all ``tests``; see ``contrast``."""
    name, samples = asked.metric.name, asked.samples
    if samples is None:
        samples = comparisons.samples(asked.group, name)
        pooled = comparisons.pooled(asked.group.settings(asked.pair), name)
    else:
        pooled = pool(list(samples.values()))
    gates, margin = failed_gates(comparisons, asked), comparisons.margins.get(name, math.nan)
    several = len(comparisons.primary(asked.group)) > 1
    return replace(contrast(asked, samples, pooled, margin, tests, gates, alpha_share), several=several)


def exploratory_contrast(comparisons: Comparisons, asked: Question) -> Contrast:
    """The contrast that a question is about, not corrected for other tests."""
    return answered(comparisons, [asked])[0]


def failed_gates(comparisons: Comparisons, asked: Question) -> tuple[Gate, ...]:
    """The gates of those of the two sides that are below them."""
    gates = [comparisons.gate(asked.group, name) for name in asked.pair]
    return tuple(gate for gate in gates if not gate.passed)


def contrast(
    asked: Question,
    samples: Mapping[str, Sample],
    pooled: VarianceEstimate,
    margin: float,
    tests: int = 1,
    gates: tuple[Gate, ...] = (),
    alpha_share: float = 1.0,
) -> Contrast:
    """Test one pair; p values are not yet corrected for all ``tests``.

    ``alpha_share`` is the part of the error that may be spent here; p values are divided by it.
    """
    group, pair = asked.group, asked.pair
    alpha = ALPHA * alpha_share / tests
    a, b = (samples.get(name) for name in pair)
    difference, needed, needed_to_show = Interval(math.nan), None, ""
    if a is not None and b is not None:
        difference = oriented(difference_interval(a, b, pooled), asked.metric)
        routes = () if difference.standard_error == 0 else _routes(difference.mean, margin, alpha)
        counts = [
            (seeds_needed(a, b, pooled, route.distance, route.tail, route.power), route.shown) for route in routes
        ]
        known = [(count, goal) for count, goal in counts if count is not None]
        needed, needed_to_show = min(known, default=(None, ""), key=lambda entry: entry[0])
    return Contrast(
        dataset=group.dataset,
        task=group.task,
        condition=asked.condition,
        metric=asked.metric,
        first=pair[0],
        second=pair[1],
        difference=difference,
        p=p_difference(difference) / alpha_share,
        p_beyond=math.nan if math.isnan(margin) else p_beyond(difference, margin) / alpha_share,
        margin=margin,
        detectable=detectable(difference, 1 - alpha),
        seeds_needed=needed,
        seeds=min(len(a.values), len(b.values)) if a is not None and b is not None else 0,
        corrected_for=tests,
        diverged=listing(diverged(group, pair)),
        survivor=_survivor(group, pair),
        needed_to_show=needed_to_show,
        failed_gates=gates,
        alpha=ALPHA * alpha_share,
        about=asked.about,
        group=group,
    )


def with_alternatives(tested: Contrast, asked: Question, alpha_share: float = 1.0) -> Contrast:
    """The contrast with its p values by other rules for the variance between seeds, not yet corrected."""
    samples = asked.samples or {}
    a, b = (samples.get(name) for name in asked.pair)
    if a is None or b is None:
        return tested
    welch, pooled = welch_difference(a, b), pooled_difference(a, b, list(samples.values()))
    values: dict[str, Any] = {"p_welch": p_difference(welch), "p_pooled": p_difference(pooled)}
    if not math.isnan(tested.margin):
        values["p_beyond_welch"] = p_beyond(welch, tested.margin)
        values["p_beyond_pooled"] = p_beyond(pooled, tested.margin)
    if len(a.values) == len(b.values) and _paired(asked.group, asked.pair):
        values["p_paired"] = p_difference(paired_difference(a, b))
    return replace(tested, **{name: value / alpha_share for name, value in values.items() if not math.isnan(value)})


def _paired(group: Group, pair: Pair) -> bool:
    """True if two architectures have the same seeds and, with each seed, the same order of the training data."""
    runs = group.runs[group.runs["status"] == "done"]
    if "batch_tokens" not in runs:
        return False
    orders = [runs[runs["architecture"] == name].sort_values("seed")[["seed", "batch_tokens"]] for name in pair]
    first, second = (order.to_numpy(dtype=float).tolist() for order in orders)
    return len(first) > 1 and first == second and len({seed for seed, _ in first}) == len(first)


def diverged(group: Group, names: Sequence[str]) -> list[str]:
    """Which runs of these architectures diverged, in words."""
    parts = []
    for name in names:
        ended = group.statuses.get(name, [])
        count = ended.count("diverged")
        if count:
            parts.append(f"{f'all {count}' if 1 < count == len(ended) else f'{count} of {len(ended)}'} runs of {name}")
    return parts


def _survivor(group: Group, pair: Pair) -> str:
    """The architecture whose runs all finished while every run of the other diverged (two or more runs of each)."""
    for name, other in (pair, pair[::-1]):
        done, lost = (group.statuses.get(architecture, []) for architecture in (name, other))
        if len(done) > 1 and len(lost) > 1 and set(done) == {"done"} and set(lost) == {"diverged"}:
            return name
    return ""


class _Route(NamedTuple):
    """A way to decide a contrast: what is shown, how far the true difference is off the bound that is tested.

    ``tail`` is the error allowed on that side, ``power`` the probability of success.
    """

    shown: str
    distance: float
    tail: float
    power: float


def _routes(mean: float, margin: float, alpha: float) -> list[_Route]:
    """The ways in which a true difference of ``mean`` can be decided.

    It is shown to differ from 0 or, where it is within the margin, from the margin. There both sides are ruled out, so
    that each gets half of the chance of missing it.
    """
    routes = [_Route("difference", abs(mean), alpha / 2, POWER)]
    if abs(mean) < margin:
        routes.append(_Route("equality", margin - abs(mean), alpha, 1 - (1 - POWER) / 2))
    return routes
