"""Pairs of architectures: which is ahead, whether they are equal within the margin that matters, or neither is decided.

The experiment declares its primary contrasts. They are one family, over all data sets under the first condition, by
each data set's primary metric, and are corrected for being one (Holm 1979); the variance between seeds is pooled over
the architectures that they name, so that a variant that is added later changes none of them. Every other pair is
exploratory and not corrected.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from archbench.reports.analysis.comparison import Comparison
from archbench.reports.base.declared import Pair
from archbench.reports.base.statistics import LEVEL, Interval, holm

ALPHA: Final = 1 - LEVEL


@dataclass(frozen=True)
class Contrast:
    """``first`` against ``second``; ``difference`` is positive where the first is better.

    ``p`` is that of no difference, ``p_beyond`` that of a difference beyond ``margin``; both are corrected where the
    contrast is one of a ``family`` of so many tests. ``detectable`` is the difference that would be found four times in
    five, at the family's level. ``seeds`` is how many seeds of each would decide it as often, were the true difference
    the one that was seen: that there is one, or, within the margin, that there is none beyond it; None where no number
    up to 100 does either. ``diverged`` says which of its runs diverged, in words; ``survivor`` is the one all of whose
    runs finished where every run of the other diverged, empty elsewhere.
    """

    dataset: str
    task: str
    condition: str
    metric: str
    first: str
    second: str
    difference: Interval
    p: float
    p_beyond: float
    margin: float
    detectable: float
    seeds: int | None
    runs: int
    family: int = 1
    diverged: str = ""
    survivor: str = ""

    @property
    def flat(self) -> bool:
        """Whether no score of either varied, so that nothing can be said."""
        return self.difference.error == 0

    @property
    def outcome(self) -> str:
        """``ahead`` (the first is), ``behind``, ``equal`` (within the margin), ``open``; ``unknown`` without a test."""
        if math.isnan(self.p):
            return "unknown"
        if self.p <= ALPHA:
            return "ahead" if self.difference.mean > 0 else "behind"
        return "equal" if self.p_beyond <= ALPHA else "open"

    @property
    def decided(self) -> bool:
        return self.outcome in ("ahead", "behind", "equal")

    @property
    def small(self) -> bool:
        """Whether one is ahead, but surely by less than matters."""
        return self.outcome in ("ahead", "behind") and self.p_beyond <= ALPHA

    @property
    def better(self) -> str:
        """The one that is ahead; empty where none is."""
        return {"ahead": self.first, "behind": self.second}.get(self.outcome, "")


@dataclass(frozen=True)
class Control:
    """A contrast whose outcome is known beforehand: it shows what the comparison can and cannot tell."""

    contrast: Contrast
    expected: str

    @property
    def right(self) -> bool | None:
        """Whether it came out as it had to; None where it could not be tested."""
        if self.contrast.outcome == "unknown":
            return None
        if self.expected == "same":
            return self.contrast.outcome in ("equal", "open")
        return self.contrast.outcome == "ahead"


@dataclass(frozen=True)
class Factor:
    """A contrast of two that differ in one factor of their design, which ``changes`` says in words."""

    changes: str
    contrast: Contrast


@dataclass(frozen=True)
class Contrasts:
    """All that was tested: the primary family, everything else, the controls, what a change does, single factors."""

    primary: tuple[Contrast, ...]
    exploratory: tuple[Contrast, ...]
    controls: tuple[Control, ...]
    effects: tuple[Contrast, ...] = ()
    factors: tuple[Factor, ...] = ()

    def of(self, dataset: str) -> list[Contrast]:
        """The primary contrasts of a data set."""
        return [one for one in self.primary if one.dataset == dataset]

    def under(self, dataset: str, condition: str, pair: Pair) -> Iterator[Contrast]:
        """The contrast of a pair under a further condition, turned as the pair stands."""
        for one in self.exploratory:
            if (one.dataset, one.condition) == (dataset, condition) and {one.first, one.second} == set(pair):
                yield one if one.first == pair[0] else turned(one)

    def pair(self, first: str, second: str) -> Iterator[Contrast]:
        """Every contrast of two architectures under the first condition, turned so that ``first`` is the first."""
        for one in (*self.primary, *self.exploratory):
            if {one.first, one.second} == {first, second} and not one.condition:
                yield one if one.first == first else turned(one)


def marked(found: Comparison, primary: Sequence[Contrast]) -> Comparison:
    """The comparison with its best architecture marked: the one that is ahead in each of its primary contrasts.

    An intersection-union test (Berger 1982) of corrected tests. An architecture that no primary contrast names must be
    worse too, by the interval of its difference.
    """
    names = {name for one in primary for name in (one.first, one.second)}
    others = [name for name in found.group.architectures if name not in names]

    def best(name: str) -> bool:
        own = [one for one in primary if name in (one.first, one.second)]
        ahead = len(own) == len(names) - 1 and all(one.better == name for one in own)
        return bool(own) and ahead and name == found.leader and not set(others) & set(found.open_rivals)

    cells = tuple(replace(cell, best=best(cell.architecture)) for cell in found.cells)
    return replace(found, cells=cells, detects={frozenset((one.first, one.second)): one.detectable for one in primary})


def corrected_for_family(found: Sequence[Contrast]) -> list[Contrast]:
    """The contrasts with p values that are corrected for being so many: those of a difference and of equality apart."""
    differences, beyond = holm([one.p for one in found]), holm([one.p_beyond for one in found])
    return [
        replace(one, p=p, p_beyond=q, family=len(found)) for one, p, q in zip(found, differences, beyond, strict=True)
    ]


def row(one: Contrast) -> dict[str, object]:
    """The contrast as a row of a table."""
    gap = one.difference
    numbers = {"difference": gap.mean, "lower": gap.lower, "upper": gap.upper, "error": gap.error}
    facts = {key: value for key, value in vars(one).items() if key not in ("difference", "family")}
    return {**facts, **numbers, "degrees": gap.degrees, "corrected_for": one.family, "outcome": one.outcome}


def turned(one: Contrast) -> Contrast:
    """The same contrast from the second's side."""
    gap = one.difference
    difference = Interval(-gap.mean, -gap.upper, -gap.lower, gap.error, gap.degrees)
    return replace(one, first=one.second, second=one.first, difference=difference)
