"""Masks: the keys that a query may read, as a test of positions and as a number of pairs.

A row holds the tokens of a source and then those of a target; positions count them from 0. The two forms of a mask are
held to each other by ``tests/test_masks.py``.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from archbench.architectures.components.numbers import Amount


@dataclass(frozen=True)
class Mask:
    """The keys that a query may read.

    ``mod(query, key, source)`` is True where it may: positions (1 or b, q, 1) and (1 or b, 1, k), and the number of
    source tokens of each row (b, 1, 1), or 0 -> (1 or b, q, k). ``pairs(source, target, window)`` counts the pairs of
    query and key in a row of so many tokens that are at most ``window`` apart (None: however far). For example,

        Mask(lambda query, key, source: (key < source) | (query >= source),
             lambda source, target, window: source**2 + target * (source + target))

    keeps the source from reading the target, in layers without a window.
    """

    mod: Callable[[Tensor, Tensor, Tensor | int], Tensor]
    pairs: Callable[[Amount, Amount, int | None], Amount]

    def __deepcopy__(self, memo: object) -> "Mask":
        """The mask itself: families and kernels know the usual masks by identity, to be fast."""
        return self


def _before(n: Amount, window: int | None) -> Amount:
    """Pairs of a position and an earlier one of ``n``, at most ``window`` apart."""
    if window is None:
        return n * (n - 1.0) / 2.0
    reach = np.minimum(np.maximum(n - 1.0, 0.0), float(window))
    return reach * n - reach * (reach + 1.0) / 2.0


def _causal_pairs(source: Amount, target: Amount, window: int | None) -> Amount:
    return source + target + _before(source + target, window)


BIDIRECTIONAL = Mask(
    lambda query, key, source: (query == query) & (key == key),
    lambda source, target, window: source + target + 2.0 * _before(source + target, window),
)
CAUSAL = Mask(lambda query, key, source: key <= query, _causal_pairs)
PREFIX = Mask(  # the source is read in both directions, the target causally
    lambda query, key, source: (key <= query) | (key < source),
    lambda source, target, window: _causal_pairs(source, target, window) + _before(source, window),
)
