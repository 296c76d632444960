"""Cost of writing an answer: the score and FLOPs of each order in which an architecture writes."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from archbench.reports.base.metrics import within
from archbench.reports.base.once import once_per_report
from archbench.reports.base.statistics import Interval, mean_interval
from archbench.reports.report import Report
from archbench.reports.results.comparison import Comparison

LEFT_TO_RIGHT = "left to right"  # the order of the main scores, and the only one of a causal architecture


@dataclass(frozen=True)
class Writing:
    """The score and cost of an architecture's answers in one order of writing, by `comparison.metric`.

    ``flops`` and ``seconds`` are those of an answer; ``ratio`` is to the FLOPs of the data set's first architecture
    from left to right. They are nan where unknown.
    """

    comparison: Comparison
    architecture: str
    order: str
    score: Interval
    flops: float
    ratio: float
    seconds: float


@once_per_report
def writings(report: Report) -> list[Writing]:
    """Each architecture and order on the data sets, under their first condition, that have an encoder's orders."""
    return [writing for comparison in report.first for writing in _of(report, comparison)]


def _of(report: Report, comparison: Comparison) -> Iterator[Writing]:
    group, rows = comparison.group, report.tables["decodings"]
    rows = rows[rows["run"].isin(group.runs["run"]) & np.isfinite(rows["value"])]
    if rows.empty:
        return
    metrics = list(rows["metric"])
    primary = [entry.metric.name for entry in report.judged if entry.group.dataset == group.dataset]
    metric = next((name for name in primary if name in metrics), metrics[0])
    measured = report.comparisons.compare(group, metric)
    base = _mean(group.by_architecture[group.architectures[0]], "inference_flops")
    for cell in measured.scored:
        runs = group.by_architecture[cell.architecture]
        flops, seconds = _mean(runs, "inference_flops"), _mean(runs, "generate_seconds")
        each = seconds / (measured.test_examples[0] or math.nan)
        yield Writing(measured, cell.architecture, LEFT_TO_RIGHT, cell.interval, flops, flops / base, each)
        own = rows[(rows["metric"] == metric) & rows["run"].isin(runs["run"])]
        for order, of_order in own.groupby("decoding", sort=False):
            score = _score(report, measured, cell.architecture, of_order)
            flops, seconds = _mean(of_order, "flops"), _mean(of_order, "seconds")
            yield Writing(measured, cell.architecture, str(order), score, flops, flops / base, seconds)


def _score(report: Report, measured: Comparison, architecture: str, rows: pd.DataFrame) -> Interval:
    """The mean over seeds; its interval takes the variance between seeds of the main scores, examples are unknown."""
    group, metric = measured.group, measured.metric
    sample = report.comparisons.samples(group, metric.name)[architecture]
    sample = replace(sample, values=rows["value"].to_numpy(dtype=float), examples=None)
    return within(mean_interval(sample, report.comparisons.pooled(group.settings(), metric.name)), metric)


def _mean(runs: pd.DataFrame, column: str) -> float:
    return float(pd.to_numeric(runs[column]).mean()) if column in runs and runs[column].notna().any() else math.nan
