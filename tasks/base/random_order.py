"""Random orders that are the same in every version of NumPy."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def seeded_order(size: int, seed: int | Sequence[int]) -> NDArray[np.int64]:
    """A random permutation of 0 to ``size`` - 1, (size,): a pure function of its arguments."""
    return drawn_order(size, np.random.PCG64(np.random.SeedSequence(seed)))


def drawn_order(size: int, bits: np.random.PCG64) -> NDArray[np.int64]:
    """A random permutation (size,) from raw bits, ``size`` draws; NumPy's own depends on its version."""
    return np.argsort(bits.random_raw(size), kind="stable")
