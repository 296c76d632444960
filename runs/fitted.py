"""Sizes and tokens of one task's architectures, on every axis and under every condition; what was fitted is kept."""

from typing import Any

import numpy as np

from architectures.catalogue import Variant
from architectures.size import Limits, Size, count
from runs import budget, machine
from runs.calibrate import Calibration, Work
from runs.sections import HELD, Task
from tasks.values import Prepared


class Fitted:
    """Fits to the budget of the reference, which is the task's first architecture, ``first``."""

    def __init__(
        self, first: Variant, prepared: Prepared, device: str, calibration: Calibration, limits: Limits
    ) -> None:
        self.first, self.prepared, self.device = first, prepared, device
        self.calibration, self.limits = calibration, limits
        self.lengths = budget.sample_lengths(prepared.train)
        self._blanks: dict[tuple[str, Size], Any] = {}
        self._sizes: dict[tuple[Any, ...], Size] = {}

    def cost(self, task: Task) -> budget.Measure:
        """Measures the model FLOPs of training on a data token under the task's supervision."""
        return budget.flops_per_token(self.lengths, task.supervision == "native")

    def supervision(self, task: Task, model: Any, usual: str) -> str:
        """The task's supervision; the ``usual`` one where the model has a loss at the same tokens under both."""
        source, target = self.lengths
        native, other = (model.objective.loss_tokens(source, target, model, native) for native in (True, False))
        return usual if np.array_equal(native, other) else task.supervision

    def reference(self, task: Task) -> tuple[Variant, Size]:
        """The first architecture of the task itself, whichever a condition takes."""
        wanted = task.budget.parameters
        assert wanted is not None
        first = self.first
        return first, self._fit(task, first, "parameters", float(wanted))

    def size(self, task: Task, variant: Variant, match: str) -> Size:
        """The size that equals the reference's on this axis."""
        first, reference = self.reference(task)
        if variant.name == first.name:
            return reference
        axis = "flops" if match == "flops" else "parameters"
        return self._fit(task, variant, axis, self._measure(task, axis)(self.blank(first, reference)))

    def tokens(self, task: Task, variant: Variant, match: str) -> int:
        """The training tokens that equal the reference's budget on this axis, or the task's share of it."""
        settings, (first, reference) = task.budget, self.reference(task)
        cost = self.cost(task)
        if settings.seconds is not None:
            timed = (variant, self.size(task, variant, match)) if match == "seconds" else (first, reference)
            tokens = settings.seconds * self._rate(task, *timed)
        elif settings.flops is not None:
            tokens = settings.flops / cost(self.blank(first, reference))
        else:
            tokens = float(settings.tokens or 0)
        if match == "flops-by-tokens":
            size = self.size(task, variant, match)
            tokens *= cost(self.blank(first, reference)) / cost(self.blank(variant, size))
        return max(1, round(tokens * task.share))

    def targets(self, task: Task, match: str) -> dict[str, float]:
        """The reference's figures on the axes that the match holds equal."""
        first, reference = self.reference(task)
        model = self.blank(first, reference)
        tokens = self.tokens(task, first, match)
        figures = {
            "parameters": float(count(model).parameters),
            "tokens": float(tokens),
            "flops": tokens * self.cost(task)(model),
            "seconds": (task.budget.seconds or 0.0) * task.share,
        }
        return {axis: figures[axis] for axis in HELD[match]}

    def _rate(self, task: Task, variant: Variant, size: Size) -> float:
        work = Work(self.prepared, task, self.device, self.precision(task))
        return self.calibration.rate(work, variant, size, self.limits)

    def precision(self, task: Task) -> str:
        """What matrix products are computed in."""
        return machine.precision(task.training.precision, self.device)

    def _measure(self, task: Task, axis: str) -> budget.Measure:
        return self.cost(task) if axis == "flops" else budget.parameters

    def _fit(self, task: Task, variant: Variant, axis: str, target: float) -> Size:
        wanted = task.budget.parameters
        assert wanted is not None
        key = (variant.name, axis, target, task.model, wanted, task.supervision)
        if key not in self._sizes:
            width = task.model.width or budget.reference_width(wanted)
            heads = task.model.heads or budget.usual_heads(width)
            start = Size(width, heads, 1, 1)
            coarse = wanted >= budget.COARSE_FROM
            measure = self._measure(task, axis)
            self._sizes[key] = budget.fit(
                variant.build, start, self.limits, measure, target, coarse, variant.name, task.model.depth
            )
        return self._sizes[key]

    def blank(self, variant: Variant, size: Size) -> Any:
        """The model without memory for its weights."""
        key = (variant.name, size)
        if key not in self._blanks:
            self._blanks[key] = budget.blank(variant.build, size, self.limits, variant.name)
        return self._blanks[key]
