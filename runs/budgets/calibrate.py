"""Training speed of an architecture on this machine, measured once and kept, for budgets in seconds.

The file has a hash. If it was edited, speeds are measured again, or it is an error if finished runs used them.
"""

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from archbench.architectures.catalogue import sources
from archbench.architectures.families.size import Limits, Size
from archbench.architectures.families.variant import Variant
from archbench.runs.experiment.sections import Task, Training
from archbench.runs.machine import machine
from archbench.runs.store import store
from archbench.runs.training.step import READ_STEPS, Trainer, TrainingStep
from archbench.runs.updates import optimizer
from archbench.tasks.base import sealed
from archbench.tasks.base.errors import InputError
from archbench.tasks.base.progress import Say
from archbench.tasks.base.values import Prepared

SECONDS = 3.0
WARM_UP = {"cpu": 3, "cuda": 20}  # steps that are not timed


@dataclass(frozen=True)
class Work:
    """Work that is timed: training steps of a task on a device."""

    prepared: Prepared
    task: Task
    device: str
    precision: str

    def key(self, variant: Variant, size: Size) -> str:
        facts = [self.prepared.digest, self.task.training.model_dump(mode="json"), self.task.supervision]
        text = json.dumps(
            [*facts, self.device, self.precision, sources.code(variant.text), asdict(size)], sort_keys=True
        )
        return hashlib.sha256(text.encode()).hexdigest()[:16]


class Calibration:
    """Training speeds by architecture and size, kept in ``root/calibration.json``."""

    def __init__(self, root: Path, say: Say) -> None:
        self.path, self.say = root / "calibration.json", say

    def rate(self, work: Work, variant: Variant, size: Size, measure: Callable[[], float]) -> float:
        """Data tokens per second in training; the first result of ``measure`` is kept. Raises ``InputError``."""
        known = self._earlier(work.task.name)
        key = work.key(variant, size)
        if key not in known:
            self.say(f"{work.task.name}: measuring the training speed of {variant.name}")
            known[key] = {"architecture": variant.name, "tokens_per_second": measure()}
            sealed.write_sealed(self.path, known)
        return float(known[key]["tokens_per_second"])

    def _earlier(self, dataset: str) -> dict[str, Any]:
        """Earlier measurements; none if the file is damaged and no run of the data set is finished."""
        if not self.path.is_file():
            return {}
        if sealed.is_sealed(self.path):
            return dict(sealed.read_sealed(self.path))
        damaged = f"{self.path}: has changed since it was written"
        if run := self._finished(dataset):
            raise InputError(
                f"{damaged}, and the finished run {run} was planned with it; restore it, or delete it: speeds are then "
                "measured again, and runs whose budget changes are trained again"
            )
        self.say(f"{damaged}; the training speeds are measured again")
        return {}

    def _finished(self, dataset: str) -> str | None:
        """A finished run of the data set."""
        for folder in sorted((self.path.parent / "runs").glob("*")):
            row = store.verified_record(folder)
            if row.get("dataset") == dataset and row.get("status") in store.FINISHED:
                return folder.name
        return None


def measured(work: Work, variant: Variant, size: Size, limits: Limits) -> float:
    """Data tokens per second of a few seconds of training."""
    training = Training.of(work.task.training)
    torch.manual_seed(0)
    model = variant.build(size, limits).to(work.device)
    allowed_tokens = torch.tensor(work.prepared.allowed_tokens, device=work.device)
    step = TrainingStep(model, model.objective, allowed_tokens, training.label_smoothing)
    native, bf16 = work.task.supervision == "native", work.precision == "bf16"
    trained = optimizer.build(model, training, bf16=bf16)
    trainer = Trainer(step, trained, work.prepared.train, training, native, bf16=bf16)
    machine.disable_cudnn_attention(work.device)
    stream = trainer.stream(tokens=2**60)
    for _, (batch, _) in zip(range(WARM_UP[work.device]), stream.start(), strict=False):
        trainer.step(batch, 0, 0.1).loss.item()
    tokens, start = 0, time.perf_counter()
    for number, (batch, _) in enumerate(stream.start()):
        stepped = trainer.step(batch, number, 0.1)
        tokens += batch.tokens
        if number % READ_STEPS[work.device]:
            continue
        stepped.loss.item()
        if time.perf_counter() - start > SECONDS:
            break
    return tokens / (time.perf_counter() - start)
