"""The contribution of each test example to a run's score, computed from the table `predictions`.

A metric that is a mean over examples gives each its own value; where finding that takes more than a comparison (ROUGE,
stored bits), it is a column of the table. One of the whole corpus (BLEU, chrF, macro F1) gives each its jackknife
pseudo-value, `n * score - (n - 1) * score without it`, whose spread is that of the score when the corpus is drawn again
(Efron and Stein 1981); a published table, which has no texts, has these as columns. Either way the contributions
average to the recorded score; where they do not, because the table holds a part of the examples only, there are none.
"""

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

import numpy as np
import pandas as pd

from archbench.reports.base.metrics import recorded
from archbench.reports.base.statistics import Floats
from archbench.reports.base.tables import Tables

Contributions = Mapping[str, "pd.Series[Any]"]

_TOLERANCE: Final = 2e-3
_SLOW: Final = ("bleu", "chrf")
OF_TEXTS: Final = (*_SLOW, "macro_f1")  # metrics of the whole corpus, which need the texts
MOST_RUNS: Final = 100  # of a group whose corpus scores are taken apart: with more, seeds say enough, and it takes long


def contributions(predictions: Mapping[str, pd.DataFrame], scores: Mapping[str, float], metric: str) -> Contributions:
    """For each run of `scores` (run -> value of `metric`) its examples' contributions, indexed by example.

    ``predictions`` has the rows of the table `predictions` of each run.
    """
    first = next(iter(predictions.values()), pd.DataFrame())
    columns = first.columns[first.notna().any()]  # another task of the comparison may have values for each example
    measure = partial(_recorded, metric) if metric in (*recorded(), *columns) else _MEASURES.get(metric)
    if measure is None or (metric in _SLOW and len(scores) > MOST_RUNS):
        return {}
    by_run = {}
    for run, value in scores.items():
        if run not in predictions:
            continue
        rows = predictions[run]
        values, total = measure(rows)
        series = pd.Series(np.asarray(values, dtype=float), index=rows["example"].to_numpy()).dropna()
        if len(series) > 1 and abs(total - value) <= _TOLERANCE * max(abs(value), 0.01):
            by_run[run] = (series - series.mean() + total).sort_index()
    return by_run


