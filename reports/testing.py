"""One pair of architectures put to the test: what was seen, what it takes to decide it."""

import math

from reports.comparison import Comparisons, Group, oriented
from reports.contrasts import ALPHA, Contrast
from reports.formatting import listing
from reports.metrics import metric
from reports.stated import Pair, stated
from reports.statistics import (
    POWER,
    Interval,
    Sample,
    detectable,
    difference_interval,
    p_beyond,
    p_difference,
    pool,
    seeds_needed,
)


def tested(comparisons: Comparisons, group: Group, name: str, pair: Pair) -> Contrast:
    """The contrast of two architectures of a group that was put together for it; not corrected."""
    _, margins = stated(comparisons.tables)
    samples = comparisons.samples(group, name)[1]
    return contrast(group, name, pair, samples, margins.get(name, math.nan), "")


def contrast(
    group: Group, name: str, pair: Pair, samples: dict[str, Sample], margin: float, said: str, family: int = 0
) -> Contrast:
    """Test one pair; the variance between seeds is pooled over all ``samples``.

    ``family`` is the number of primary contrasts, 0 for one that is not primary.
    """
    alpha = ALPHA / max(family, 1)
    a, b = (samples.get(one) for one in pair)
    difference, seeds = Interval(math.nan), None
    if a is not None and b is not None:
        pooled = pool(list(samples.values()))
        difference = oriented(difference_interval(a, b, pooled), metric(name))
        routes = () if difference.error == 0 else _routes(difference.mean, margin, alpha)
        needed = (seeds_needed(a, b, pooled, *route) for route in routes)
        seeds = min((count for count in needed if count is not None), default=None)
    return Contrast(
        dataset=group.dataset,
        task=group.task,
        condition=said,
        metric=name,
        first=pair[0],
        second=pair[1],
        difference=difference,
        p=p_difference(difference),
        p_beyond=math.nan if math.isnan(margin) else p_beyond(difference, margin),
        margin=margin,
        detectable=detectable(difference, 1 - alpha),
        seeds=seeds,
        runs=min(len(a.values), len(b.values)) if a is not None and b is not None else 0,
        primary=family > 0,
        family=max(family, 1),
        diverged=listing(_diverged(group, pair)),
    )


def _diverged(group: Group, pair: Pair) -> list[str]:
    """Which runs of the two diverged, in words."""
    found = []
    for name in pair:
        runs = group.runs[group.runs["architecture"] == name]
        count = int((runs["status"] == "diverged").sum())
        if count:
            found.append(f"{count} of {len(runs)} runs of {name}")
    return found


def _routes(mean: float, margin: float, alpha: float) -> list[tuple[float, float, float]]:
    """The ways in which a true difference of ``mean`` can be decided: distance, error on that side, power.

    It is told from none; and, where it is within the margin, from the margin. There both sides have to be ruled out, so
    that each gets half of the chance of missing it.
    """
    found = [(abs(mean), alpha / 2, POWER)]
    if abs(mean) < margin:
        found.append((margin - abs(mean), alpha, 1 - (1 - POWER) / 2))
    return found
