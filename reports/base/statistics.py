"""Intervals for means over training seeds and for differences between architectures.

A score varies for two reasons: the seed that trained the model, and the test examples that happened to be drawn. Both
belong in an interval. With the scores of single examples at hand, the variance of a mean is that of a two-way layout
with random effects, `(MS_seed + MS_example - MS_error) / (seeds * examples)`, and Satterthwaite's formula gives the
degrees of freedom of the t interval. Differences are paired over test examples, which are the same for all.

The variance between seeds is the pooled one of all architectures: with few seeds a small variance is often luck. An
architecture whose own variance is much larger keeps it, so that a seed that did not train is not averaged away; one
that is larger beyond chance does not enter the pooled one. One whose seeds vary more than the others' over all data
sets together (``high_variance``) keeps its own everywhere, also where it happens to be small, with no more degrees of
freedom than its own seeds give. All this, and that a t interval does better than resampling seeds and examples, was
chosen by simulated coverage and by the false verdicts of whole families.
"""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

RULES: Final = 1  # version of the rules by which contrasts are judged (docs/statistics.md)
LEVEL: Final = 0.95
OWN_VARIANCE_RATIO: Final = 1.75  # times the pooled variance from which an architecture keeps its own
F_TEST_LEVEL: Final = 0.01  # of the F test by which a larger variance is left out of the pooled one
MOST_SEEDS: Final = 100
POWER: Final = 0.8

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """A mean with its confidence limits, standard error and degrees of freedom, which are nan where unknown."""

    mean: float
    lower: float = math.nan
    upper: float = math.nan
    standard_error: float = math.nan
    df: float = math.nan

    @property
    def half_width(self) -> float:
        return (self.upper - self.lower) / 2

    @property
    def known(self) -> bool:
        return math.isfinite(self.half_width)

    @property
    def excludes_zero(self) -> bool:
        return self.known and (self.lower > 0 or self.upper < 0)

    def columns(self, mean: str = "mean", prefix: str = "") -> dict[str, float]:
        """Its mean and limits as columns of a table: ``mean``, and "lower" and "upper" with a prefix."""
        return {mean: self.mean, f"{prefix}lower": self.lower, f"{prefix}upper": self.upper}


@dataclass(frozen=True)
class Sample:
    """An architecture's scores: `values` (n,), one for each seed; `examples` (n, m), what each test example gave.

    Each row of `examples` averages to its seed's value. Without them an interval speaks of seeds alone. The variance of
    one that is `high_variance` is always its own.
    """

    values: Floats
    examples: Floats | None = None
    high_variance: bool = False

    @cached_property
    def over_seeds(self) -> "VarianceEstimate":
        """The variance of its own seeds."""
        n = len(self.values)
        return VarianceEstimate(float(self.values.var(ddof=1)), n - 1) if n > 1 else VarianceEstimate()

    @cached_property
    def by_example(self) -> Floats:
        """Each example's mean over seeds (m,)."""
        assert self.examples is not None
        means: Floats = self.examples.mean(axis=0)
        return means

    @cached_property
    def interaction(self) -> float:
        """The variance that neither the seed nor the example explains, `MS_error` of the two-way layout."""
        return 0.0 if self.examples is None else _interaction(self.examples)


@dataclass(frozen=True)
class VarianceEstimate:
    """A variance and its degrees of freedom; both nan where unknown.

    ``is_over_usual``: it is pooled over architectures without high variance; one with high variance keeps its own.
    """

    variance: float = math.nan
    df: float = math.nan
    is_over_usual: bool = False

    def over(self, n: float) -> "VarianceEstimate":
        return VarianceEstimate(self.variance / n, self.df)


def pool(samples: Sequence[Sample]) -> VarianceEstimate:
    """The variance between seeds pooled over architectures, with Satterthwaite's degrees of freedom.

    One that varies far more than the others is left out, so that it widens no interval but its own, even where a single
    other one remains; so is one that does not vary at all, as scores at the end of a scale, which says nothing of how
    much others do.
    """
    several = [sample for sample in samples if len(sample.values) > 1]
    several = [sample for sample in several if np.ptp(sample.values) > 0] or several
    usual = [sample for sample in several if not sample.high_variance]
    estimates = _alike([sample.over_seeds for sample in usual or several])
    return replace(_pooled(estimates), is_over_usual=bool(usual)) if estimates else VarianceEstimate()


