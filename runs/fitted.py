"""Sizes and tokens of one task's architectures, on every axis and under every condition; what was fitted is kept."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from architectures.catalogue import Variant
from architectures.size import Limits, Size
from runs import budget, machine
from runs.calibrate import Calibration, Work
from runs.measurements import Measurements
from runs.sections import HELD, Task
from tasks.values import Prepared


class Fitted:
    """Fits to the budget of the reference, which is the task's first architecture, ``first``.

    ``measurements`` gives those of a variant.
    """

    def __init__(
        self,
        first: Variant,
        prepared: Prepared,
        device: str,
        calibration: Calibration,
        limits: Limits,
        measurements: Callable[[Variant], Measurements],
        cache: Path,
    ) -> None:
        self.first, self.prepared, self.device, self.cache = first, prepared, device, cache
        self.calibration, self.limits, self.measurements = calibration, limits, measurements
        self.lengths = budget.sample_lengths(prepared.train)
        self._sizes: dict[tuple[Any, ...], Size] = {}

    def cost(self, task: Task, variant: Variant, size: Size) -> float:
        """Model FLOPs of training on a data token under the task's supervision."""
        native = task.supervision == "native"
        return self.measurements(variant).flops_per_token(size, self.limits, self.lengths, native)

    def supervision(self, task: Task, variant: Variant, size: Size, usual: str) -> str:
        """The task's supervision; the ``usual`` one where the model has a loss at the same tokens under both."""
        alike = self.measurements(variant).has_one_loss(size, self.limits, self.lengths)
        return usual if alike else task.supervision

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
        if match == "flops":
            return self._fit(task, variant, match, self.cost(task, first, reference))
        parameters = self.measurements(first).counts(reference, self.limits).parameters
        return self._fit(task, variant, "parameters", float(parameters))

    def tokens(self, task: Task, variant: Variant, match: str) -> int:
        """The training tokens that equal the reference's budget on this axis, or the task's share of it."""
        settings, (first, reference) = task.budget, self.reference(task)
        if settings.seconds is not None:
            timed = (variant, self.size(task, variant, match)) if match == "seconds" else (first, reference)
            tokens = settings.seconds * self._rate(task, *timed)
        elif settings.flops is not None:
            tokens = settings.flops / self.cost(task, first, reference)
        else:
            tokens = float(settings.tokens or 0)
        if match == "flops-by-tokens":
            size = self.size(task, variant, match)
            tokens *= self.cost(task, first, reference) / self.cost(task, variant, size)
        return max(1, round(tokens * task.share))

    def targets(self, task: Task, match: str) -> dict[str, float]:
        """The reference's figures on the axes that the match holds equal."""
        first, reference = self.reference(task)
        tokens = self.tokens(task, first, match)
        figures = {
            "parameters": float(self.measurements(first).counts(reference, self.limits).parameters),
            "tokens": float(tokens),
            "flops": tokens * self.cost(task, first, reference),
            "seconds": (task.budget.seconds or 0.0) * task.share,
        }
        return {axis: figures[axis] for axis in HELD[match]}

    def _rate(self, task: Task, variant: Variant, size: Size) -> float:
        work = Work(self.prepared, task, self.device, self.precision(task))
        measurements = self.measurements(variant)
        return self.calibration.rate(
            work, variant, size, lambda: measurements.rate(work, size, self.limits, self.cache)
        )

    def precision(self, task: Task) -> str:
        """What matrix products are computed in."""
        return machine.precision(task.training.precision, self.device)

    def _fit(self, task: Task, variant: Variant, axis: str, target: float) -> Size:
        wanted = task.budget.parameters
        assert wanted is not None
        key = (variant.name, axis, target, task.model, wanted, task.supervision)
        if key not in self._sizes:
            width = task.model.width or budget.reference_width(wanted)
            heads = task.model.heads or budget.usual_heads(width)
            start = Size(width, heads, 1, 1)
            coarse = wanted >= budget.COARSE_FROM
            native = task.supervision == "native" if axis == "flops" else None
            self._sizes[key] = self.measurements(variant).fit(
                start, self.limits, self.lengths, native, target, coarse, task.model.depth
            )
        return self._sizes[key]
