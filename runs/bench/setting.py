"""The inputs of every measure, and the form of its results."""

import os
import shutil
from dataclasses import dataclass
from typing import Any

from archbench.architectures.conversion.convert import from_transformers
from archbench.architectures.conversion.quiet import quiet
from archbench.runs.bench import shapes
from archbench.runs.bench.pairing import Samples, compared
from archbench.runs.bench.shapes import BenchShape
from archbench.runs.bench.sides import Where
from archbench.tasks.base.values import Prepared

Measurement = dict[str, Any]


class DisagreementError(Exception):
    """The two sides do not compute the same: a comparison of their speed would say nothing."""


@dataclass(frozen=True)
class BenchSetting:
    """The shape, where it runs, how many pairs of samples, the real task and the peaks of matrix products in FLOP/s."""

    shape: BenchShape
    where: Where
    pairs: int
    task: Prepared | None = None
    peaks: dict[str, float] | None = None
    compiled: bool = False

    @property
    def prepared(self) -> Prepared:
        assert self.task is not None, "this measure needs a real task"
        return self.task

    def models(self, model: str, canvas: int) -> tuple[Any, Any]:
        """Ours and theirs with the same weights, on the device; ``canvas``: cells of an encoder."""
        theirs = shapes.theirs(model, self.shape)
        with quiet():
            ours = from_transformers(theirs, canvas=canvas)
        return ours.to(self.where.device), theirs.to(self.where.device)


def measurement(
    measure: str, model: str, unit: str, samples: Samples | dict[str, list[float]], **further: Any
) -> Measurement:
    """A measure as it is recorded; units of rates (per second) are better when more, all others when less."""
    rates = isinstance(samples, Samples)
    values = samples.values if isinstance(samples, Samples) else samples
    facts = {"first": samples.first, "repeats": samples.repeats} if isinstance(samples, Samples) else {}
    head = {"measure": measure, "model": model, "unit": unit, "better": "more" if rates else "less"}
    return {**head, "samples": values, **facts, **compared(values, more=rates), **further}


def compiler(device: str) -> str:
    """The compiler that ``torch.compile`` finds for the device; empty where there is none."""
    if device == "cuda":
        import importlib.util

        return "triton" if importlib.util.find_spec("triton") else ""
    named = [os.environ.get("CXX", ""), "g++", "clang++", "c++"]
    return next((path for name in named if name and (path := shutil.which(name))), "")
