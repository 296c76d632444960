"""Amounts that are counted for one example (a number) or for many at once (an array)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

PARTS = "attention", "feedforward", "output"  # of a model's FLOPs; the last is the output matrix

Amount = float | NDArray[np.floating[Any]]
AttentionPairs = Callable[[int | None], Amount]  # window of an attention, None: no window -> its query-key pairs


@dataclass(frozen=True)
class FlopParts:
    """FLOPs: their ``total``, and which ``terms`` of it are in one of ``PARTS``.

    They add, subtract and scale as numbers do; a number that is added is in no part.
    """

    total: Amount
    terms: tuple[tuple[str, Amount], ...] = ()

    __array_ufunc__ = None  # an array on the left leaves the operation to this class

    def __add__(self, other: "FlopCount") -> "FlopParts":
        if isinstance(other, FlopParts):
            return FlopParts(self.total + other.total, self.terms + other.terms)
        return FlopParts(self.total + other, self.terms)

    def __sub__(self, other: "FlopCount") -> "FlopParts":
        return self + -1.0 * other

    def __mul__(self, factor: Amount) -> "FlopParts":
        return FlopParts(factor * self.total, tuple((part, factor * term) for part, term in self.terms))

    __radd__, __rmul__ = __add__, __mul__


FlopCount = Amount | FlopParts


def in_part(part: str, flops: Amount) -> FlopParts:
    """FLOPs that are all in one part."""
    return FlopParts(flops, ((part, flops),))


@dataclass(frozen=True)
class Flops:
    """FLOPs of a forward pass, where attention counts all pairs of query and key, and where it counts visible ones."""

    all_pairs: FlopCount
    visible_pairs: FlopCount

    def __add__(self, other: "Flops") -> "Flops":
        return Flops(self.all_pairs + other.all_pairs, self.visible_pairs + other.visible_pairs)

    @property
    def executed(self) -> Amount:
        return total_flops(self.all_pairs)

    @property
    def model(self) -> Amount:
        return total_flops(self.visible_pairs)

    @property
    def parts(self) -> dict[str, Amount]:
        """The FLOPs of ``model`` in each of ``PARTS``; the rest is elsewhere."""
        terms = self.visible_pairs.terms if isinstance(self.visible_pairs, FlopParts) else ()
        return {part: sum((term for name, term in terms if name == part), 0.0) for part in PARTS}


def total_flops(flops: FlopCount) -> Amount:
    return flops.total if isinstance(flops, FlopParts) else flops


def rectangle(queries: Amount, keys: Amount) -> AttentionPairs:
    """All pairs, whatever the window: those that are multiplied."""
    return lambda window: queries * keys
