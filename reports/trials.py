"""What tuning tried, what it chose and what it cost."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from reports.comparison import placed
from reports.tables import Tables


@dataclass(frozen=True)
class Trial:
    """A point of the grid: the mean best validation loss over its seeds, nan where training diverged or failed."""

    dataset: str
    architecture: str
    learning_rate: float
    dropout: float
    loss: float
    seeds: int
    chosen: bool
    edge: bool


@dataclass(frozen=True)
class Cost:
    """What the trials of a data set took beside the runs that are reported."""

    dataset: str
    trials: int
    flops: float
    seconds: float
    reported_flops: float


def trials(tables: Tables) -> list[Trial]:
    """Every point that was tried, by data set and architecture, rates ascending."""
    runs = placed(tables, "trial")
    if runs.empty or "validation_loss" not in runs:
        return []
    runs = runs.assign(loss=runs["validation_loss"].astype(float).where(runs["status"] == "done"))
    keys = ["dataset", "architecture", "learning_rate", "dropout"]
    runs = runs.assign(dropout=runs["dropout"].astype(float) if "dropout" in runs else 0.0)
    found = []
    for (dataset, architecture), rows in runs.groupby(["dataset", "architecture"], sort=False):
        points = rows.groupby(keys, as_index=False).agg(loss=("loss", "mean"), seeds=("run", "size"))
        points = points.sort_values(["dropout", "learning_rate"])
        best = points["loss"].idxmin() if points["loss"].notna().any() else None
        rates = (points["learning_rate"].min(), points["learning_rate"].max())
        for index, row in points.iterrows():
            rate = float(row["learning_rate"])
            loss = float(row["loss"]) if pd.notna(row["loss"]) else math.nan
            trial = (str(dataset), str(architecture), rate, float(row["dropout"]), loss, int(row["seeds"]))
            found.append(Trial(*trial, chosen=index == best, edge=index == best and rate in rates))
    return found


def costs(tables: Tables) -> list[Cost]:
    """The cost of tuning by data set."""
    tried, reported = placed(tables, "trial"), placed(tables, "compared")
    tried = tried[tried["train_flops"].notna()]
    found = []
    for dataset, rows in tried.groupby("dataset", sort=False):
        rest = reported[(reported["dataset"] == dataset).fillna(False)].drop_duplicates("run")
        flops, seconds = (float(rows[key].astype(float).sum()) for key in ("train_flops", "train_seconds"))
        found.append(Cost(str(dataset), len(rows), flops, seconds, float(rest["train_flops"].astype(float).sum())))
    return found


def numbers(found: Sequence[Trial]) -> pd.DataFrame:
    """The trials as a table."""
    return pd.DataFrame([vars(trial) for trial in found])
