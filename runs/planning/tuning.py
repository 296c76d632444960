"""Learning rate and dropout by a grid of trials: the same number for every architecture of a task.

Trials are runs of their own, at the reported size and budget, with seeds that no reported run has; they stop before the
test split. An architecture takes the point with the least mean of best validation losses. If that point lies at the
grid's edge, the grid grows once on that side, for all architectures.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from archbench.runs.base import store
from archbench.runs.experiment.sections import Training, Tuning

EPOCHS = 4  # passes over the data above which dropout is tuned too
DROPOUT = 0.1  # tried beside the recipe's own


@dataclass(frozen=True)
class Point:
    """A place in the grid."""

    learning_rate: float
    dropout: float

    def of(self, training: Training) -> Training:
        return training.model_copy(update={"learning_rate": self.learning_rate, "dropout": self.dropout})


Losses = Mapping[tuple[str, Point], float]  # by architecture and point; a point without a loss is not there


def grid(tuning: Tuning, training: Training, epochs: float) -> list[Point]:
    """All points, rates ascending."""
    dropouts = tuning.dropout
    if dropouts is None:
        dropouts = tuple(dict.fromkeys((training.dropout, DROPOUT))) if epochs > EPOCHS else (training.dropout,)
    return [Point(rate, dropout) for rate, dropout in product(sorted(tuning.learning_rate), dropouts)]


def grown(points: Sequence[Point], chosen: Sequence[Point]) -> list[Point]:
    """The points added to a grid if a chosen one lies at its edge.

    At the least or greatest rate: one step further. At the greatest of several dropouts: twice as much.
    """
    rates = sorted({point.learning_rate for point in points})
    dropouts = sorted({point.dropout for point in points})
    edges = {point.learning_rate for point in chosen}
    further = list(rates)
    if rates[0] in edges:
        further.append(rates[0] ** 2 / rates[1])
    if rates[-1] in edges:
        further.append(rates[-1] ** 2 / rates[-2])
    if len(dropouts) > 1 and dropouts[-1] in {point.dropout for point in chosen} and 2 * dropouts[-1] < 1:
        dropouts.append(2 * dropouts[-1])
    points_added = (Point(float(f"{rate:.3g}"), dropout) for rate, dropout in product(further, dropouts))
    return [point for point in points_added if point not in points]


def best(losses: Losses, architecture: str, points: Sequence[Point]) -> Point | None:
    """The point of least loss, ties to the smaller rate; None if no trial has a loss."""
    finite = {point: losses[architecture, point] for point in points if (architecture, point) in losses}
    return min(finite, key=lambda point: (finite[point], point.learning_rate), default=None)


def loss(root: Path, runs: Sequence[str]) -> float | None:
    """The mean best validation loss of a point's trials; infinite if one diverged or failed, None until all ended."""
    values = []
    for run in runs:
        record = store.read_intact(store.run_folder(root, run))
        status = record.get("status")
        if status not in (*store.FINISHED, "failed"):
            return None
        values.append(float(record["validation_loss"]) if status == "done" else math.inf)
    return sum(values) / len(values)
