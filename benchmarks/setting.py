"""The inputs of every measure of speed."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from archbench.architectures.conversion.convert import from_transformers
from archbench.architectures.conversion.quiet import quiet
from archbench.benchmarks import models
from archbench.benchmarks.models import BenchShape
from archbench.benchmarks.pairing import Samples, Work, alternate
from archbench.benchmarks.work import Where
from archbench.tasks.base.values import Prepared


@dataclass(frozen=True)
class BenchSetting:
    """The shape, where it runs, how many pairs of samples, the real task and the peaks of matrix products in FLOP/s."""

    shape: BenchShape
    where: Where
    pairs: int
    task: Prepared | None = None
    peaks: dict[str, float] | None = None
    compiled: bool = False
    cold: bool = False  # whether a process would be the first to read its code from the disk

    @property
    def processes(self) -> int:
        """How often a measure is taken in a process of its own."""
        return min(self.shape.processes, self.pairs)

    @property
    def prepared(self) -> Prepared:
        assert self.task is not None, "this measure needs a real task"
        return self.task

    def models(self, model: str, canvas: int) -> tuple[Any, Any]:
        """Ours and theirs with the same weights, on the device; ``canvas``: cells of an encoder."""
        theirs = models.theirs(model, self.shape)
        with quiet():
            ours = from_transformers(theirs, canvas=canvas)
        return ours.to(self.where.device), theirs.to(self.where.device)

    def alternate(self, sides: Mapping[str, Work]) -> Samples:
        return alternate(sides, self.pairs, self.shape.seconds, self.where.settled)
