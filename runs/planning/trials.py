"""The trials of one task, or of one condition with its own tuning: what is tried, has ended, was chosen."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import combinations
from pathlib import Path

from archbench.runs.experiment.sections import FROZEN, TRANSFER, Form, Task, Training
from archbench.runs.planning import rate_choice, tuning
from archbench.runs.planning.tuning import Point, TrialLoss
from archbench.runs.plans.placement import PlacedPlan

FROZEN_FACTOR = 10  # of the learning rate, for a head alone: docs/tuning.md
Place = Callable[[Task, Form, int, Point], PlacedPlan]  # task, candidate, seed and setting of a trial


class TuningTrials:
    """Trials of ``task``, which has a ``tuning``; outcomes are read from ``root``.

    ``entered`` are the candidates of all architectures by their names. ``leading`` are those whose best points
    may lie at the edge and make the grid grow. ``first`` are the trials under the task's first condition: an
    architecture that has the same trials there keeps what they chose. ``epochs`` are passes over the data. ``bar`` is
    the validation loss of a classical method, in nats per token: a trial that learned has a lower one. ``share`` is the
    part of the tokens that trials read, by default that of the tuning.
    """

    def __init__(
        self,
        task: Task,
        entered: Mapping[str, Form],
        leading: set[str],
        place: Place,
        epochs: float,
        root: Path,
        bar: Callable[[], float],
        first: "TuningTrials | None" = None,
        share: float | None = None,
    ) -> None:
        assert task.tuning is not None
        self.task, self.tuning, self.entered, self.root = task, task.tuning, entered, root
        self.leading, self._place, self._bar, self._first = leading, place, bar, first
        self.share, self._epochs = share or task.tuning.share, epochs
        self._points = tuning.grid(task.tuning, task.training, epochs)
        self._losses: dict[tuple[str, Point], Sequence[TrialLoss] | None] = {}

    @property
    def runs(self) -> list[PlacedPlan]:
        """Every trial that is known so far; outcomes may add more."""
        return _all(self._tried.values())

    def deciding(self, name: str) -> tuple[PlacedPlan, ...]:
        """The trials that choose for an architecture, with those that decide whether the grid grows.

        Where they may be repeated, those of all architectures. For one that keeps what the first condition chose, the
        trials of that condition.
        """
        if self._may_be_repeated:
            return tuple(_all([self.runs, self._first.runs if self._first and self._unchanged else []]))
        if self._first is not None and name in self._unchanged:
            return self._first.deciding(name)
        growing = [runs for (leader, _), runs in self._grid.items() if leader in self.leading]
        return tuple(_all([*growing, *(runs for (tried, _), runs in self._tried.items() if tried == name)]))

    @cached_property
    def best(self) -> dict[str, Point]:
        """The point of each architecture that a trial gave a loss for."""
        kept = self._first.best if self._first else {}
        return self._chosen(self._tried) | {name: kept[name] for name in self._unchanged if name in kept}

    @cached_property
    def nll_by_candidate(self) -> dict[str, float]:
        """The validation loss of each candidate at its best setting: exact, of targets alone, so that it compares.

        It does not depend on what training minimises, on a canvas, or on how many cells have a loss.

        Of those that have none, because trials have not ended or failed, nothing.
        """
        by_name: dict[str, dict[tuple[float, float], list[float]]] = {}
        for (name, point), runs in self._tried.items():
            values = tuning.validation_nll(self.root, _names(runs))
            by_name.setdefault(name, {})[point.learning_rate, point.dropout] = values
        choices = {name: rate_choice.choose(losses) for name, losses in by_name.items()}
        return {name: choice.loss for name, choice in choices.items() if choice is not None}

    @property
    def same(self) -> Iterator[tuple[str, str]]:
        """The pairs of candidates whose trials on the given grid are the same runs."""
        runs = {name: self._grid_runs(name) for name in self.entered}
        return ((a, b) for a, b in combinations(self.entered, 2) if runs[a] == runs[b])

    @cached_property
    def longer(self) -> "TuningTrials | None":
        """The trials of all architectures again, on twice the share of tokens: where one of them has none that learned.

        None before all have ended. A condition with unchanged architectures repeats its trials where the first does.
        """
        first = self._first.longer if self._first else None
        if not self._may_be_repeated or not (self._has_learned_nothing or (first and self._unchanged)):
            return None
        where = self.leading, self._place, self._epochs, self.root, self._bar, first
        return TuningTrials(self.task, self.entered, *where, share=min(1.0, 2 * self.share))

    @property
    def _may_be_repeated(self) -> bool:
        return self.tuning.longer and self.share < 1

    @property
    def _has_learned_nothing(self) -> bool:
        """True if all trials have ended, and those of a variant have learned nothing in any of its forms."""
        given = {key: self._loss(key, runs) for key, runs in self._tried.items()}
        ended = {key: losses for key, losses in given.items() if losses is not None}
        if len(ended) < len(given):
            return False
        nothing: dict[str, list[bool]] = {}
        for name, form in self.entered.items():
            own = {point: losses for (tried, point), losses in ended.items() if tried == name}
            nothing.setdefault(form.variant, []).append(tuning.learned_nothing(own, self._bar()))
        return any(map(all, nothing.values()))

    @cached_property
    def _unchanged(self) -> set[str]:
        """The architectures that the condition leaves as they are: they have the runs of the first condition's grid."""
        first = self._first
        return {name for name in self.entered if first and self._grid_runs(name) == first._grid_runs(name)}

    @cached_property
    def _grid(self) -> dict[tuple[str, Point], list[PlacedPlan]]:
        """The trials on the grid as it was given."""
        return self._at(self._points)

    def _grid_runs(self, name: str) -> set[str]:
        """The runs of an architecture on the grid as it was given."""
        return {run for (tried, _), runs in self._grid.items() if tried == name for run in _names(runs)}

    @cached_property
    def _tried(self) -> dict[tuple[str, Point], list[PlacedPlan]]:
        """The trials on the grid, with those that are added once all that may make it grow have ended."""
        leading = {key: runs for key, runs in self._grid.items() if key[0] in self.leading}
        if any(self._loss(key, runs) is None for key, runs in leading.items()):
            return self._grid
        return self._grid | self._at(tuning.added_points(self._points, list(self._chosen(leading).values())))

    def _chosen(self, tried: Mapping[tuple[str, Point], Sequence[PlacedPlan]]) -> dict[str, Point]:
        by_name: dict[str, dict[Point, Sequence[TrialLoss]]] = {name: {} for name in self.entered}
        for (name, point), runs in tried.items():
            if losses := self._loss((name, point), runs):
                by_name[name][point] = losses
        choices = {name: tuning.best(losses) for name, losses in by_name.items()}
        return {name: best for name, best in choices.items() if best is not None}

    def _loss(self, key: tuple[str, Point], runs: Sequence[PlacedPlan]) -> Sequence[TrialLoss] | None:
        if key not in self._losses:
            self._losses[key] = tuning.losses(self.root, _names(runs))
        return self._losses[key]

    def _at(self, points: Sequence[Point]) -> dict[tuple[str, Point], list[PlacedPlan]]:
        task = self.task.patched({"share": self.task.share * self.share})
        return {
            (name, point): [self._place(task, form, seed, point) for seed in self.tuning.seeds]
            for name, form in self.entered.items()
            for point in points
        }


