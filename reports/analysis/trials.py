"""What tuning tried, what it chose and what it cost."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from archbench.reports.analysis.comparison import ROLES, placed
from archbench.reports.analysis.conditions import MATCHES
from archbench.reports.base.tables import Tables


@dataclass(frozen=True)
class Trial:
    """A point of the grid: the mean best validation loss over its seeds, nan where training diverged or failed."""

    dataset: str
    condition: str
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
    """Every point that was tried, by data set, condition and architecture, rates ascending.

    Chosen is what the reported runs took; before there are any, the least loss.
    """
    runs = placed(tables, "trial")
    if runs.empty or "validation_loss" not in runs:
        return []
    runs = runs.assign(loss=runs["validation_loss"].astype(float).where(runs["status"] == "done"))
    runs = runs.assign(dropout=runs["dropout"].astype(float) if "dropout" in runs else 0.0)
    runs = runs.assign(condition=_conditions(tables, runs))
    taken = _taken(tables)
    grid_points = []
    for key, rows in runs.groupby(["dataset", "condition", "architecture"], sort=False):
        dataset, condition, architecture = map(str, key)
        points = rows.groupby(["dropout", "learning_rate"], as_index=False)
        tried = points.agg(loss=("loss", _mean_of_all), seeds=("run", "size"))
        known = taken.get((dataset, condition, architecture), set())
        known &= set(zip(tried["learning_rate"], tried["dropout"], strict=True))
        best = None if known or not tried["loss"].notna().any() else tried["loss"].idxmin()
        rates, most = (tried["learning_rate"].min(), tried["learning_rate"].max()), tried["dropout"].max()
        for index, row in tried.iterrows():
            rate, dropout, loss = (float(row[key]) for key in ("learning_rate", "dropout", "loss"))
            chosen = index == best or (rate, dropout) in known
            edge = chosen and (rate in rates or dropout == most > tried["dropout"].min())
            where = (dataset, condition, architecture)
            grid_points.append(Trial(*where, rate, dropout, loss, int(row["seeds"]), chosen, bool(edge)))
    return grid_points


def _conditions(tables: Tables, runs: pd.DataFrame) -> list[str]:
    """Each run's condition in words, with the axis where it is not the data set's first."""
    compared = placed(tables, "compared")
    axes = dict(reversed(list(zip(compared["dataset"], compared["match"], strict=True))))
    rows = zip(runs["dataset"], runs["match"], runs["condition"].fillna(""), strict=True)
    return [
        "; ".join(filter(None, ("" if match == axes.get(dataset, match) else MATCHES.get(match, match), name)))
        for dataset, match, name in rows
    ]


def _mean_of_all(losses: "pd.Series[float]") -> float:
    """The mean; nan where a trial of the point gave no loss."""
    return float(losses.mean(skipna=False))


def _taken(tables: Tables) -> dict[tuple[str, str, str], set[tuple[float, float]]]:
    """The learning rates and dropouts of the reported runs, by data set, condition and architecture."""
    runs = placed(tables, "compared")
    runs = runs.assign(condition=_conditions(tables, runs))
    taken: dict[tuple[str, str, str], set[tuple[float, float]]] = {}
    for _, row in runs.iterrows():
        dropout = float(row["dropout"]) if "dropout" in runs and pd.notna(row["dropout"]) else 0.0
        key = (str(row["dataset"]), str(row["condition"]), str(row["architecture"]))
        taken.setdefault(key, set()).add((float(row["learning_rate"]), dropout))
    return taken


def costs(tables: Tables) -> list[Cost]:
    """The cost of tuning by data set."""
    tried = placed(tables, "trial")
    reported = pd.concat([placed(tables, role) for role in ROLES], ignore_index=True)
    tried = tried[tried["train_flops"].notna()]
    by_dataset = []
    for dataset, rows in tried.drop_duplicates(["dataset", "run"]).groupby("dataset", sort=False):
        rest = reported[(reported["dataset"] == dataset).fillna(False)].drop_duplicates("run")
        flops, seconds = (float(rows[key].astype(float).sum()) for key in ("train_flops", "train_seconds"))
        by_dataset.append(Cost(str(dataset), len(rows), flops, seconds, float(rest["train_flops"].astype(float).sum())))
    return by_dataset


def numbers(trials: Sequence[Trial]) -> pd.DataFrame:
    """The trials as a table."""
    return pd.DataFrame([vars(trial) for trial in trials])
