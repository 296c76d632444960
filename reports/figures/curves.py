"""Learning curves: the validation metric of each architecture against what was spent, and its mean over seeds."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd

from archbench.reports.analysis.comparison import Group
from archbench.reports.base.statistics import Floats

MOST_POINTS: Final = 120
BOUND_SUFFIX: Final = "_bound"
MASKED_LOSS: Final = "masked_loss"
SAMPLED: Final = "nll_per_token_sampled"
_METRICS: Final = ("nll_per_token", SAMPLED, "nll_per_token_bound", MASKED_LOSS)


@dataclass(frozen=True)
class Curve:
    """One architecture's validation curve: `seeds` holds (spent, value) of each run, `mean` that of their mean."""

    architecture: str
    metric: str
    seeds: tuple[tuple[Floats, Floats], ...]
    mean: tuple[Floats, Floats]

    @property
    def bound(self) -> bool:
        return self.metric.endswith(BOUND_SUFFIX)

    @property
    def sampled(self) -> bool:
        """Whether it is exact, by sampled tokens."""
        return self.metric == SAMPLED

    @property
    def masked(self) -> bool:
        """Whether it is a loss over hidden cells that bounds nothing."""
        return self.metric == MASKED_LOSS


def learning_curves(curves: pd.DataFrame, group: Group, axis: str) -> list[Curve]:
    """The validation curves of a group against `axis` (`tokens`, `flops` or `seconds`), one for each architecture."""
    usable = np.isfinite(curves["value"]) & np.isfinite(curves[axis]) & (curves["split"] == "validation")
    rows = curves[usable & curves["run"].isin(group.runs["run"]) & curves["metric"].isin(_METRICS)]
    return list(_curves(rows.merge(group.runs[["run", "architecture"]], on="run"), group.architectures, axis))


def numbers(curves: list[Curve], dataset: str, axis: str) -> pd.DataFrame:
    """The mean curves as a table of rows `dataset architecture metric <axis> value seeds`."""
    frames = [
        pd.DataFrame({axis: curve.mean[0], "value": curve.mean[1]}).assign(
            dataset=dataset, architecture=curve.architecture, metric=curve.metric, seeds=len(curve.seeds)
        )
        for curve in curves
    ]
    columns = ["dataset", "architecture", "metric", axis, "value", "seeds"]
    return pd.concat(frames)[columns] if frames else pd.DataFrame(columns=columns)


def _curves(rows: pd.DataFrame, architectures: list[str], axis: str) -> Iterator[Curve]:
    for architecture in architectures:
        for metric, part in rows[rows["architecture"] == architecture].groupby("metric", sort=False):
            seeds = tuple(_line(run, axis) for _, run in part.groupby("run", sort=False))
            yield Curve(architecture, str(metric), seeds, _mean(seeds))


def _line(run: pd.DataFrame, axis: str) -> tuple[Floats, Floats]:
    """A run's curve, thinned; where a resumed run recorded a point twice, the later record."""
    run = run.drop_duplicates(axis, keep="last").sort_values(axis)
    keep = np.unique(np.linspace(0, len(run) - 1, min(len(run), MOST_POINTS)).round().astype(int))
    return run[axis].to_numpy(dtype=float)[keep], run["value"].to_numpy(dtype=float)[keep]


def _mean(seeds: tuple[tuple[Floats, Floats], ...]) -> tuple[Floats, Floats]:
    """The mean over seeds, over what all of them have spent, interpolated at the first seed's points."""
    last, first = min(x[-1] for x, _ in seeds), max(x[0] for x, _ in seeds)
    grid = np.unique(np.clip(seeds[0][0], first, max(first, last)))
    return grid, np.mean([np.interp(grid, x, y) for x, y in seeds], axis=0)
