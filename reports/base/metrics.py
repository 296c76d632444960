"""The metrics of a report: archbench's own, and those of the table `metrics`, which is written with the records."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import pandas as pd

from archbench.reports.base.statistics import Interval
from archbench.runs.experiment.spec import JUDGED
from archbench.tasks.metrics.builtin import BUILTIN
from archbench.tasks.metrics.metric import DIRECTIONS, Metric

BOUND_SUFFIX: Final = "_bound"  # of metrics that bound a likelihood in any order
MASKED_LOSS: Final = "masked_loss"  # bounds no likelihood


class Metrics(dict[str, Metric]):
    """Metrics by name; one that is unknown has its own name and no direction."""

    def __missing__(self, name: str) -> Metric:
        return Metric(name, name.replace("_", " "), "", "a metric of this task", across_tokenizers=False)


def of_table(table: pd.DataFrame | None) -> Metrics:
    """The built-in metrics and those of this table, whose facts count."""
    rows = [] if table is None else table.to_dict("records")
    return Metrics({**BUILTIN, **{known.name: known for known in map(_read, rows)}})


def primary(kind: str, available: list[str]) -> str:
    """The metric that heads a task of this kind when its data set does not say; empty without scores."""
    usual = [name for name in JUDGED.get(kind, ()) if name in available]
    return next(iter(usual + available), "")


def within(interval: Interval, metric: Metric) -> Interval:
    """The interval, cut where the metric ends: no accuracy is below 0, no perplexity below 1."""
    return replace(interval, lower=max(interval.lower, metric.least), upper=min(interval.upper, metric.most))


def _read(row: Mapping[Any, Any]) -> Metric:
    """A metric from a row of the table; missing entries get defaults, and the unit joins a label that lacks it."""
    known = {key: value for key, value in row.items() if not pd.isna(value)}
    name, unit = str(known["metric"]), str(known.get("unit", ""))
    label = str(known.get("label", name))
    return Metric(
        name,
        label if unit in label else f"{label} ({unit})",
        next((way for way in DIRECTIONS if way == known.get("better")), ""),
        str(known.get("meaning", "")),
        float(known.get("least", -math.inf)),
        float(known.get("most", math.inf)),
        unit,
        int(known.get("decimals", 3)),
        float(known["margin"]) if known.get("margin") else None,
        bool(known.get("across_tokenizers", False)),
    )
