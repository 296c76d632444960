"""The trials of one task, or of one condition with its own tuning: what is tried, has ended, was chosen."""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np

from archbench.architectures.families.variant import Variant
from archbench.runs.base.placement import PlacedPlan, Placement
from archbench.runs.base.plan import Plan
from archbench.runs.experiment.sections import Task, Training
from archbench.runs.planning import tuning
from archbench.runs.planning.tuning import Point


class Planned(Protocol):
    """Plans one run."""

    def __call__(
        self, task: Task, place: str, variant: Variant, match: str, seed: int, training: Training, *, trial: bool
    ) -> Plan: ...


class TuningTrials:
    """Trials of ``task``, which has a ``tuning``, for the architectures ``entered``; outcomes are read from ``root``.

    ``leading`` are the architectures that make the grid grow if their best points lie at its edge.
    """

    def __init__(
        self,
        task: Task,
        entered: Sequence[tuple[str, Variant]],
        leading: set[str],
        planned: Planned,
        epochs: Callable[[Task], float],
        root: Path,
    ) -> None:
        assert task.tuning is not None
        self.task, self.tuning, self.entered, self.root = task, task.tuning, entered, root
        self.leading, self._planned = leading, planned
        self._points = tuning.grid(task.tuning, task.training, epochs(task))

    def placed_plans(self) -> list[PlacedPlan]:
        """Every trial that is known so far; outcomes may add more."""
        planned = [plan for plans in self._plans.values() for plan in plans]
        task = self.task
        return [
            (plan, Placement(plan.run, task.name, task.condition, plan.match, "trial", plan.architecture))
            for plan in planned
        ]

    @cached_property
    def ended(self) -> set[str]:
        """The architectures whose trials have all ended; none until it is known whether the grid grows."""
        if not self._grown:
            return set()
        losses = self._losses(self._plans)
        open_ = {name for (name, _), value in losses.items() if value is None}
        return {variant.name for _, variant in self.entered} - open_

    @cached_property
    def best(self) -> dict[str, Point]:
        """The best point of each architecture for which a trial has a loss."""
        points = list(dict.fromkeys(point for _, point in self._plans))
        return self._chosen(self._losses(self._plans), points)

    @cached_property
    def _grown(self) -> bool:
        """Whether all trials that decide whether the grid grows have ended."""
        losses = self._losses(self._at(self._points))
        return None not in {value for (name, _), value in losses.items() if name in self.leading}

    @cached_property
    def _plans(self) -> dict[tuple[str, Point], list[Plan]]:
        plans = self._at(self._points)
        if self._grown:
            chosen = self._chosen(self._losses(plans), self._points)
            plans |= self._at(tuning.grown(self._points, [chosen[name] for name in chosen if name in self.leading]))
        return plans

    def _chosen(self, losses: Mapping[tuple[str, Point], float | None], points: Sequence[Point]) -> dict[str, Point]:
        known = {key: value for key, value in losses.items() if value is not None and np.isfinite(value)}
        points_chosen = {variant.name: tuning.best(known, variant.name, points) for _, variant in self.entered}
        return {name: point for name, point in points_chosen.items() if point is not None}

    def _at(self, points: Sequence[Point]) -> dict[tuple[str, Point], list[Plan]]:
        match, training = self.task.budget.match[0], self.task.training
        return {
            (variant.name, point): [
                self._planned(self.task, place, variant, match, seed, point.of(training), trial=True)
                for seed in self.tuning.seeds
            ]
            for place, variant in self.entered
            for point in points
        }

    def _losses(self, plans: Mapping[tuple[str, Point], list[Plan]]) -> dict[tuple[str, Point], float | None]:
        return {key: tuning.loss(self.root, [plan.run for plan in seeds]) for key, seeds in plans.items()}
