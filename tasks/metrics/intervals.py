"""Scores with 95% percentile-bootstrap intervals, from statistics that add up over examples.

A metric is a function of sums: matches and n-grams for BLEU, hits and counts per class for macro F1. Resampling
examples is then one product of a matrix of random counts (resamples, n) and the statistics (n, k), however slow the
metric itself is. The random counts depend on n alone: every model is resampled alike.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from archbench.tasks.base.values import Score

Floats = NDArray[np.float64]
RESAMPLES = 1000
FAILURES = 0.05  # share of the samples that may have no value
_CELLS = 1 << 22  # random counts that are held at a time


def resampled(statistics: Floats) -> Floats:
    """Sums of the statistics (n, k) over `RESAMPLES` samples of the examples with replacement, (resamples, k)."""
    return np.concatenate([counts.astype(float) @ statistics for counts in _blocks(len(statistics))])


def draws(count: int) -> Iterator[NDArray[np.int64]]:
    """How often each of ``count`` examples is drawn, (n,), for every sample with replacement."""
    return (counts for block in _blocks(count) for counts in block)


def _blocks(count: int) -> Iterator[NDArray[np.int64]]:
    random = np.random.default_rng([0x626F6F74, count])
    rows = max(1, min(RESAMPLES, _CELLS // max(1, count)))
    for start in range(0, RESAMPLES, rows):
        yield random.multinomial(count, np.full(count, 1 / count), size=min(rows, RESAMPLES - start))


def scored(metric: str, statistics: Floats, of_sums: Callable[[Floats], Floats]) -> Score:
    """A score from the statistics (n, k) of its examples; ``of_sums`` takes their sums (r, k) to (r,) values."""
    value = float(of_sums(statistics.sum(axis=0, keepdims=True))[0])
    lower, upper = _percentiles(of_sums(resampled(statistics)))
    return Score(metric, value, lower, upper, len(statistics))


def contributions(statistics: Floats, of_sums: Callable[[Floats], Floats]) -> Floats:
    """Contributions (n,) of examples to a metric of the whole corpus: their mean is the metric of all.

    These are jackknife pseudo-values, ``n * score - (n - 1) * score without the example``, shifted by their bias. Their
    spread is that of the score when the corpus is drawn again (Efron and Stein 1981).
    """
    count, total = len(statistics), statistics.sum(axis=0, keepdims=True)
    score = of_sums(total)[0]
    values = count * score - (count - 1) * of_sums(total - statistics)
    return np.asarray(values - values.mean() + score)


def ratios(parts: Floats, wholes: Floats) -> Floats:
    """The statistics (n, 3) of a ratio of sums; an infinite part makes the ratio infinite."""
    infinite = np.isinf(parts)
    return np.stack([np.where(infinite, 0.0, parts), wholes, infinite], axis=1)


def ratio(sums: Floats, scale: float = 1.0) -> Floats:
    """``scale`` times a ratio of sums (r, 3), (r,); 0 where the whole is."""
    value = np.divide(sums[:, 0], sums[:, 1], out=np.zeros(len(sums)), where=sums[:, 1] > 0)
    return np.where(sums[:, 2] > 0, np.inf, scale * value)


def ratio_score(metric: str, parts: Floats, wholes: Floats, scale: float = 1.0) -> Score:
    """``scale`` times a ratio of sums over examples, (n,) each; infinite parts make an infinite ratio."""
    return scored(metric, ratios(parts, wholes), partial(ratio, scale=scale))


def mean_score(metric: str, values: Sequence[float] | Sequence[bool]) -> Score:
    """The mean of one value for each example."""
    parts = np.array(values, np.float64)
    return ratio_score(metric, parts, np.ones(len(parts)))


def wilson(share: float, count: int) -> tuple[float, float]:
    """The 95% score interval of a proportion of ``count`` examples, which also has a width at 0 and 1.

    Wilson 1927, "Probable inference, the law of succession, and statistical inference"; recommended by Brown, Cai and
    DasGupta 2001, "Interval estimation for a binomial proportion".
    """
    z = 1.959964
    centre = (share + z**2 / (2 * count)) / (1 + z**2 / count)
    spread = z * math.sqrt(share * (1 - share) / count + z**2 / (4 * count**2)) / (1 + z**2 / count)
    return max(0.0, centre - spread), min(1.0, centre + spread)


def resampled_score(
    metric: str, value: Callable[..., float], references: Sequence[str], answers: Sequence[str]
) -> Score:
    """A metric of texts that is only a function: it is computed again for each sample of the examples.

    Samples without a value are ignored. Raises the error of ``value`` on all examples, and ``ValueError`` if more than
    one sample in twenty has no value.
    """
    whole, count, values, failures = value(references, answers), len(answers), [], []
    for counts in draws(count):
        chosen = np.repeat(np.arange(count), counts).tolist()
        try:
            values.append(value([references[i] for i in chosen], [answers[i] for i in chosen]))
        except Exception as error:
            failures.append(error)
    if len(failures) > FAILURES * RESAMPLES:
        raise ValueError(f"has no value for {len(failures):,} of {RESAMPLES:,} samples of the examples: {failures[0]}")
    lower, upper = _percentiles(np.array(values))
    return Score(metric, whole, lower, upper, count)


def _percentiles(values: Floats) -> tuple[float, float]:
    """2.5% and 97.5%, without interpolation, so that infinite values stay infinite."""
    lower, upper = np.quantile(values, [0.025, 0.975], method="nearest")
    return float(lower), float(upper)
