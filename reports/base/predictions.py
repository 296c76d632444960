"""The table `predictions`: what each test example contributes to the score of a run.

A run records contributions beside its predictions, one column per metric, where they cannot be computed from the other
columns (see `tasks.metrics.metric`). Accuracy and exact match follow from `correct`, bits per byte from
`log_likelihood` and `bytes`. Contributions average to the recorded score. If they do not, because the table holds only
some of the examples, the run has no contributions.
"""

import math
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import pandas as pd

from archbench.reports.base.statistics import Floats
from archbench.tasks.metrics.builtin import TEXTS
from archbench.tasks.metrics.metric import Metric

Contributions = Mapping[str, "pd.Series[Any]"]

SHARES: Final = ("accuracy", "exact_match")
_TOLERANCE: Final = 2e-3


def contributions(
    predictions: Mapping[str, pd.DataFrame], scores: Mapping[str, float], metric: str
) -> dict[str, "pd.Series[Any]"]:
    """For each run of `scores` (run -> value of `metric`) its examples' contributions, indexed by example.

    ``predictions`` has the rows of the table `predictions` of each run.
    """
    by_run = {}
    for run, value in scores.items():
        if run not in predictions:
            continue
        rows = predictions[run]
        values, total = _contributions(rows, metric)
        series = pd.Series(values, index=rows["example"].to_numpy()).dropna()
        if len(series) > 1 and abs(total - value) <= _TOLERANCE * max(abs(value), 0.01):
            by_run[run] = (series - series.mean() + total).sort_index()
    return by_run


def of_runs(predictions: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The rows of the table `predictions` of each run."""
    return {str(run): rows for run, rows in predictions.groupby("run", sort=False)}


def matrix(contributions: Contributions, runs: list[str], examples: "pd.Index[Any]") -> Floats | None:
    """Contributions (runs, examples) of the named runs; None unless each has all of `examples`."""
    rows = [contributions[run] for run in runs if run in contributions and contributions[run].index.equals(examples)]
    return np.stack([row.to_numpy() for row in rows]) if rows and len(rows) == len(runs) else None


def with_statistics(rows: pd.DataFrame, scores: pd.DataFrame) -> pd.DataFrame:
    """The table `predictions` with correctness, bytes and contributions, from the texts where older runs lack them.

    ``scores`` is the table of that name: the metrics by which each run was scored.
    """
    older = rows["reference"].notna() & rows["bytes"].isna()
    if not older.any():
        return rows
    texts, rows = rows.loc[older, ["run", "reference", "answer"]], rows.copy()
    rows.loc[older, "bytes"] = [len(text.encode()) for text in texts["reference"].tolist()]
    answered = texts.dropna()
    rows["correct"] = rows["correct"].fillna(answered["reference"] == answered["answer"])
    test = scores[(scores["split"] == "test").fillna(False)]
    for run, of_run in answered.groupby("run", sort=False):
        for name in test.loc[(test["run"] == run).fillna(False), "metric"]:
            if name in TEXTS and TEXTS[name].recorded:
                _record(rows, TEXTS[name], of_run)
    return rows


def _record(rows: pd.DataFrame, metric: Metric, answered: pd.DataFrame) -> None:
    """Fill in the contributions of a run's answers to its score, in place, where the run has none."""
    if metric.name not in rows:
        rows[metric.name] = np.nan
    if rows.loc[answered.index, metric.name].isna().all():
        values = metric.per_example(answered["reference"].tolist(), answered["answer"].tolist())
        rows.loc[answered.index, metric.name] = values


def _contributions(rows: pd.DataFrame, metric: str) -> tuple[Floats, float]:
    """A value for each row, nan where it has none, and their mean."""
    if metric in rows and rows[metric].notna().any():
        values: Floats = rows[metric].to_numpy(dtype=float)
    elif metric in SHARES:
        values = np.asarray(rows["correct"].astype("Float64").to_numpy(dtype=float, na_value=np.nan))
    elif metric == "bits_per_byte":
        return _bits(rows)
    else:
        values = np.full(len(rows), np.nan)
    return values, float(np.nanmean(values)) if np.isfinite(values).any() else math.nan


def _bits(rows: pd.DataFrame) -> tuple[Floats, float]:
    """Bits per byte as a mean over examples: the ratio plus each example's residual, in units of the mean length."""
    sizes = rows["bytes"].to_numpy(dtype=float, na_value=np.nan)
    bits = -rows["log_likelihood"].to_numpy(dtype=float) / math.log(2)
    if not np.isfinite(bits).all() or not sizes.sum() > 0:
        return np.full(len(rows), np.nan), math.nan
    ratio = float(bits.sum() / sizes.sum())
    values: Floats = ratio + (bits - ratio * sizes) / sizes.mean()
    return values, ratio
