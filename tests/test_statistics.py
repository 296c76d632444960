"""Intervals cover what they should, and grow and shrink with what they are made from."""

import math

import numpy as np
import pytest
from scipy import stats

from archbench.reports.base.statistics import (
    Interval,
    Sample,
    detectable,
    difference_interval,
    mean_interval,
    pool,
    welch_difference,
)


def scores(*values: float) -> Sample:
    return Sample(np.array(values, dtype=float))


def layout(rng: np.random.Generator, seeds: int, easy: np.ndarray, seed_spread: float, noise: float = 0.5) -> Sample:
    """Scores of `seeds` runs on examples of difficulty `easy` (m,), with mean zero over seeds and examples."""
    effects = rng.normal(0, seed_spread, (seeds, 1))
    examples = effects + easy + rng.normal(0, noise, (seeds, len(easy)))
    return Sample(examples.mean(axis=1), examples)


def test_one_architecture_alone_has_the_textbook_t_interval() -> None:
    values = np.array([0.61, 0.64, 0.66, 0.60])
    interval = mean_interval(Sample(values), pool([Sample(values)]))
    low, high = stats.t.interval(0.95, 3, values.mean(), stats.sem(values))
    assert (interval.lower, interval.upper) == pytest.approx((low, high))


def test_equal_variances_pool_to_the_textbook_degrees_of_freedom() -> None:
    samples = [scores(1, 2, 3), scores(11, 12, 13), scores(21, 22, 23)]
    pooled = pool(samples)
    assert pooled.variance == pytest.approx(1)
    assert pooled.df == pytest.approx(6)
    interval = difference_interval(samples[1], samples[0], pooled)
    half = stats.t.ppf(0.975, 6) * math.sqrt(2 / 3)
    assert (interval.mean, interval.half_width) == pytest.approx((10, half))


def test_an_architecture_that_varies_more_than_others_keeps_its_own_variance() -> None:
    usual, wild = scores(1.0, 1.01, 1.02), scores(0.2, 1.0, 1.8)
    pooled = pool([usual, usual, wild])
    assert mean_interval(wild, pooled).half_width == pytest.approx(mean_interval(wild, pool([wild])).half_width)
    assert (
        mean_interval(usual, pooled).half_width == mean_interval(usual, pool([usual, usual])).half_width
    )  # and widens none of theirs


def test_high_variance_does_not_widen_the_interval_of_others_when_the_rest_hardly_varies() -> None:
    usual, constant = Sample(np.array([1.0, 1.0, 0.997])), Sample(np.array([0.997, 0.997, 0.997]))
    high = Sample(np.array([0.71, 0.43, 0.64]), high_variance=True)
    pooled = pool([usual, high, constant])
    assert pooled.variance == pytest.approx(usual.over_seeds.variance)
    assert difference_interval(usual, constant, pooled).half_width < 0.01
    assert difference_interval(usual, high, pooled).half_width > welch_difference(usual, high).half_width * 0.99


def test_one_seed_borrows_the_variance_of_the_others() -> None:
    single, others = scores(0.5), [scores(0.6, 0.62, 0.64), scores(0.7, 0.72, 0.74)]
    interval = mean_interval(single, pool([single, *others]))
    assert interval.known
    assert interval.half_width > mean_interval(others[0], pool([single, *others])).half_width


def test_one_seed_everywhere_gives_no_interval() -> None:
    a, b = scores(0.5), scores(0.9)
    interval = difference_interval(b, a, pool([a, b]))
    assert interval.mean == pytest.approx(0.4)
    assert not interval.known
    assert not interval.excludes_zero
    assert math.isnan(detectable(interval))


def test_no_variance_at_all_is_an_interval_without_width() -> None:
    a, b = scores(0.0, 0.0, 0.0), scores(0.0, 0.0, 0.0)
    interval = difference_interval(a, b, pool([a, b]))
    assert (interval.lower, interval.upper) == (0, 0)
    assert not interval.excludes_zero


@pytest.mark.parametrize("spreads", [(1, 1, 1, 1), (1, 1, 1, 4), (0.3, 1, 1, 3)])
@pytest.mark.parametrize("seeds", [3, 5])
def test_intervals_over_seeds_cover_the_truth(spreads: tuple[float, ...], seeds: int) -> None:
    rng = np.random.default_rng(0)
    means = np.zeros(len(spreads))
    differences, repeats = 0, 800
    for _ in range(repeats):
        samples = [Sample(rng.normal(0, spread, seeds)) for spread in spreads]
        pooled = pool(samples)
        intervals = [mean_interval(sample, pooled) for sample in samples]
        means += [interval.lower <= 0 <= interval.upper for interval in intervals]
        differences += not difference_interval(samples[0], samples[-1], pooled).excludes_zero
    assert means.min() / repeats > 0.92
    assert differences / repeats > 0.91


@pytest.mark.parametrize(
    ("seeds", "seed_spread", "repeats", "least"),
    [(3, 0.0, 400, 0.92), (3, 0.05, 400, 0.92), (3, 0.3, 400, 0.92), (5, 0.1, 400, 0.92), (12, 0.1, 200, 0.92)],
)
def test_intervals_over_seeds_and_examples_cover_the_truth(
    seeds: int, seed_spread: float, repeats: int, least: float
) -> None:
    rng = np.random.default_rng(1)
    covered = np.zeros(2)
    for _ in range(repeats):
        easy = rng.normal(0, 1, 80)
        samples = [layout(rng, seeds, easy + rng.normal(0, 0.3, 80), seed_spread) for _ in range(3)]
        pooled = pool(samples)
        mean, difference = mean_interval(samples[0], pooled), difference_interval(samples[0], samples[1], pooled)
        covered += [mean.lower <= 0 <= mean.upper, not difference.excludes_zero]
    assert covered.min() / repeats > least


def test_differences_are_paired_over_examples() -> None:
    rng = np.random.default_rng(2)
    easy = rng.normal(0, 3, 200)
    a, b = layout(rng, 3, easy, 0.01, 0.1), layout(rng, 3, easy, 0.01, 0.1)
    pooled = pool([a, b])
    assert difference_interval(a, b, pooled).half_width < 0.3 * mean_interval(a, pooled).half_width


def test_the_detectable_difference_is_found_four_times_in_five() -> None:
    rng = np.random.default_rng(4)
    sizes, detected, repeats = [], 0, 600
    for _ in range(repeats):
        samples = [Sample(rng.normal(0, 1, 8)) for _ in range(4)]
        sizes.append(detectable(difference_interval(samples[0], samples[1], pool(samples))))
    for _ in range(repeats):
        samples = [Sample(rng.normal(place == 0, 1 / np.mean(sizes), 8)) for place in range(4)]
        detected += difference_interval(samples[0], samples[1], pool(samples)).excludes_zero
    assert 0.72 < detected / repeats < 0.9


def test_an_interval_knows_its_half() -> None:
    assert Interval(1.0, 0.5, 1.5).half_width == 0.5
    assert math.isnan(Interval(1.0).half_width)
