"""How fast an architecture trains here, measured once and then frozen, for budgets in seconds."""

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from architectures.catalogue import Variant
from architectures.size import Limits, Size
from runs import store
from runs.sections import Task
from runs.step import Stepper
from tasks.values import Prepared

SECONDS = 3.0
WARM_UP = 3  # steps that are not timed


@dataclass(frozen=True)
class Work:
    """What is timed: training steps of a task on a device."""

    prepared: Prepared
    task: Task
    device: str
    precision: str

    def key(self, variant: Variant, size: Size) -> str:
        facts = [self.prepared.digest, self.task.training.model_dump(mode="json"), self.task.supervision]
        text = json.dumps([*facts, self.device, self.precision, variant.text, asdict(size)], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


class Calibration:
    """Training speeds by architecture and size, kept in ``root/calibration.json``."""

    def __init__(self, root: Path, say: Callable[[str], None]) -> None:
        self.path, self.say = root / "calibration.json", say

    def rate(self, work: Work, variant: Variant, size: Size, limits: Limits) -> float:
        """Data tokens per second in training; the first answer stands for good."""
        known: dict[str, Any] = store.read_json(self.path) if self.path.is_file() else {}
        key = work.key(variant, size)
        if key not in known:
            self.say(f"{work.task.name}: measuring the training speed of {variant.name}")
            known[key] = {"architecture": variant.name, "tokens_per_second": _measure(work, variant, size, limits)}
            store.write_json(self.path, known)
        return float(known[key]["tokens_per_second"])


def _measure(work: Work, variant: Variant, size: Size, limits: Limits) -> float:
    stepper = Stepper.build(
        variant.build,
        size,
        limits,
        work.prepared,
        work.task.training,
        work.task.supervision == "native",
        0,
        work.device,
        work.precision,
    )
    stream = stepper.stream(tokens=2**60)
    for _, (batch, _) in zip(range(WARM_UP), stream.start(), strict=False):
        stepper.step(batch, 0, 0.1)
    tokens, start = 0, time.perf_counter()
    for number, (batch, _) in enumerate(stream.start()):
        stepper.step(batch, number, 0.1).loss.item()
        tokens += batch.tokens
        if time.perf_counter() - start > SECONDS:
            break
    return tokens / (time.perf_counter() - start)
