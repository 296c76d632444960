"""Two models on the same test examples, whatever made them: ``archbench test``.

A question like those of the report, answered by the same function: samples paired over examples, but without a variance
between seeds, because two given models are compared, not two architectures.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd

from archbench.reports.base.statistics import Sample, VarianceEstimate
from archbench.reports.contrasts.contrast import Contrast
from archbench.reports.contrasts.testing import Question, contrast
from archbench.reports.results.groups import Group
from archbench.tasks.base.errors import InputError
from archbench.tasks.metrics.builtin import BUILTIN
from archbench.tasks.metrics.metric import Metric

COLUMNS: Final = {"texts": ("reference", "answer"), "likelihoods": ("log_likelihood", "bytes")}
METRICS: Final = ("exact_match", "accuracy", "bleu", "chrf", "wer", "per", "edit_distance", "bits_per_byte")
SIDES: Final = ("the first", "the second")
_MODELS: Final = Group("", "", "", pd.DataFrame({"architecture": SIDES, "status": "done"}))
_NO_SEEDS: Final = VarianceEstimate(0.0, math.inf)


@dataclass(frozen=True)
class Predictions:
    """A model's rows, one for each ``example``; ``where`` they are from."""

    where: str
    rows: pd.DataFrame


@dataclass(frozen=True)
class ModelPair:
    """The ``scores`` of two models on the ``examples`` that both have; ``only`` counts those that just one has.

    ``contrast`` has the test; its margin is the metric's usual one.
    """

    contrast: Contrast
    scores: tuple[float, float]
    examples: int
    only: tuple[int, int]


def usual_metric(pair: Sequence[Predictions]) -> str:
    """The default metric: exact match; bits per byte if both have likelihoods and no right answers to compare."""
    likely, answered = (
        all(name in model.rows and model.rows[name].notna().any() for model in pair)
        for name in ("log_likelihood", "answer")
    )
    right = answered and any((model.rows["answer"] == model.rows.get("reference")).any() for model in pair)
    return "bits_per_byte" if likely and not right else "exact_match"


def compared(first: Predictions, second: Predictions, name: str) -> ModelPair:
    """The paired test. Raises ``InputError`` for rows that cannot be compared by this metric."""
    if name not in METRICS:
        raise InputError(f"--metric: {name!r}: expected {', '.join(METRICS[:-1])} or {METRICS[-1]}")
    metric = BUILTIN[name]
    columns: tuple[str, ...] = COLUMNS["texts" if metric.reads == "texts" else "likelihoods"]
    if all(_is_recorded(model.rows, metric) for model in (first, second)):
        columns = (metric.name,)
    tables = [_rows(model, columns) for model in (first, second)]
    shared = tables[0].index.intersection(tables[1].index, sort=True)
    if len(shared) < 2:
        raise InputError(f"{first.where} and {second.where} share {len(shared)} examples; a test needs at least 2")
    a, b = (table.loc[shared] for table in tables)
    if apart := _apart(a, b):
        raise InputError(f"{first.where} and {second.where}: {apart}")
    samples = dict(zip(SIDES, (_sample(metric, a), _sample(metric, b)), strict=True))
    tested = contrast(Question(_MODELS, metric, SIDES), samples, _NO_SEEDS, metric.margin or math.nan)
    scores = (float(samples[SIDES[0]].values[0]), float(samples[SIDES[1]].values[0]))
    only = (len(tables[0]) - len(shared), len(tables[1]) - len(shared))
    return ModelPair(tested, scores, len(shared), only)


def _is_recorded(rows: pd.DataFrame, metric: Metric) -> bool:
    """True if rows without answers have the contribution of each to the metric: texts that were compared."""
    recorded = metric.name in rows and pd.api.types.is_numeric_dtype(rows[metric.name])
    return recorded and not ("answer" in rows and rows["answer"].notna().any())


def _rows(model: Predictions, columns: tuple[str, ...]) -> pd.DataFrame:
    """The rows that have what the metric reads, by example, with their references where they are known."""
    missing = [column for column in ("example", *columns) if column not in model.rows]
    if missing:
        raise InputError(f"{model.where}: no column {missing[0]!r}; this metric needs example, {', '.join(columns)}")
    rows = model.rows.dropna(subset=list(columns))
    rows = rows.assign(example=rows["example"].astype(str))  # files have texts, runs have numbers
    twice = rows.loc[rows["example"].duplicated(), "example"]
    if len(twice):
        raise InputError(f"{model.where}: example {twice.iloc[0]} occurs twice")
    return rows.set_index("example")[[*columns, *({"reference"} & set(rows)).difference(columns)]]


def _apart(a: pd.DataFrame, b: pd.DataFrame) -> str:
    """In what the first example that is not the same in both tables differs, in words; empty if all are the same."""
    for column, name in (("reference", "references"), ("bytes", "numbers of bytes")):
        if column in a and column in b:
            apart = a.index[(a[column] != b[column]) & a[column].notna() & b[column].notna()]
            if len(apart):
                return f"example {apart[0]} has two different {name}"
    return ""


def _sample(metric: Metric, rows: pd.DataFrame) -> Sample:
    """A model's score, and what each example contributes to it."""
    if metric.name in rows:
        recorded = rows[metric.name].to_numpy(dtype=float)
        return Sample(np.array([recorded.mean()]), recorded[None])
    given: tuple[Any, Any] = (
        (list(rows["reference"]), list(rows["answer"]))
        if metric.reads == "texts"
        else (
            -rows["log_likelihood"].to_numpy(dtype=float),
            rows["bytes"].to_numpy(dtype=float),
        )
    )
    value, examples = metric.value(*given), np.array(metric.per_example(*given))
    return Sample(np.array([value]), (examples - examples.mean() + value)[None])
