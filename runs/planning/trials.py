"""The trials of one task, or of one condition with its own tuning: what is tried, has ended, was chosen."""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Protocol

from archbench.architectures.families.variant import Variant
from archbench.runs.base.placement import PlacedPlan, Placement
from archbench.runs.base.plan import Plan
from archbench.runs.experiment.sections import Task, Training
from archbench.runs.planning import rate_choice, tuning
from archbench.runs.planning.tuning import Point, TrialLoss


class Planned(Protocol):
    """Plans one run."""

    def __call__(
        self, task: Task, name_or_path: str, variant: Variant, match: str, seed: int, training: Training, *, trial: bool
    ) -> Plan: ...


class TuningTrials:
    """Trials of ``task``, which has a ``tuning``, for the architectures ``entered``; outcomes are read from ``root``.

    ``leading`` are the architectures whose best points may lie at the edge and make the grid grow. ``first`` are the
    trials under the task's first condition: an architecture that has the same trials there keeps what they chose.
    """

    def __init__(
        self,
        task: Task,
        entered: Sequence[tuple[str, Variant]],
        leading: set[str],
        planned: Planned,
        epochs: Callable[[Task], float],
        root: Path,
        first: "TuningTrials | None" = None,
    ) -> None:
        assert task.tuning is not None
        self.task, self.tuning, self.entered, self.root = task, task.tuning, entered, root
        self.leading, self._planned, self._first = leading, planned, first
        self._points = tuning.grid(task.tuning, task.training, epochs(task))

    def placed_plans(self) -> list[PlacedPlan]:
        """Every trial that is known so far; outcomes may add more."""
        planned = [plan for plans in self._plans.values() for plan in plans]
        task = self.task
        return [
            PlacedPlan(plan, Placement(plan.run, task.name, task.condition, plan.match, "trial", plan.architecture))
            for plan in planned
        ]

    @cached_property
    def ended(self) -> set[str]:
        """The architectures all of whose trials have ended; none before it is known whether the grid grows.

        For one that keeps what the first condition chose, the trials of that condition.
        """
        kept = self._unchanged & self._first.ended if self._first else set()
        if not self._is_edge_known:
            return kept
        losses = self._losses(self._plans)
        open_ = {name for (name, _), value in losses.items() if value is None}
        return {variant.name for _, variant in self.entered} - open_ - self._unchanged | kept

    @cached_property
    def best(self) -> dict[str, Point]:
        """The point of each architecture that a trial gave a loss for."""
        chosen = self._chosen(self._losses(self._plans))
        kept = self._first.best if self._first else {}
        return chosen | {name: kept[name] for name in self._unchanged if name in kept}

    @cached_property
    def nll_by_architecture(self) -> dict[str, float]:
        """The validation loss of each architecture at its best setting: exact, of targets alone, so that it compares.

        Of those that have none, because trials have not ended or failed, nothing.
        """
        by_name: dict[str, dict[tuple[float, float], list[float]]] = {}
        for (name, point), plans in self._plans.items():
            values = tuning.validation_nll(self.root, [plan.run for plan in plans])
            by_name.setdefault(name, {})[point.learning_rate, point.dropout] = values
        choices = {name: rate_choice.choose(losses) for name, losses in by_name.items()}
        return {name: choice.loss for name, choice in choices.items() if choice is not None}

    @cached_property
    def _unchanged(self) -> set[str]:
        """The architectures that the condition leaves as they are: they have the runs of the first condition's grid."""
        if self._first is None:
            return set()
        grid_runs, first = self._grid_runs, self._first._grid_runs
        return {name for name in grid_runs if grid_runs[name] == first.get(name)}

    @cached_property
    def _grid(self) -> dict[tuple[str, Point], list[Plan]]:
        """The trials on the grid as it was given."""
        return self._at(self._points)

    @cached_property
    def _grid_runs(self) -> dict[str, set[str]]:
        """The runs of each architecture on the grid as it was given."""
        runs: dict[str, set[str]] = {}
        for (name, _), plans in self._grid.items():
            runs.setdefault(name, set()).update(plan.run for plan in plans)
        return runs

    @cached_property
    def _is_edge_known(self) -> bool:
        """Whether all trials that decide whether the grid grows have ended."""
        losses = self._losses(self._grid)
        return None not in [value for (name, _), value in losses.items() if name in self.leading]

    @cached_property
    def _plans(self) -> dict[tuple[str, Point], list[Plan]]:
        plans = dict(self._grid)
        if self._is_edge_known:
            chosen = self._chosen(self._losses(plans))
            plans |= self._at(
                tuning.added_points(self._points, [chosen[name] for name in chosen if name in self.leading])
            )
        return plans

    def _chosen(self, losses: Mapping[tuple[str, Point], Sequence[TrialLoss] | None]) -> dict[str, Point]:
        chosen = {}
        for _, variant in self.entered:
            tried = {point: value for (name, point), value in losses.items() if name == variant.name and value}
            best = tuning.best(tried)
            if best is not None:
                chosen[variant.name] = best
        return chosen

    def _at(self, points: Sequence[Point]) -> dict[tuple[str, Point], list[Plan]]:
        match, training = self.task.budget.match[0], self.task.training
        task = self.task.model_copy(update={"share": self.task.share * self.tuning.share})
        return {
            (variant.name, point): [
                self._planned(task, name_or_path, variant, match, seed, point.of(training), trial=True)
                for seed in self.tuning.seeds
            ]
            for name_or_path, variant in self.entered
            for point in points
        }

    def _losses(
        self, plans: Mapping[tuple[str, Point], list[Plan]]
    ) -> dict[tuple[str, Point], Sequence[TrialLoss] | None]:
        return {key: tuning.losses(self.root, [plan.run for plan in seeds]) for key, seeds in plans.items()}
