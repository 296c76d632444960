"""Learning rate and dropout by a grid of trials: the same number for every architecture of a task.

Trials are runs of their own, at the reported size and budget unless ``width`` or ``share`` says otherwise, with seeds
that no reported run has; they stop before the test split. An architecture takes the point that ``rate_choice`` finds in
the validation losses. Where an architecture's best point lies at the grid's edge, the grid grows once on that side, for
all of them. Where no trial of an architecture learned, all trials are repeated on twice the tokens.
"""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from archbench.runs.experiment.sections import Training, TrainingEntry, Tuning
from archbench.runs.planning import rate_choice
from archbench.runs.store import store
from archbench.runs.training.train import EXACT_NLL
from archbench.tasks.base import sealed

EPOCHS = 4  # passes over the data above which dropout is tuned too
DROPOUT = 0.1  # tried beside the recipe's own


@dataclass(frozen=True)
class Point:
    """A place in the grid."""

    learning_rate: float
    dropout: float

    def of(self, training: TrainingEntry) -> Training:
        return Training.of(training, learning_rate=self.learning_rate, dropout=self.dropout)


@dataclass(frozen=True)
class TrialLoss:
    """The validation loss of a trial in nats per token; infinite where it gave none, nan where the trial failed.

    Where training only estimates the likelihood, ``exact`` is the exact negative log-likelihood of the validation
    examples that every trial scores at its end; nan elsewhere.
    """

    loss: float
    exact: float = math.nan


def grid(tuning: Tuning, training: TrainingEntry, epochs: float) -> list[Point]:
    """All points, rates ascending."""
    dropouts = tuning.dropout
    if dropouts is None:
        dropouts = tuple(dict.fromkeys((training.dropout, DROPOUT))) if epochs > EPOCHS else (training.dropout,)
    return [Point(rate, dropout) for rate, dropout in product(sorted(tuning.learning_rate), dropouts)]


def added_points(points: Sequence[Point], chosen: Sequence[Point]) -> list[Point]:
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


def best(tried: Mapping[Point, Sequence[TrialLoss]]) -> Point | None:
    """The point that an architecture's trials choose, ties to the smaller rate; None where no trial gave a loss."""
    places = ((point.learning_rate, point.dropout) for point, given in tried.items() for _ in given)
    choice = rate_choice.choose(rate_choice.by_setting(places, _deciding(tried)))
    return Point(choice.learning_rate, choice.dropout) if choice else None


def learned_nothing(tried: Mapping[Point, Sequence[TrialLoss]], bar: float) -> bool:
    """True if no trial of an architecture has a loss below ``bar``; trials that failed say nothing."""
    has_ended = any(not math.isnan(trial.loss) for given in tried.values() for trial in given)
    return has_ended and not rate_choice.learned(_deciding(tried), bar)


def _deciding(tried: Mapping[Point, Sequence[TrialLoss]]) -> list[float]:
    """The losses that decide, of all trials in their order; nan for those that gave none."""
    trials = [trial for given in tried.values() for trial in given]
    losses, _ = rate_choice.deciding([trial.loss for trial in trials], [trial.exact for trial in trials])
    return [float(loss) for loss in losses]


def losses(root: Path, runs: Sequence[str]) -> list[TrialLoss] | None:
    """Losses of the trials of a point, a seed each; None before the last of them has ended."""
    trials = []
    for run in runs:
        folder = store.run_folder(root, run)
        record = store.verified_record(folder)
        if record.get("status") not in (*store.FINISHED, "failed"):
            return None
        given = rate_choice.gave_loss(record["status"], record.get("best_step"))
        missing = math.nan if record["status"] == "failed" else math.inf
        loss = float(record["validation_loss"]) if given else missing
        trials.append(TrialLoss(loss, _nll_beside_estimate(folder)))
    return trials


def validation_nll(root: Path, runs: Sequence[str]) -> list[float]:
    """The exact nats per target token on validation of a point's trials; infinite where there is none."""
    return [_validation_nll(store.run_folder(root, run)) for run in runs]


def _validation_nll(folder: Path) -> float:
    scores = folder / "scores.json"
    record = store.verified_record(folder)
    if not rate_choice.gave_loss(record.get("status"), record.get("best_step")) or not scores.is_file():
        return math.inf
    rows = [row for row in sealed.read_json(scores) if (row["split"], row["metric"]) == ("validation", EXACT_NLL)]
    return float(rows[0]["value"]) if rows else math.inf


def _nll_beside_estimate(folder: Path) -> float:
    """The exact nats per token of the validation examples; nan where the loss that chose the checkpoint is exact."""
    curves = folder / "curves.csv"
    if not curves.is_file():
        return math.nan
    points = csv.DictReader(io.StringIO(curves.read_text(encoding="utf-8")))
    if all(point["metric"] == EXACT_NLL for point in points if point["split"] == "validation"):
        return math.nan
    return _validation_nll(folder)