def with_high_variance(sets: Sequence[Mapping[str, Sample]], usual: Collection[str]) -> set[str]:
    """The architectures whose seeds vary more than those of the ``usual`` ones beyond chance, over all data sets.

    ``sets`` has the samples of each data set. F tests, put together by Fisher's method (1925), are repeated without the
    usual ones that were found, which otherwise hide the others.
    """
    from scipy.special import chdtrc

    names, high = {name for samples in sets for name in samples}, set[str]()

    def is_significantly_larger(name: str) -> bool:
        p_values = [_f_test_on(samples, name, set(usual) - high) for samples in sets]
        known = [p for p in p_values if p is not None]
        return bool(known and len(names) * chdtrc(2 * len(known), -2 * sum(map(math.log, known))) < F_TEST_LEVEL)

    while more := {name for name in names - high if is_significantly_larger(name)}:
        high |= more
    return high


def _f_test_on(samples: Mapping[str, Sample], name: str, usual: Collection[str]) -> float | None:
    """The p value of the F test of an architecture's variance on one data set against that of the others.

    None if it is not testable.
    """
    others = [samples[other].over_seeds for other in usual if other != name and other in samples]
    others = [estimate for estimate in others if estimate.df > 0]
    tested_variance = samples[name].over_seeds if name in samples else VarianceEstimate()
    pooled = _pooled(others) if others else VarianceEstimate()
    if not tested_variance.df > 0 or not pooled.variance > 0:
        return None
    return max(_f_test(tested_variance, pooled, sum(estimate.df for estimate in others)), 1e-300)


def _alike(estimates: list[VarianceEstimate]) -> list[VarianceEstimate]:
    """The variances without those that are larger than all others together by an F test; two stay at least."""
    while len(estimates) > 2:
        largest = max(range(len(estimates)), key=lambda index: estimates[index].variance)
        rest = estimates[:largest] + estimates[largest + 1 :]
        others = _pooled(rest)
        if (
            not others.variance
            or len(estimates) * _f_test(estimates[largest], others, sum(s.df for s in rest)) >= F_TEST_LEVEL
        ):
            break
        estimates = rest
    return estimates


def _f_test(estimate: VarianceEstimate, others: VarianceEstimate, others_df: float) -> float:
    """The p value of a one-sided F test that a variance is larger."""
    from scipy.special import fdtrc

    return float(fdtrc(estimate.df, others_df, estimate.variance / others.variance))


def _pooled(estimates: Sequence[VarianceEstimate]) -> VarianceEstimate:
    df = sum(estimate.df for estimate in estimates)
    return VarianceEstimate(
        sum(s.df * s.variance for s in estimates) / df,
        _total(estimates, [s.df for s in estimates]).df,
    )


def mean_interval(sample: Sample, pooled: VarianceEstimate) -> Interval:
    """The mean over seeds with its 95% interval; `pooled` comes from `pool` over all architectures."""
    parts = [_seed_variance(sample, pooled)]
    if sample.examples is not None:
        parts.append(_example_variance(sample.by_example, [sample]))
    return _t_interval(float(sample.values.mean()), parts)


def prediction_interval(values: Floats) -> Interval:
    """Where the score of one further seed lies with a probability of 95%: ``mean ± t * s * sqrt(1 + 1/n)``.

    ``s`` is the standard deviation of the ``n`` seeds and ``t`` has ``n - 1`` degrees of freedom: seeds that are
    independent and normal are all that it assumes. Unknown with one seed.
    """
    estimate = Sample(values).over_seeds
    return _t_interval(float(values.mean()), [estimate.over(1 / (1 + 1 / len(values)))])


def difference_interval(a: Sample, b: Sample, pooled: VarianceEstimate) -> Interval:
    """The difference of means `a - b` with its interval: seeds independent, test examples paired.

    Naming the best of several needs no correction: all its intervals must exclude zero, which under equal means is
    rarer than for one.
    """
    parts = [*_difference_variances(a, b, pooled), *_shared_examples(a, b)]
    return _t_interval(_gap(a, b), parts, _df_cap(a, b, pooled))


def welch_difference(a: Sample, b: Sample) -> Interval:
    """The difference by Welch's t test (1947): each architecture keeps the variance of its own seeds."""
    parts = [sample.over_seeds.over(len(sample.values)) for sample in (a, b)]
    return _t_interval(_gap(a, b), [*parts, *_shared_examples(a, b)])


def pooled_difference(a: Sample, b: Sample, samples: Sequence[Sample]) -> Interval:
    """The difference by the pooled t test: one variance between seeds for all ``samples``, without exception."""
    estimates = [sample.over_seeds for sample in samples if len(sample.values) > 1]
    df = sum(estimate.df for estimate in estimates)
    pooled = VarianceEstimate(_pooled(estimates).variance, df) if estimates else VarianceEstimate()
    part = pooled.over(1 / (1 / len(a.values) + 1 / len(b.values)))
    return _t_interval(_gap(a, b), [part, *_shared_examples(a, b)])


