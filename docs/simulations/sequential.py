"""How often seeds that are added until contrasts are decided give a false verdict, and how many seeds that takes.

    python docs/simulations/sequential.py [--families 2500] [--only "unequal variances, 5"]

Scores are normal over seeds, without test examples. The rules of `reports/base/statistics.py` and of
`reports/contrasts/sequential.py` are written out for many families at once; `tests/test_sequential.py` compares them
with the code that makes a report's verdicts.
"""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtrc, fdtrc, stdtr

from archbench.reports.base.statistics import F_TEST_LEVEL, OWN_VARIANCE_RATIO
from archbench.reports.contrasts.contrast import ALPHA
from archbench.reports.contrasts.sequential import Rule

MOST: Final = 12
EDGE: Final = 2.0  # the margin, in standard deviations of a seed
UNEQUAL: Final = 3.0  # times the others' standard deviation that the last architecture has
OPEN, AHEAD, BEHIND, EQUAL = 0, 1, -1, 2
Array = NDArray[Any]
Share = Callable[[Rule, str, int], float]  # the part of the error that is spent at a look
TRIANGLE: Final = ((0, 1), (0, 2), (1, 2))
STAR5: Final = tuple((0, place) for place in range(1, 6))
STAR7: Final = tuple((0, place) for place in range(1, 8))


@dataclass(frozen=True)
class Scenario:
    """Contrasts of ``sets`` data sets that are alike: means and spreads over seeds, by architecture, and the margin.

    ``equality`` leaves out the tests of difference, which would decide some contrasts before they are called equal.
    """

    name: str
    means: tuple[float, ...]
    spreads: tuple[float, ...]
    pairs: tuple[tuple[int, int], ...]
    margin: float
    sets: int = 1
    first: int = 3
    equality: bool = False

    def scores(self, rng: np.random.Generator, families: int, most: int = MOST) -> Array:
        """Scores (families, data sets, architectures, seeds)."""
        noise = rng.standard_normal((families, self.sets, len(self.means), most))
        return noise * np.array(self.spreads)[:, None] + np.array(self.means)[:, None]

    def rule(self, most: int = MOST) -> Rule:
        return Rule(most, {"set": self.first}, {"set": self.first - 1})


@dataclass(frozen=True)
class Verdicts:
    """The outcome of each contrast (families, contrasts), data set by data set, and the seeds that it had then."""

    outcomes: Array
    seeds: Array

    def false(self, scenario: Scenario) -> float:
        """The share of families with a false verdict."""
        truth = np.tile([scenario.means[a] - scenario.means[b] for a, b in scenario.pairs], scenario.sets)
        equal = (self.outcomes == EQUAL) & (abs(truth) >= scenario.margin * (1 - 1e-9))
        sign = np.isin(self.outcomes, (AHEAD, BEHIND)) & (self.outcomes != np.sign(truth))
        return float((equal | sign).any(1).mean())


def halves(rule: Rule, dataset: str, look: int) -> float:
    """The rule of the reports: half of the error at the last look."""
    return rule.alpha_share(dataset, look)


def equally(rule: Rule, dataset: str, look: int) -> float:
    """The same part of the error at each look, for comparison."""
    return 1 / rule.looks(dataset)


def judged(scenario: Scenario, scores: Array, share: Share = halves) -> Verdicts:
    """Experiments that add seeds to open contrasts, up to as many as there are scores."""
    families, sets, architectures, most = scores.shape
    rule, tests = scenario.rule(most), sets * len(scenario.pairs)
    seeds = np.full((families, sets, architectures), scenario.first)
    raw = np.ones((2, families, tests))  # p of no difference, p of one beyond the margin
    rejected = np.zeros((2, families, tests), bool)
    outcomes, after = np.zeros((families, tests), int), np.full((families, tests), most)
    for look in range(rule.looks("set")):
        count = scenario.first + look
        gaps, errors, degrees, ready = _differences(scenario, scores, seeds, count)
        difference = 2 * stdtr(degrees, -abs(gaps) / errors) if not scenario.equality else np.ones(gaps.shape)
        beyond = stdtr(degrees, -(scenario.margin - abs(gaps)) / errors)
        raw = np.where(ready, np.stack([difference, beyond]) / share(rule, "set", look), raw)
        settled = outcomes != OPEN
        corrected = [holm(np.where(settled, 1.0 - before, now)) for before, now in zip(rejected, raw, strict=True)]
        differ, within = (values <= ALPHA for values in corrected)
        new = np.where(differ, np.sign(gaps).astype(int), np.where(within, EQUAL, OPEN))
        rejected = np.where(settled, rejected, np.stack([differ, within]))
        after = np.where(~settled & (new != OPEN), count, after)
        outcomes = np.where(settled, outcomes, new)
        _add(scenario, seeds, outcomes == OPEN, min(count + 1, most))
    return Verdicts(outcomes, after)


