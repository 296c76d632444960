"""Runs on a simulated GPU, and what they came to; run as a program, since PyTorch has to be told before it is imported.

usage: python -m tests.simulated_work LIBRARY FOLDER ARCHITECTURE TASK
       python -m tests.simulated_work LIBRARY FOLDER MODEL

With a model, the benchmark measures it into the folder. Else prints a line of JSON: of the same run by AdamW and by
Muon in float32 on a CPU and there, and by Muon in bfloat16 there, the scores, how often each step waited for the
device, and what was said.
"""

import ctypes
import importlib.util
import json
import sys
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

RUNS = [
    *(("cpu", "adamw", "float32"), ("cuda", "adamw", "float32")),
    *(("cpu", "muon", "float32"), ("cuda", "muon", "float32"), ("cuda", "muon", "bf16")),
]


def load(library: str) -> None:
    """The stand-in for CUDA, ahead of PyTorch itself."""
    torch_spec = importlib.util.find_spec("torch")
    assert torch_spec is not None and torch_spec.origin is not None
    for path in (
        *(Path(torch_spec.origin).parent / "lib" / name for name in ("libc10.so", "libtorch_cpu.so")),
        library,
    ):
        ctypes.CDLL(str(path), mode=ctypes.RTLD_GLOBAL)


def main(library: str, folder: str, name: str, task: str = "") -> None:
    load(library)
    import torch

    torch.set_num_threads(1)
    if task:
        compare(Path(folder), name, task)
    else:
        benchmark(Path(folder), name, Path(library).parent / "cache")


def benchmark(place: Path, model: str, cache: Path) -> None:
    from archbench.benchmarks import models, suite
    from tests.simulated_cuda import State, simulated

    State.any_attention = True  # transformers shares heads under a mask
    measures = ("training", "labels", "real", "scoring", "generation")
    request = suite.Request(device="cuda", shape="tiny", only=(model, *measures), pairs=1)
    short = replace(models.SHAPES["tiny"], seconds=0.0)
    with simulated(), mock.patch.dict(models.SHAPES, tiny=short):
        suite.run(request, place, cache, "", str)


def compare(folder: Path, architecture: str, task: str) -> None:
    from tests.simulated_cuda import simulated
    from tests.tiny_runs import write_data

    place = write_data(folder)
    results = {
        f"{device} {optimizer} {precision}": performed(
            place, device, architecture, task, optimizer, precision, simulated if device == "cuda" else nullcontext
        )
        for device, optimizer, precision in RUNS
    }
    print(json.dumps(results))


def performed(
    place: Path,
    device: str,
    architecture: str,
    task: str,
    optimizer: str,
    precision: str,
    around: Callable[[], Any],
) -> dict[str, Any]:
    from archbench.runs.execution import work
    from archbench.runs.experiment import spec
    from archbench.runs.planning import matrix
    from archbench.runs.plans.messages import LogLine
    from archbench.runs.training.step import Trainer
    from archbench.tasks.base import sealed
    from tests.simulated_cuda import State
    from tests.tiny_runs import TASKS

    training = {"batch_tokens": 250, "learning_rate": 0.01, "optimizer": optimizer, "precision": precision}
    values = {
        "name": "simulated",
        "architectures": [architecture],
        "budget": {"parameters": 20_000, "tokens": 6_000},
        "model": {"width": 32},
        "training": training,
        "tasks": [{"name": task, "test_examples": 5, **TASKS[task]}],
    }
    root, messages, waits = place / f"{device}-{optimizer}-{precision}", [], []
    step = Trainer.step

    def counted(trainer: Trainer, *arguments: Any) -> Any:
        before = State.waits
        result = step(trainer, *arguments)
        waits.append(State.waits - before)
        return result

    with around(), mock.patch.object(Trainer, "step", counted):
        cache = place / "cache"
        experiment = spec.from_dict(values, folder=place)
        planned = matrix.plan(experiment, device=device, deterministic=False, cache=cache, root=root, say=str)
        (plan,) = planned.plans
        for row in planned.datasets:
            sealed.write_json(root / "data" / f"{row['dataset']}.json", row)
        run = root / "runs" / plan.run
        work.perform(
            plan, run, lambda event: messages.append(event.line) if isinstance(event, LogLine) else None, lambda: False
        )
    return {
        "scores": sealed.read_json(run / "scores.json"),
        "waits": waits,
        "said": messages,
        "device": plan.device,
        "precision": plan.precision,
    }


if __name__ == "__main__":
    main(*sys.argv[1:])
