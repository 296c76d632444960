"""Amounts that are counted for one example (a number) or for many at once (an array)."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Amount = float | NDArray[np.floating[Any]]