def _add(scenario: Scenario, seeds: Array, still: Array, count: int) -> None:
    """Gives the architectures of open contrasts a seed more."""
    for place in range(still.shape[1]):
        number, pair = divmod(place, len(scenario.pairs))
        for architecture in scenario.pairs[pair]:
            seeds[still[:, place], number, architecture] = count


def holm(values: Array) -> Array:
    """Holm-corrected p values, family by family."""
    order = values.argsort(1, kind="stable")
    factors = values.shape[1] - np.arange(values.shape[1])
    ordered = np.maximum.accumulate(np.take_along_axis(values, order, 1) * factors, 1)
    corrected = np.empty_like(values)
    np.put_along_axis(corrected, order, np.minimum(ordered, 1), 1)
    return corrected


def _differences(scenario: Scenario, scores: Array, seeds: Array, count: int) -> tuple[Array, Array, Array, Array]:
    """Difference, standard error and degrees of freedom of each contrast, and whether both have so many seeds."""
    used = np.arange(scores.shape[3]) < seeds[..., None]
    means = (scores * used).sum(3) / seeds
    variances = (((scores - means[..., None]) * used) ** 2).sum(3) / (seeds - 1)
    high = _high_variance(scenario, variances, seeds - 1.0)
    variance, freedom, pooled = _pooled(variances, seeds - 1.0, high)
    own_variance = (high[:, None] & pooled[:, None, None]) | (variances > OWN_VARIANCE_RATIO * variance[..., None])
    parts = np.where(own_variance, variances, variance[..., None]) / seeds
    weights = parts**2 / np.where(own_variance, seeds - 1, freedom[..., None])
    most = np.where(high[:, None] & pooled[:, None, None], seeds - 1.0, np.inf)
    columns = []
    for number in range(scenario.sets):
        for a, b in scenario.pairs:
            total = parts[:, number, a] + parts[:, number, b]
            degrees = total**2 / (weights[:, number, a] + weights[:, number, b])
            degrees = np.where(own_variance[:, number, a] | own_variance[:, number, b], degrees, freedom[:, number])
            degrees = np.minimum(degrees, np.minimum(most[:, number, a], most[:, number, b]))
            gap = means[:, number, a] - means[:, number, b]
            ready = np.minimum(seeds[:, number, a], seeds[:, number, b]) >= count
            columns.append((gap, np.sqrt(total), degrees, ready))
    gaps, errors, freedoms, readies = (np.stack(column, 1) for column in zip(*columns, strict=True))
    return gaps, errors, freedoms, readies


def _high_variance(scenario: Scenario, variances: Array, degrees: Array) -> Array:
    """Which architectures vary more than the others over all data sets (families, architectures)."""
    sums, freedoms = (variances * degrees).sum(2, keepdims=True), degrees.sum(2, keepdims=True)
    others = (sums - variances * degrees) / (freedoms - degrees)
    chances = np.maximum(fdtrc(degrees, freedoms - degrees, variances / others), 1e-300)
    statistic = -2 * np.log(chances).sum(1)
    high: Array = variances.shape[2] * chdtrc(2 * scenario.sets, statistic) < F_TEST_LEVEL
    return high


