"""Measurements that need a separate process: memory of a training step, and start-up time.

``python -m archbench.benchmarks.alone SIDE MODEL SHAPE DEVICE BEGAN`` makes a model of one side, trains a few steps on
whole windows and prints its measurements as JSON. ``BEGAN`` is the ``time.time()`` at which the process was started.
"""

import json
import os
import subprocess
import sys
import time
from itertools import repeat
from pathlib import Path
from typing import TYPE_CHECKING

from archbench.benchmarks.pairing import Measurement, Work, recorded, rotated

if TYPE_CHECKING:
    from archbench.benchmarks.setting import BenchSetting

STEPS = 3
UNITS = {"startup": "s", "memory": "bytes", "memory-rise": "bytes"}


def measured(side: str, model: str, shape: str, device: str) -> dict[str, float]:
    """Seconds until the first step was done, peak bytes of memory, and their rise over what there was before a step.

    Raises ``RuntimeError`` where the process fails.
    """
    command = [sys.executable, "-P", "-m", "archbench.benchmarks.alone", side, model, shape, device, repr(time.time())]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise RuntimeError(f"the process of {side} ended with status {done.returncode}: {last}")
    return dict(json.loads(done.stdout.strip().splitlines()[-1]))


def alone(setting: "BenchSetting", model: str) -> list[Measurement]:
    """Start-up, memory and its rise, of ours and theirs, whose processes take turns; if cold, each runs once before."""
    sides, shape, device = ("ours", "theirs"), setting.shape.name, setting.where.device
    for side in sides if setting.cold else ():
        measured(side, model, shape, device)
    values: dict[str, dict[str, list[float]]] = {kind: {side: [] for side in sides} for kind in UNITS}
    for number in range(setting.processes):
        for side in rotated(sides, number):
            for kind, value in measured(side, model, shape, device).items():
                values[kind][side].append(value)
    return [recorded(kind, model, UNITS[kind], samples, more=False) for kind, samples in values.items()]


def _main(side: str, model: str, shape: str, device: str, began: str) -> None:
    import torch

    from archbench.runs.machine import machine

    torch.set_num_threads(1)
    step = _step(side, model, shape, device)
    before = _memory(device)
    machine.reset_peak_memory(device)
    step()
    startup = time.time() - float(began)
    for _ in range(STEPS - 1):
        step()
    peak = machine.peak_memory_bytes(device)
    print(json.dumps({"startup": startup, "memory": peak, "memory-rise": peak - before}))


def _step(side: str, model: str, shape: str, device: str) -> Work:
    """A training step on whole windows; each side imports what it needs and no more."""
    from archbench.benchmarks import models, work
    from archbench.runs.machine import machine

    chosen, where = models.SHAPES[shape], work.Where(device, machine.precision("auto", device) == "bf16")
    batch = work.windows(model, chosen).to(device)
    if side == "ours":
        return work.our_steps(models.ours(model, chosen).to(device), where, chosen, repeat(batch))
    inputs = work.their_inputs(model, batch)
    return work.their_steps(models.theirs(model, chosen).to(device), where, repeat((inputs, batch.tokens)))


def _memory(device: str) -> int:
    """Bytes in use now: allocated on the GPU, or resident in this process (0 where the system does not tell)."""
    import torch

    if device == "cuda":
        return torch.cuda.memory_allocated()
    status = Path("/proc/self/statm")
    return int(status.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") if status.exists() else 0


if __name__ == "__main__":
    _main(*sys.argv[1:])
