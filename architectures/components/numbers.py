"""Amounts that are counted for one example (a number) or for many at once (an array)."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Amount = float | NDArray[np.floating[Any]]
AttentionPairs = Callable[[int | None], Amount]  # window of an attention, None: no window -> its query-key pairs


class Flops(NamedTuple):
    """FLOPs of a forward pass: ``executed`` counts attention as the full rectangle, ``model`` its visible fraction."""

    executed: Amount
    model: Amount


def rectangle(queries: Amount, keys: Amount) -> AttentionPairs:
    """All pairs, whatever the window: those that are multiplied."""
    return lambda window: queries * keys


def causal(n: Amount, prefix: Amount = 0.0) -> AttentionPairs:
    """The pairs that are seen among ``n`` positions, the first ``prefix`` of which see each other."""
    return lambda window: n + _before(n, window) + _before(prefix, window)


def mutual(n: Amount) -> AttentionPairs:
    """The pairs that are seen among ``n`` positions that see each other."""
    return lambda window: n + 2.0 * _before(n, window)


def _before(n: Amount, window: int | None) -> Amount:
    """Pairs of a position and an earlier one of ``n``, at most ``window`` away."""
    if window is None:
        return n * (n - 1.0) / 2.0
    reach = np.minimum(np.maximum(n - 1.0, 0.0), float(window))
    return reach * n - reach * (reach + 1.0) / 2.0