def of_runs(predictions: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The rows of the table `predictions` of each run."""
    return {str(run): rows for run, rows in predictions.groupby("run", sort=False)}


def of_texts(tables: Tables) -> pd.DataFrame:
    """What each prediction contributes to the corpus scores of its run, a column for each that was scored."""
    rows, scores = tables["predictions"], tables["scores"]
    test = scores[(scores["split"] == "test").fillna(False)].drop_duplicates(["run", "metric"], keep="last")
    columns, by_run = {}, of_runs(rows)
    for metric in OF_TEXTS:
        known = test[test["metric"] == metric].set_index("run")["value"]
        values = pd.Series(np.nan, index=rows.index)
        for run, run_rows in by_run.items():
            if run in known.index:
                series = contributions({run: run_rows}, {run: float(known[run])}, metric).get(run)
                values[run_rows.index] = run_rows["example"].map(series) if series is not None else np.nan
        if values.notna().any():
            columns[metric] = values.astype("float32")
    return pd.DataFrame(columns, index=rows.index)


def matrix(contributions: Contributions, runs: list[str], examples: "pd.Index[Any]") -> Floats | None:
    """Contributions (runs, examples) of the named runs; None unless each has all of `examples`."""
    rows = [contributions[run] for run in runs if run in contributions and contributions[run].index.equals(examples)]
    return np.stack([row.to_numpy() for row in rows]) if rows and len(rows) == len(runs) else None


def right(rows: pd.DataFrame) -> "pd.Series[Any]":
    """Whether each answer is right (missing where there is no answer)."""
    if "correct" in rows and rows["correct"].notna().any():
        return rows["correct"].astype("boolean")
    equal = (rows["answer"] == rows["reference"]).astype("boolean")
    return equal.mask(rows["answer"].isna() | rows["reference"].isna())


def _recorded(name: str, rows: pd.DataFrame) -> tuple[Floats, float]:
    values: Floats = rows[name].to_numpy(dtype=float) if name in rows else np.full(len(rows), np.nan)
    return values, float(np.nanmean(values)) if np.isfinite(values).any() else math.nan


def _shares(rows: pd.DataFrame) -> tuple[Floats, float]:
    values: Floats = np.asarray(right(rows).astype("Float64").to_numpy(dtype=float, na_value=np.nan))
    return values, float(np.nanmean(values)) if np.isfinite(values).any() else math.nan


def _bits(rows: pd.DataFrame) -> tuple[Floats, float]:
    """Bits per byte as a mean over examples: the ratio plus each example's residual, in units of the mean length."""
    if "bytes" in rows and rows["bytes"].notna().all():
        sizes = rows["bytes"].to_numpy(dtype=float)
    else:
        sizes = np.array([len(str(text).encode()) for text in rows["reference"]], dtype=float)
    bits = -rows["log_likelihood"].to_numpy(dtype=float) / math.log(2)
    if not np.isfinite(bits).all() or sizes.sum() <= 0:
        return np.full(len(rows), np.nan), math.nan
    ratio = float(bits.sum() / sizes.sum())
    values: Floats = ratio + (bits - ratio * sizes) / sizes.mean()
    return values, ratio


def _macro_f1(rows: pd.DataFrame) -> tuple[Floats, float]:
    """F1 averaged over the labels of references and answers, from counts that leave out one example at a time."""
    answered = _answered(rows)
    if not answered.any():
        return np.full(len(rows), np.nan), math.nan
    codes, labels = pd.factorize(pd.concat([rows["reference"][answered], rows["answer"][answered]]))
    (wanted, given), size = np.split(codes, 2), len(labels)
    hits = np.bincount(wanted[wanted == given], minlength=size).astype(float)
    total = (np.bincount(wanted, minlength=size) + np.bincount(given, minlength=size)).astype(float)

    def score(hits: Floats, total: Floats) -> Any:
        present = total > 0
        return np.where(present, 2 * hits / np.where(present, total, 1), 0).sum(-1) / present.sum(-1)

    unit = np.eye(size)
    without = score(hits - unit[wanted] * (wanted == given)[:, None], total - unit[wanted] - unit[given])
    return _pseudo(rows, answered, without, float(score(hits, total)))


def _bleu(rows: pd.DataFrame) -> tuple[Floats, float]:
    from sacrebleu.metrics.bleu import BLEU

    return _sacrebleu(rows, BLEU(force=True))


def _chrf(rows: pd.DataFrame) -> tuple[Floats, float]:
    from sacrebleu.metrics.chrf import CHRF

    return _sacrebleu(rows, CHRF())


def _sacrebleu(rows: pd.DataFrame, metric: Any) -> tuple[Floats, float]:
    """A corpus score of sacreBLEU from the sums of its statistics (s, k) over sentences, as its own resampling does."""
    answered = _answered(rows)
    answers, references = (list(map(str, rows[name][answered])) for name in ("answer", "reference"))
    if not answers:
        return np.full(len(rows), np.nan), math.nan
    statistics = np.asarray(metric._extract_corpus_statistics(answers, [references]), dtype=float)
    total = statistics.sum(axis=0)

    def score(sums: Floats) -> float:
        return float(metric._aggregate_and_compute([sums.tolist()]).score)

    return _pseudo(rows, answered, np.array([score(total - sentence) for sentence in statistics]), score(total))


def _answered(rows: pd.DataFrame) -> "np.ndarray[Any, Any]":
    return (rows["answer"].notna() & rows["reference"].notna()).to_numpy(dtype=bool)


def _pseudo(rows: pd.DataFrame, answered: Any, without: Floats, total: float) -> tuple[Floats, float]:
    """Jackknife pseudo-values at the examples that are there, nan elsewhere, and the score of all."""
    values = np.full(len(rows), np.nan)
    n = int(answered.sum())
    values[answered] = n * total - (n - 1) * without
    return values, total


_MEASURES: Final[Mapping[str, Callable[[pd.DataFrame], tuple[Floats, float]]]] = {
    "accuracy": _shares,
    "exact_match": _shares,
    "bits_per_byte": _bits,
    "macro_f1": _macro_f1,
    "bleu": _bleu,
    "chrf": _chrf,
}
