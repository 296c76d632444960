"""What each test example contributed to a run's score, recovered from the table `predictions`.

Only for metrics that are means over examples, and only where that mean gives the recorded score: a table that holds a
part of the examples is no ground for an interval over all of them.
"""

import math
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import pandas as pd

from reports.statistics import Floats

Contributions = Mapping[str, "pd.Series[Any]"]

DECOMPOSABLE: Final = ("accuracy", "exact_match", "bits_per_byte")
_TOLERANCE: Final = 2e-3


def contributions(predictions: pd.DataFrame, scores: Mapping[str, float], metric: str) -> Contributions:
    """For each run of `scores` (run -> value of `metric`) its examples' contributions, indexed by example."""
    if metric not in DECOMPOSABLE or predictions.empty:
        return {}
    found = {}
    for run, rows in predictions[predictions["run"].isin(list(scores))].groupby("run", sort=False):
        values = _bits(rows) if metric == "bits_per_byte" else right(rows).astype(float)
        series = pd.Series(np.asarray(values, dtype=float), index=rows["example"].to_numpy()).dropna()
        value = scores[str(run)]
        if len(series) > 1 and abs(series.mean() - value) <= _TOLERANCE * max(abs(value), 0.01):
            found[str(run)] = series.sort_index()
    return found


def matrix(found: Contributions, runs: list[str], examples: "pd.Index[Any]") -> Floats | None:
    """Contributions (runs, examples) of the named runs; None unless each has all of `examples`."""
    rows = [found[run] for run in runs if run in found and found[run].index.equals(examples)]
    return np.stack([row.to_numpy() for row in rows]) if rows and len(rows) == len(runs) else None


def right(rows: pd.DataFrame) -> "pd.Series[Any]":
    """Whether each answer is right (missing where there is no answer)."""
    if "correct" in rows and rows["correct"].notna().any():
        return rows["correct"].astype("boolean")
    equal = (rows["answer"] == rows["reference"]).astype("boolean")
    return equal.mask(rows["answer"].isna() | rows["reference"].isna())


def _bits(rows: pd.DataFrame) -> Floats:
    """Bits per byte as a mean over examples: the ratio plus each example's residual, in units of the mean length."""
    sizes = np.array([len(str(text).encode()) for text in rows["reference"]], dtype=float)
    bits = -rows["log_likelihood"].to_numpy(dtype=float) / math.log(2)
    if not np.isfinite(bits).all() or sizes.sum() <= 0:
        return np.full(len(rows), np.nan)
    ratio = bits.sum() / sizes.sum()
    result: Floats = ratio + (bits - ratio * sizes) / sizes.mean()
    return result
