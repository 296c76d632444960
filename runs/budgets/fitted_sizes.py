"""Sizes and tokens of one task's architectures, for every axis and condition; results are kept."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from archbench.architectures.families.size import Limits, Size
from archbench.architectures.families.variant import Variant
from archbench.runs.budgets import budget
from archbench.runs.budgets.calibrate import Calibration, Work
from archbench.runs.budgets.measurements import Measurements, TokenCost
from archbench.runs.budgets.reading import Cost, Floats, Reading
from archbench.runs.experiment.sections import HELD, Pretraining, Task
from archbench.runs.machine import machine
from archbench.runs.training.pretraining_objectives import OWN
from archbench.tasks.base.errors import InputError
from archbench.tasks.base.values import Prepared

MAX_FLOPS_DEVIATION = 0.9 * budget.TOLERANCE  # where a match holds tokens equal as well as FLOPs
EXAMPLE_COSTS = ("flops", "loss_tokens")  # what a match may hold equal that differs from example to example
READINGS = 16  # orders of the data that are kept at a time: each has an index for every example


class Order(NamedTuple):
    """The settings, besides the data, that decide the order of a run's batches."""

    seed: int
    batch_tokens: int
    length_pool: int


class FittedSizes:
    """Fits to the budget of the reference, which is the task's first architecture.

    ``measurements`` gives those of a variant, ``data`` what the runs with a seed read; by default ``prepared``.
    """

    def __init__(
        self,
        reference_variant: Variant,
        prepared: Prepared,
        device: str,
        calibration: Calibration,
        limits: Limits,
        measurements: Callable[[Variant], Measurements],
        cache: Path,
        data: Callable[[int], Prepared] | None = None,
    ) -> None:
        self.reference_variant, self.prepared, self.device, self.cache = reference_variant, prepared, device, cache
        self.calibration, self._limits, self.measurements = calibration, limits, measurements
        self.data = data or (lambda seed: prepared)
        self.lengths = budget.sample_lengths(prepared.train if len(prepared.train) else prepared.test)
        self._sizes: dict[tuple[Any, ...], Size] = {}
        self._readings: dict[Order, Reading] = {}

    def limits(self, task: Task) -> Limits:
        """The limits of the data set, and how the task has encoders learn."""
        return replace(self._limits, **task.training.masking)

    def cost(self, task: Task, variant: Variant, size: Size) -> float:
        """Model FLOPs of training on a data token under the task's supervision."""
        native = task.supervision == "native"
        return self.measurements(variant).flops_per_token(size, self.limits(task), self.lengths, native)

    def loss_share(self, task: Task, variant: Variant, size: Size) -> float:
        """Expected tokens with a loss for each data token under the task's supervision."""
        source, target = self.lengths
        measurements, native = self.measurements(variant), task.supervision == "native"
        tokens = measurements.example_loss_tokens(size, self.limits(task), self.lengths, native)
        return float(tokens.sum() / (source.sum() + target.sum()))

    def token_cost(self, task: Task, variant: Variant, size: Size, stage: Pretraining | None = None) -> TokenCost:
        """Cost of a token that is read, in a pretraining if ``stage`` is one; raises ``InputError``."""
        if stage is None:
            return TokenCost(self.cost(task, variant, size), self.loss_share(task, variant, size))
        measured, where = self.measurements(variant), (self.prepared.config, self.cache)
        try:
            return measured.pretraining(*where, stage.objective, stage.mask_rate, size, stage.task.training.masking)
        except InputError as error:
            raise InputError(f"pretraining.{stage.name}.{error}") from None

    def token_factor(self, stage: Pretraining, first: Variant, cost: TokenCost) -> float:
        """The tokens of a pretraining run over its budget: on another axis than tokens, equal to those of ``first``."""
        match = stage.task.budget.match[0]
        if HELD[match][1] == "tokens":
            return 1.0
        usual = stage.patched({"objective": {OWN: 1.0}, "mask_rate": None})
        reference = self.token_cost(stage.task, first, self.size(stage.task, first, "parameters"), usual)
        return float(getattr(reference, HELD[match][1])) / float(getattr(cost, HELD[match][1]))

    def supervision(self, task: Task, variant: Variant, size: Size, usual: str) -> str:
        """The task's supervision; the ``usual`` one if the model has a loss on the same tokens under both."""
        alike = self.measurements(variant).has_one_loss(size, self.limits(task), self.lengths)
        return usual if alike else task.supervision

    def reference(self, task: Task) -> tuple[Variant, Size]:
        """The first architecture of the task itself, not of a condition, and its size; a checkpoint has its own.

        Its size does not depend on forms: what trials choose does not change the budget.
        """
        task = task.stated_task
        variant, wanted = self.reference_variant, task.budget.parameters
        if variant.checkpoint is not None:
            return variant, variant.checkpoint.size
        assert wanted is not None
        return variant, self._fit(task, variant, "parameters", float(wanted))

    def size(self, task: Task, variant: Variant, match: str) -> Size:
        """The size that equals the reference's on this axis."""
        first, reference = self.reference(task)
        if self._is_reference(task, variant):
            return reference
        if match == "flops":
            return self._fit(task, variant, match, self.cost(task.stated_task, first, reference))
        axis = HELD[match][0]
        size: float = getattr(self.measurements(first).counts(reference, self.limits(task.stated_task)), axis)
        if variant.name == first.name and task.budget.parameters is not None:  # in another form
            axis, size = "parameters", task.budget.parameters
        return self._fit(task, variant, axis, float(size))

    def _is_reference(self, task: Task, variant: Variant) -> bool:
        return variant.name == self.reference_variant.name and task.unformed is None

    def tokens(self, task: Task, variant: Variant, match: str) -> int:
        """The training tokens that equal the reference's budget on this axis, or the task's share of it."""
        settings, (first, reference), stated = task.budget, self.reference(task), task.stated_task
        if settings.seconds is not None and match == "seconds":
            tokens = settings.seconds * self._rate(task, variant, self.size(task, variant, match))
        elif settings.seconds is not None:
            tokens = settings.seconds * self._rate(stated, first, reference)
        elif settings.flops is not None:
            tokens = settings.flops / self.cost(stated, first, reference)
        else:
            tokens = float(settings.tokens or 0)
        if match == "flops-by-tokens":
            size = self.size(task, variant, match)
            tokens *= self.cost(stated, first, reference) / self.cost(task, variant, size)
        if match == "loss-tokens":
            size = self.size(task, variant, match)
            tokens *= self.loss_share(stated, first, reference) / self.loss_share(task, variant, size)
        return max(1, round(tokens * task.share))

    def run_tokens(self, task: Task, variant: Variant, match: str, order: Order) -> int:
        """The training tokens of the run that reads the data in this order.

        They are those of ``tokens``, unless the match holds FLOPs or tokens with a loss equal: then the batches of the
        run cost what those of the reference do. If the match holds tokens equal too, no number of tokens meets both.
        FLOPs then deviate by half of the excess cost of these batches, at most by ``MAX_FLOPS_DEVIATION``, and tokens
        by the rest, which is more than the tolerance only where there are few batches.
        """
        expected = self.tokens(task, variant, match)
        quantity = next((name for name in EXAMPLE_COSTS if name in HELD[match]), "")
        if not quantity or self._is_reference(task, variant):
            return expected
        cost = self._example_cost(task, variant, self.size(task, variant, match), quantity)
        target, reading = self._reference_cost(task, match, order, quantity), self._reading(order)
        if quantity == "loss_tokens" and math.isclose(reading.total(expected, cost), target):
            return expected  # as where every example has as many tokens with a loss as for the reference
        if "tokens" not in HELD[match]:
            return reading.tokens(target, cost)
        excess = reading.total(expected, cost) / target - 1
        if abs(excess) <= budget.TOLERANCE / 2:
            return expected
        deviation = float(np.clip(excess / 2, -MAX_FLOPS_DEVIATION, MAX_FLOPS_DEVIATION))
        return reading.tokens(target * (1 + deviation), cost)

    def targets(self, task: Task, match: str, order: Order) -> dict[str, float]:
        """The reference's values, for the same order of batches, on the axes that the match holds equal."""
        task, (first, reference) = task.stated_task, self.reference(task)
        counts = self.measurements(first).counts(reference, self.limits(task))
        figures = {
            "parameters": float(counts.parameters),
            "active_parameters": float(counts.active_parameters),
            "tokens": float(self.tokens(task, first, match)),
            "seconds": (task.budget.seconds or 0.0) * task.share,
        }
        costs = (name for name in EXAMPLE_COSTS if name in HELD[match])
        figures |= {name: self._reference_cost(task, match, order, name) for name in costs}
        return {axis: figures[axis] for axis in HELD[match]}

    def _reference_cost(self, task: Task, match: str, order: Order, quantity: str) -> float:
        """Cost of the reference's training in this quantity when it reads the data in this order."""
        task, (first, reference) = task.stated_task, self.reference(task)
        cost = self._example_cost(task, first, reference, quantity)
        return self._reading(order).total(self.tokens(task, first, match), cost)

    def _reading(self, order: Order) -> Reading:
        if order not in self._readings:
            while len(self._readings) >= READINGS:
                del self._readings[next(iter(self._readings))]
            self._readings[order] = Reading(
                self.data(order.seed).train, order.batch_tokens, order.seed, order.length_pool
            )
        return self._readings[order]

    def _example_cost(self, task: Task, variant: Variant, size: Size, quantity: str) -> Cost:
        """Measures what training on each example costs in this quantity, once for all examples of the same lengths."""
        native, measurements = task.supervision == "native", self.measurements(variant)
        measure = {"flops": measurements.example_flops, "loss_tokens": measurements.example_loss_tokens}[quantity]

        def cost(source: Floats, target: Floats) -> Floats:
            columns = target.max(initial=0.0) + 1.0
            pairs, inverse = np.unique(source * columns + target, return_inverse=True)
            lengths = pairs // columns, pairs % columns
            return measure(size, self.limits(task), lengths, native)[inverse]

        return cost

    def _rate(self, task: Task, variant: Variant, size: Size) -> float:
        work = Work(self.prepared, task, self.device, self.precision(task))
        measurements = self.measurements(variant)
        limits = self.limits(task)
        return self.calibration.rate(work, variant, size, lambda: measurements.rate(work, size, limits, self.cache))

    def precision(self, task: Task) -> str:
        """Precision in which matrix products are computed."""
        return machine.precision(task.training.precision, self.device)

    def _fit(self, task: Task, variant: Variant, axis: str, target: float) -> Size:
        wanted = task.budget.parameters
        assert wanted is not None
        key = (variant.name, axis, target, task.model, wanted, task.supervision, self.limits(task))
        if key not in self._sizes:
            width = task.model.width or budget.reference_width(wanted)
            heads = task.model.heads or budget.usual_heads(width)
            start = Size(width, heads, 1, 1)
            coarse = wanted >= budget.COARSE_FROM
            native = task.supervision == "native"
            self._sizes[key] = self.measurements(variant).fit(
                start, self.limits(task), self.lengths, axis, native, target, coarse, task.model.depth
            )
        return self._sizes[key]