def paired_difference(a: Sample, b: Sample) -> Interval:
    """The difference by the paired t test; ``a`` and ``b`` have the same seeds, in the same order."""
    pairs = Sample(a.values - b.values)
    parts = [pairs.over_seeds.over(len(pairs.values))]
    if a.examples is not None and b.examples is not None and a.examples.shape == b.examples.shape:
        pairs = Sample(pairs.values, a.examples - b.examples)
        parts.append(_example_variance(pairs.by_example, [pairs]))
    return _t_interval(_gap(a, b), parts)


def detectable(difference: Interval, level: float = LEVEL) -> float:
    """The smallest true difference that such an interval at `level` would exclude zero for, with a power of 80%."""
    if not math.isfinite(difference.df):
        return math.nan
    return float((_t(difference.df, (1 + level) / 2) + _t(difference.df, POWER)) * difference.standard_error)


def p_difference(difference: Interval) -> float:
    """Two-sided p of no difference; nan where there is no interval."""
    if not math.isfinite(difference.standard_error):
        return math.nan
    if difference.standard_error == 0:
        return float(difference.mean == 0)
    return 2 * _above(abs(difference.mean) / difference.standard_error, difference.df)


def p_beyond(difference: Interval, margin: float) -> float:
    """p of a true difference of at least ``margin``, on either side (two one-sided tests); nan without an interval.

    Scores that do not vary at all, as those of models that get nothing right, show no equality.
    """
    if not math.isfinite(difference.standard_error):
        return math.nan
    if difference.standard_error == 0:
        return 1.0
    return _above((margin - abs(difference.mean)) / difference.standard_error, difference.df)


def holm(values: Sequence[float]) -> list[float]:
    """p values corrected for being a family (Holm 1979); one that is not known counts as a test and stays unknown."""
    known = np.nan_to_num(np.asarray(values, dtype=float), nan=1.0)
    order = np.argsort(known, kind="stable")
    factors = len(known) - np.arange(len(known))
    adjusted = np.empty(len(known))
    adjusted[order] = np.minimum(np.maximum.accumulate(known[order] * factors), 1.0)
    return [raw if math.isnan(raw) else float(value) for raw, value in zip(values, adjusted, strict=True)]


def holm_divisors(values: Sequence[float], alpha: float) -> list[int]:
    """By how many tests Holm's procedure divides the level of each: those left when it comes to it, or stops."""
    known = np.nan_to_num(np.asarray(values, dtype=float), nan=1.0)
    left = len(known) - np.arange(len(known))
    order = np.argsort(known, kind="stable")
    stops = known[order] * left > alpha
    divisors = np.empty(len(known), dtype=int)
    divisors[order] = np.maximum(left, left[stops].max(initial=1))
    return [int(divisor) for divisor in divisors]


def at_level(interval: Interval, level: float) -> Interval:
    """The t interval of the same mean at another confidence level; unchanged where it is unknown."""
    if not interval.known:
        return interval
    half = _t(interval.df, (1 + level) / 2) * interval.standard_error
    return replace(interval, lower=interval.mean - half, upper=interval.mean + half)


def seeds_needed(
    a: Sample, b: Sample, pooled: VarianceEstimate, distance: float, tail: float, power: float
) -> int | None:
    """Seeds of each that would show, with ``power``, that a difference lies ``distance`` off a bound.

    ``tail`` is the error allowed on the side that is tested. None above ``MOST_SEEDS``: more seeds do not
    reduce the variance between test examples.
    """
    examples, shares = _shared_examples(a, b), _by_seeds(a, b, pooled)
    for n in range(2, MOST_SEEDS + 1):
        total = _total([*shares(n), *examples])
        if math.isnan(total.variance):
            return None
        df = min(total.df, _df_cap(a, b, pooled, n))
        if (_t(df, 1 - tail) + _t(df, power)) * math.sqrt(total.variance) <= distance:
            return n
    return None


def _by_seeds(a: Sample, b: Sample, pooled: VarianceEstimate) -> Callable[[int], list[VarianceEstimate]]:
    """The seeds' shares in the variance of a difference, had every architecture so many seeds."""
    if _keeps_own_variance(a, pooled) or _keeps_own_variance(b, pooled):
        estimates = [sample.over_seeds if _keeps_own_variance(sample, pooled) else pooled for sample in (a, b)]
        return lambda n: [VarianceEstimate(estimate.variance / n, n - 1.0) for estimate in estimates]
    df_now = max(min(len(a.values), len(b.values)) - 1, 1)
    return lambda n: [VarianceEstimate(2 * pooled.variance / n, pooled.df * ((n - 1) / df_now))]


