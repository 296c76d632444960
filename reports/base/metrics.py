"""Names, directions and descriptions of the metrics.

The facts are those of the table `metrics`, which is written with the records; of the metrics that archbench has they
are known without it, for older folders.
"""

import math
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

import pandas as pd

from archbench.reports.base.statistics import Interval
from archbench.runs.experiment.spec import JUDGED, METRICS

BOUND_SUFFIX: Final = "_bound"  # of metrics that bound a likelihood in any order
MASKED_LOSS: Final = "masked_loss"  # bounds no likelihood
BUILTIN: Final = frozenset(str(facts["metric"]) for facts in METRICS)  # names


@dataclass(frozen=True)
class ReportedMetric:
    """A metric in a report; `better` is empty for a descriptive metric.

    Values lie from `least` to `most`, in `unit`. `margin` is the smallest relevant difference, 0 if none is declared.
    `across_tokenizers`: comparable between models with different tokenizers. `recorded`: the table of predictions has
    its value for each example.
    """

    name: str
    label: str
    better: Literal["higher", "lower", ""]
    meaning: str
    decimals: int = 3
    least: float = -math.inf
    most: float = math.inf
    margin: float = 0.0
    across_tokenizers: bool = False
    recorded: bool = False

    def within(self, interval: Interval) -> Interval:
        """The interval, cut where the metric ends: no accuracy is below 0, no perplexity below 1."""
        return replace(interval, lower=max(interval.lower, self.least), upper=min(interval.upper, self.most))

    @property
    def best(self) -> float:
        """The end of the scale on the better side, infinite where there is none."""
        return {"higher": self.most, "lower": self.least, "": math.nan}[self.better]

    @property
    def worst(self) -> float:
        """The end of the scale on the worse side, infinite where there is none."""
        return {"higher": self.least, "lower": self.most, "": math.nan}[self.better]

    @property
    def extent(self) -> float:
        """The largest possible difference of two scores; may be infinite."""
        return abs(self.best - self.worst)

    @property
    def direction(self) -> str:
        """In words, for a table's head or an axis."""
        return {"higher": "higher is better", "lower": "lower is better", "": "descriptive only"}[self.better]

    @property
    def arrow(self) -> str:
        return {"higher": "↑", "lower": "↓", "": ""}[self.better]

    @property
    def label_with_arrow(self) -> str:
        """The label, and an arrow to the better side where there is one."""
        return f"{self.label} {self.arrow}".strip()

    def gain(self, difference: float) -> float:
        """`difference` with the sign that makes better positive."""
        return -difference if self.better == "lower" else difference


def _read(row: Mapping[Any, Any]) -> ReportedMetric:
    """A metric from a row of the table; missing entries get defaults."""
    known = {key: value for key, value in row.items() if not pd.isna(value)}
    name, unit = str(known["metric"]), str(known.get("unit", ""))
    label = str(known.get("label", name))
    better: Literal["higher", "lower", ""] = known["better"] if known.get("better") in ("higher", "lower") else ""
    return ReportedMetric(
        name,
        label if unit in label else f"{label} ({unit})",
        better,
        str(known.get("meaning", "")),
        int(known.get("decimals", 3)),
        float(known.get("least", -math.inf)),
        float(known.get("most", math.inf)),
        float(known.get("margin", 0.0)),
        bool(known.get("across_tokenizers", False)),
        bool(known.get("recorded", False)),
    )


_BUILTIN: Final[Mapping[str, ReportedMetric]] = {str(row["metric"]): _read(row) for row in METRICS}
_DECLARED: ContextVar[Mapping[str, ReportedMetric]] = ContextVar("declared", default=_BUILTIN)


def declare(table: pd.DataFrame | None) -> None:
    """Set the metrics that `metric` knows: the built-in ones and those of this table."""
    rows = [] if table is None else table.to_dict("records")
    _DECLARED.set({**_BUILTIN, **{known.name: known for known in map(_read, rows)}})


def metric(name: str) -> ReportedMetric:
    """The metric `name`; one that is unknown here has its own name and no direction."""
    return _DECLARED.get().get(name) or ReportedMetric(name, name.replace("_", " "), "", "a metric of this task")


def recorded() -> list[str]:
    """The metrics whose value for each example is in the table of predictions."""
    return [name for name, known in _DECLARED.get().items() if known.recorded]


def primary(kind: str, available: list[str]) -> str:
    """The metric that heads a task of this kind when its data set does not say; empty without scores."""
    usual = [name for name in JUDGED.get(kind, ()) if name in available]
    return next(iter(usual + available), "")
