"""How often seeds that are added until contrasts are decided give a false verdict, and how many seeds that takes.

    python docs/simulations/sequential.py [--families 2000] [--only WORD]

Scores are normal over seeds, without test examples. Every family is judged by the code that makes a report's verdicts.
"""

import argparse
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from archbench.reports.analysis.contrasts import Contrast
from archbench.reports.analysis.sequential import Family, Rule
from archbench.reports.base.statistics import (
    Interval,
    Sample,
    difference_interval,
    p_beyond,
    p_difference,
    pool,
    with_high_variance,
)

MOST = 12
Shares = Callable[[Rule, str, int], float]


@dataclass(frozen=True)
class Scenario:
    """Contrasts of data sets that are alike: ``means`` and ``spreads`` over seeds, by architecture, and the margin.

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

    def false(self, contrast: Contrast) -> bool:
        """Whether it finds a difference that is none or has the other sign, or an equality beyond the margin."""
        truth = self.means[int(contrast.first)] - self.means[int(contrast.second)]
        if contrast.outcome == "equal":
            return abs(truth) >= self.margin * (1 - 1e-9)
        return contrast.decided and (truth == 0 or (truth > 0) != (contrast.outcome == "ahead"))


def halves(rule: Rule, dataset: str, look: int) -> float:
    """The rule of the reports: half of the error at the last look."""
    return rule.share(dataset, look)


def equally(rule: Rule, dataset: str, look: int) -> float:
    """The same part of the error at each look, for comparison."""
    return 1 / rule.looks(dataset)


def judged(family: Scenario, rng: np.random.Generator, share: Shares = halves, most: int = MOST) -> list[Contrast]:
    """One experiment: seeds are added to open contrasts, up to ``most``."""
    names = [f"set {number}" for number in range(family.sets)]
    rule = Rule(most, dict.fromkeys(names, family.first), dict.fromkeys(names, family.first - 1))
    scores = {name: rng.normal(family.means, family.spreads, (most, len(family.means))).T for name in names}
    seeds = {name: dict.fromkeys(range(len(family.means)), family.first) for name in names}
    tests = Family(rule)
    for look in range(rule.looks(names[0])):
        samples = {
            name: {str(place): Sample(values[: seeds[name][place]]) for place, values in enumerate(scores[name])}
            for name in names
        }
        contrasts = tests.look(dict(_tested(family, rule, look, samples, share)))
        still = [contrast for contrast in contrasts if contrast.outcome == "open"]
        if not still:
            break
        for contrast in still:
            for architecture in (contrast.first, contrast.second):
                seeds[contrast.dataset][int(architecture)] = family.first + look + 1
    return contrasts


def _tested(
    family: Scenario, rule: Rule, look: int, samples: Mapping[str, Mapping[str, Sample]], share: Shares
) -> Iterator[tuple[int, Contrast]]:
    """The contrasts whose architectures both have the seeds of this look, by their place in the family."""
    usual = {str(place) for pair in family.pairs for place in pair}
    high = with_high_variance(list(samples.values()), usual)
    place = 0
    for dataset, found in samples.items():
        marked = {name: replace(sample, high_variance=name in high) for name, sample in found.items()}
        pooled, part = pool(list(marked.values())), share(rule, dataset, look)
        for pair in family.pairs:
            a, b = (marked[str(side)] for side in pair)
            if min(len(a.values), len(b.values)) >= rule.seeds_at(dataset, look):
                yield place, _contrast(dataset, pair, difference_interval(a, b, pooled), family, part)
            place += 1


def _contrast(dataset: str, pair: tuple[int, int], gap: Interval, family: Scenario, share: float) -> Contrast:
    margin, chance = family.margin, 1.0 if family.equality else p_difference(gap)
    chances = {"p": chance / share, "p_beyond": p_beyond(gap, margin) / share}
    named = {"dataset": dataset, "task": "", "condition": "", "metric": "accuracy"}
    sides = {"first": str(pair[0]), "second": str(pair[1])}
    return Contrast(**named, **sides, **chances, difference=gap, margin=margin, detectable=math.nan, seeds=None, runs=0)


@dataclass(frozen=True)
class Rates:
    """Shares of families with a false verdict and of contrasts decided; the mean seeds of an architecture."""

    false: float
    decided: float
    seeds: float


def rates(family: Scenario, families: int, seed: int = 1, share: Shares = halves, most: int = MOST) -> Rates:
    rng = np.random.default_rng(seed)
    false, decided, seeds = [], [], []
    for _ in range(families):
        contrasts = judged(family, rng, share, most)
        false.append(any(map(family.false, contrasts)))
        decided.append(np.mean([contrast.decided for contrast in contrasts]))
        seeds.append(np.mean([contrast.decided_after or most for contrast in contrasts]))
    return Rates(float(np.mean(false)), float(np.mean(decided)), float(np.mean(seeds)))


def alone(family: Scenario, families: int, most: int = MOST) -> Rates:
    """The same experiment with a fixed number of seeds."""
    return rates(replace(family, first=most), families, most=most)


TRIANGLE = ((0, 1), (0, 2), (1, 2))
STAR5 = tuple((0, place) for place in range(1, 6))
STAR7 = tuple((0, place) for place in range(1, 8))
EDGE = 2.0  # the margin, in standard deviations of a seed
UNEQUAL = 3.0  # times the others' standard deviation that the last architecture has


def null_families() -> list[Scenario]:
    """No difference anywhere, or true differences exactly at the margin, with equal and unequal variances."""
    families = []
    for first in (3, 5):
        for noise, spread in (("equal", 1.0), ("unequal", UNEQUAL)):
            label = f"{noise} variances, {first} first seeds"
            for kind, pairs, sets in (("6", TRIANGLE, 2), ("5", STAR5, 1), ("7", STAR7, 1)):
                count = 1 + max(place for pair in pairs for place in pair)
                spreads = (*(1.0,) * (count - 1), spread)
                none = (0.0,) * count
                families.append(Scenario(f"difference, {kind}, {label}", none, spreads, pairs, 1e-9, sets, first))
            for kind, pairs, sets in (("6", ((0, 1), (0, 2)), 3), ("5", STAR5, 1)):
                count = 1 + max(place for pair in pairs for place in pair)
                spreads = (*(1.0,) * (count - 1), spread)
                edge = (0.0, *(EDGE,) * (count - 1))
                families.append(Scenario(f"equality, {kind}, {label}", edge, spreads, pairs, EDGE, sets, first, True))
    return families


def power_families() -> list[Scenario]:
    """Two data sets of three architectures; the first is better than the others, which are equal."""
    return [
        Scenario(
            f"{gap:g} standard deviations, {first} first seeds", (gap, 0.0, 0.0), (1.0,) * 3, TRIANGLE, 2.5, 2, first
        )
        for first in (3, 5)
        for gap in (1.0, 1.5, 2.0, 3.0)
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--families", type=int, default=2000, help="simulated families for each line [2000]")
    parser.add_argument("--only", default="", help="only lines with this word")
    chosen = parser.parse_args(arguments)
    print("families with a false verdict, contrasts decided, seeds of a contrast")
    for family in null_families():
        if chosen.only in family.name:
            found = rates(family, chosen.families)
            print(f"{family.name}: {found.false:.2%}, {found.decided:.1%}, {found.seeds:.1f}", flush=True)
    for family in power_families():
        if chosen.only in family.name:
            for name, share in (("half at the last look", halves), ("equal at each look", equally)):
                found = rates(family, chosen.families, share=share)
                print(f"{family.name}, {name}: {found.false:.2%}, {found.decided:.1%}, {found.seeds:.1f}", flush=True)
            for most in (round(found.seeds), MOST):
                fixed = alone(family, chosen.families, most)
                print(f"{family.name}, {most} seeds: {fixed.false:.2%}, {fixed.decided:.1%}, {most}", flush=True)


if __name__ == "__main__":
    main()