def _above(t: float, df: float) -> float:
    """The probability that a t variable lies above ``t``."""
    from scipy.special import ndtr, stdtr

    return float(ndtr(-t) if math.isinf(df) else stdtr(df, -t))


def _seed_variance(sample: Sample, pooled: VarianceEstimate) -> VarianceEstimate:
    """The seeds' share in the variance of a mean: from the pooled variance, or its own where that is much larger."""
    return (sample.over_seeds if _keeps_own_variance(sample, pooled) else pooled).over(len(sample.values))


def _difference_variances(a: Sample, b: Sample, pooled: VarianceEstimate) -> list[VarianceEstimate]:
    """The seeds' shares in the variance of a difference; one where both come from the same pooled variance."""
    if _keeps_own_variance(a, pooled) or _keeps_own_variance(b, pooled):
        return [_seed_variance(a, pooled), _seed_variance(b, pooled)]
    return [pooled.over(1 / (1 / len(a.values) + 1 / len(b.values)))]


def _df_cap(a: Sample, b: Sample, pooled: VarianceEstimate, seeds: int | None = None) -> float:
    """The most degrees of freedom of a difference: those of a high-variance sample's seeds.

    Satterthwaite's are too many there for tests at the level that a family takes.
    """
    high_variance_seeds = (
        seeds or len(sample.values) for sample in (a, b) if sample.high_variance and pooled.is_over_usual
    )
    return min(high_variance_seeds, default=math.inf) - 1


def _keeps_own_variance(sample: Sample, pooled: VarianceEstimate) -> bool:
    """True if the variance of a sample's own seeds counts instead of the pooled one."""
    apart = sample.high_variance and pooled.is_over_usual
    return sample.over_seeds.df > 0 and (apart or sample.over_seeds.variance > pooled.variance * OWN_VARIANCE_RATIO)


def _example_variance(column_means: Floats, samples: Sequence[Sample]) -> VarianceEstimate:
    """The examples' share in the variance of a mean (of a difference): what the seeds' share holds already is out."""
    m = len(column_means)
    if m < 2:
        return VarianceEstimate(0.0, math.inf)
    error = sum(sample.interaction / len(sample.values) for sample in samples)
    return VarianceEstimate(max(float(column_means.var(ddof=1)) - error, 0.0) / m, m - 1)


def _shared_examples(a: Sample, b: Sample) -> list[VarianceEstimate]:
    """The examples' share in the variance of a difference; none where they are not the same for both, or unknown."""
    if a.examples is None or b.examples is None or a.examples.shape[1] != b.examples.shape[1]:
        return []
    return [_example_variance(a.by_example - b.by_example, [a, b])]


def _gap(a: Sample, b: Sample) -> float:
    return float(a.values.mean() - b.values.mean())


def _interaction(examples: Floats) -> float:
    n, m = examples.shape
    if n < 2:
        return 0.0
    rest = examples - examples.mean(axis=0) - examples.mean(axis=1, keepdims=True) + examples.mean()
    return float((rest**2).sum() / ((n - 1) * (m - 1)))


def _total(parts: Sequence[VarianceEstimate], weights: Sequence[float] | None = None) -> VarianceEstimate:
    """The sum of variances; Satterthwaite's degrees of freedom, those of their weighted sum."""
    weights = weights or [1.0] * len(parts)
    sizes = [weight * part.variance for weight, part in zip(weights, parts, strict=True)]
    total = sum(sizes)
    squares = sum(size**2 / part.df for size, part in zip(sizes, parts, strict=True))
    if math.isnan(total):
        return VarianceEstimate()
    return VarianceEstimate(total, total**2 / squares if squares > 0 else math.inf)


def _t_interval(mean: float, parts: Sequence[VarianceEstimate], df_cap: float = math.inf) -> Interval:
    """The 95% interval of a mean whose variance is the sum of ``parts``; ``df_cap`` bounds its degrees of freedom."""
    total = _total(parts)
    if math.isnan(total.variance):
        return Interval(mean)
    standard_error, df = math.sqrt(total.variance), min(total.df, df_cap)
    half = _t(df, (1 + LEVEL) / 2) * standard_error
    return Interval(mean, mean - half, mean + half, standard_error, df)


def _t(df: float, probability: float) -> float:
    from scipy.special import ndtri, stdtrit

    return float(ndtri(probability) if math.isinf(df) else stdtrit(df, probability))