def recipe(task: Task, name: str, trials: TuningTrials | None = None) -> Training:
    """How an architecture is trained: by its condition, else its trials, else its own or the common setting."""
    tuned = task.tuned.get(name)
    values = tuned.model_dump(exclude_none=True, exclude={"form"}) if tuned else {}
    point = trials.best.get(name) if trials is not None else None
    if trials is not None:
        values = {"learning_rate": point.learning_rate, "dropout": point.dropout} if point else {}
    if task.adapt == FROZEN and not values and task.training.learning_rate != TRANSFER:
        values = {"learning_rate": FROZEN_FACTOR * task.training.learning_rate}
    fixed = set(task.fixed)
    if task.training.learning_rate == TRANSFER:
        fixed.discard("learning_rate")
        if values and task.tuning is not None:
            values["proxy_width"] = task.tuning.width
    if trials is not None and point is not None and trials.share < 1:
        multiple = trials.task.share * trials.share / task.share
        values |= {"proxy_share": multiple} if multiple != 1 and "learning_rate" not in fixed else {}
    return Training.of(task.training, **{key: value for key, value in values.items() if key not in fixed})


def _all(groups: Iterable[Sequence[PlacedPlan]]) -> list[PlacedPlan]:
    return [run for runs in groups for run in runs]


def _names(runs: Sequence[PlacedPlan]) -> list[str]:
    return [run.placement.run for run in runs]
