"""Runs that train nothing, for the executor's tests: each does what its plan's ``deed`` says."""

import errno
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from archbench.runs.plans.messages import Interrupted, Progress
from archbench.runs.store import store
from archbench.tasks.base.values import TaskConfig

TASK = TaskConfig("translation", "phrases", "phrases-en-de")


@dataclass(frozen=True)
class FakePlan:
    """One run: what it does, and how long it is expected to take."""

    run: str
    deed: str = "work"
    expected_seconds: float = 1.0
    scoring_seconds: float = 0.0
    stage: int = 0
    devices: int = 1
    vocabulary: int = 64
    predictions: int = 10_000
    snapshots: int = 0
    kind_code: str = ""
    variables: Mapping[str, str] = field(default_factory=dict)
    task: TaskConfig = TASK
    labelled: str = ""

    def row(self) -> dict[str, Any]:
        parts = self.run.rsplit("-", 2)
        dataset, architecture, seed = parts if len(parts) == 3 else (parts[0], "decoder", "s0")
        return {
            "run": self.run,
            "experiment": "mine",
            "architecture": architecture,
            "family": "decoder",
            "task": "translation",
            "dataset": dataset,
            "seed": int(seed[1:]),
            "match": "parameters",
            "supervision": "native",
            "parameters": 50_000,
            "embedding_parameters": 9_000,
            "buffers": 0,
            "planned_tokens": 100_000,
            "expected_flops": 3e10,
            "expected_loss_tokens": 100_000,
            "width": 32,
            "heads": 2,
            "depth": 2,
            "hidden": 64,
            "learning_rate": 0.005,
            "dropout": 0.0,
            "expected_seconds": self.expected_seconds,
        }

    def labels(self) -> dict[str, Any]:
        return {key: self.row()[key] for key in ("experiment", "match")}


def perform(plan: FakePlan, folder: Path, notify: Callable[[Progress], None], stop: Callable[[], bool]) -> None:
    """Appends a line to ``attempts`` and does the deed; whoever survives is done."""
    with open(folder / "attempts", "a") as file:
        file.write(f"{os.getpid()} {time.time()} {os.environ.get('CUDA_VISIBLE_DEVICES', '')}\n")
    notify(Progress(plan.run, "train", 50.0, 100.0, 2.5, 1000.0))
    DEEDS[plan.deed](folder, stop)
    store.write_record(folder, {**plan.row(), "status": "done", "threads": os.environ["OMP_NUM_THREADS"]})


def work(folder: Path, stop: Callable[[], bool]) -> None:
    time.sleep(0.02)


def fail(folder: Path, stop: Callable[[], bool]) -> None:
    raise ValueError("the loss\nis no number")


def fail_once(folder: Path, stop: Callable[[], bool]) -> None:
    if len((folder / "attempts").read_text().splitlines()) == 1:
        raise ValueError("only the first time")


def die(folder: Path, stop: Callable[[], bool]) -> None:
    print("last words", flush=True)
    os.kill(os.getpid(), signal.SIGKILL)


def leave(folder: Path, stop: Callable[[], bool]) -> None:
    os._exit(3)


def fill(folder: Path, stop: Callable[[], bool]) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def print_much(folder: Path, stop: Callable[[], bool]) -> None:
    print("printed by Python")
    print("complained by Python", file=sys.stderr)
    os.system("echo printed by another process")


def until_stopped(folder: Path, stop: Callable[[], bool]) -> None:
    """Counts up in ``beat`` until asked to stop, then saves a checkpoint; with a checkpoint it goes on and is done."""
    checkpoint = folder / "checkpoint"
    beat = 0
    while not checkpoint.exists():
        beat += 1
        (folder / "beat").write_text(str(beat))
        time.sleep(0.02)
        if stop():
            checkpoint.write_text(str(beat))
            raise Interrupted


def deaf(folder: Path, stop: Callable[[], bool]) -> None:
    while True:
        (folder / "beat").write_text(str(time.time()))
        time.sleep(0.02)


DEEDS: dict[str, Callable[[Path, Callable[[], bool]], None]] = {
    "work": work,
    "fail": fail,
    "fail once": fail_once,
    "die": die,
    "leave": leave,
    "fill": fill,
    "print": print_much,
    "until stopped": until_stopped,
    "deaf": deaf,
}


def perform_nothing(plan: FakePlan, folder: Path, notify: Callable[[Progress], None], stop: Callable[[], bool]) -> None:
    """Ends without a record."""