def _pooled(variances: Array, degrees: Array, high: Array) -> tuple[Array, Array, Array]:
    """The pooled variance and its degrees of freedom by data set, and whether others than those that vary more are."""
    usual = ~high
    included = np.where(usual.any(1, keepdims=True), usual, True)[:, None] & np.ones(variances.shape, bool)
    for _ in range(variances.shape[2] - 2):
        masked = np.where(included, variances, -1)
        largest = masked.argmax(2)[..., None]
        rest = included.copy()
        np.put_along_axis(rest, largest, False, 2)
        freedom = (degrees * rest).sum(2)
        others = (variances * degrees * rest).sum(2) / np.maximum(freedom, 1)
        largest_variance, largest_degrees = (
            np.take_along_axis(values, largest, 2)[..., 0] for values in (variances, degrees)
        )
        several = included.sum(2)
        out = (several > 2) & (
            several * fdtrc(largest_degrees, freedom, largest_variance / np.maximum(others, 1e-300)) < F_TEST_LEVEL
        )
        included = np.where(out[..., None], rest, included)
    sums, squares = (variances * degrees * included).sum(2), (variances**2 * degrees * included).sum(2)
    return sums / (degrees * included).sum(2), sums**2 / squares, usual.any(1)


def false_verdicts() -> list[Scenario]:
    """No difference anywhere, or true differences exactly at the margin, with equal and unequal variances."""
    scenarios = []
    for first in (3, 4, 5):
        for noise, spread in (("equal", 1.0), ("unequal", UNEQUAL)):
            for pairs, sets in ((STAR5, 1), (TRIANGLE, 2), (STAR7, 1)):
                count = 1 + max(place for pair in pairs for place in pair)
                design = f"{len(pairs) * sets} contrasts on {sets} data set{'s' * (sets > 1)}"
                name = f"{design}, {noise} variances, {first} first seeds"
                spreads, none = (*(1.0,) * (count - 1), spread), (0.0,) * count
                scenarios.append(Scenario(f"no difference, {name}", none, spreads, pairs, 1e-9, sets, first))
                pairs = TRIANGLE[:2] if sets > 1 else pairs
                edge = Scenario(f"at the margin, {name}", (0.0, *(EDGE,) * (count - 1)), spreads, pairs, EDGE, sets)
                scenarios.append(replace(edge, sets=3 if sets > 1 else 1, first=first, equality=True))
    return scenarios


def powers() -> list[Scenario]:
    """Two data sets of three architectures; the first is better than the others, which are equal."""
    return [
        Scenario(f"{gap:g} standard deviations", (gap, 0.0, 0.0), (1.0,) * 3, TRIANGLE, 1e-9, 2)
        for gap in (1.0, 1.5, 2.0, 3.0)
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--families", type=int, default=2500, help="simulated families for each line [2500]")
    parser.add_argument("--only", default="", metavar="WORDS", help="only the lines with these words")
    chosen = parser.parse_args(arguments)
    count = chosen.families
    print("families with a false verdict: seeds added up to 12; a fixed number, the first seeds")
    for scenario in (candidate for candidate in false_verdicts() if chosen.only in candidate.name):
        scores = scenario.scores(np.random.default_rng(1), count)
        fixed = judged(scenario, scores[..., : scenario.first])
        print(
            f"{scenario.name}: {judged(scenario, scores).false(scenario):.2%}; {fixed.false(scenario):.2%}", flush=True
        )
    print("true differences found, mean seeds of these contrasts")
    real = [place for place, pair in enumerate(TRIANGLE * 2) if 0 in pair]
    for scenario in (candidate for candidate in powers() if chosen.only in candidate.name):
        scores = scenario.scores(np.random.default_rng(2), count)
        for name, share in (("half at the last look", halves), ("equally", equally)):
            judgement = judged(scenario, scores, share)
            power, seeds = (judgement.outcomes[:, real] == AHEAD).mean(), judgement.seeds[:, real].mean()
            print(f"{scenario.name}, {name}: {power:.1%}, {seeds:.1f}", flush=True)
        for most in dict.fromkeys((8, 10, MOST)):
            fixed = judged(replace(scenario, first=most), scores[..., :most])
            print(f"{scenario.name}, fixed: {(fixed.outcomes[:, real] == AHEAD).mean():.1%}, {most}", flush=True)


if __name__ == "__main__":
    main()
