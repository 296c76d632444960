"""A run that is killed where it deals with the disk, validates or computes a gradient, in a process of its own.

usage: python -m tests.crashing EXPERIMENT.toml DIR CACHE PLACE[,PLACE...]

Every attempt goes on from what the one before left in DIR, or from nothing where PLACE is negative; each is killed with
SIGKILL at that place: before it is done, or with half of the file where it makes a file durable. 0: not at all.
Prints how many places each attempt had, and the SHA-256 of what it left where it was not killed.
"""

import hashlib
import json
import os
import shutil
import signal
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from archbench.runs.execution import work
from archbench.runs.experiment import spec
from archbench.runs.planning import matrix
from archbench.runs.plans.plan import Plan
from archbench.runs.training import train
from archbench.runs.training.step import Trainer

DEALINGS = ("fsync", "replace", "rename", "unlink", "rmdir", "mkdir")
PLACES = [*((os, name) for name in DEALINGS), (train, "validation_loss"), (Trainer, "_gradient")]


def outcome(root: Path) -> dict[str, object]:
    """Everything that must be equal to the last bit, by run: all are done."""
    outcomes: dict[str, object] = {}
    for run in sorted((root / "runs").iterdir()):
        assert json.loads((run / "record.json").read_text())["status"] == "done"
        outcomes[run.name] = (
            (run / "model.safetensors").read_bytes(),
            (run / "scores.json").read_text(),
            pd.read_csv(run / "curves.csv").drop(columns="seconds").to_csv(),
            pd.read_parquet(run / "predictions.parquet").to_csv(),
        )
    return outcomes


def planned(file: str, root: str, cache: str) -> Plan:
    notify: Callable[[str], None] = lambda line: None  # noqa: E731
    planned_matrix = matrix.plan(
        spec.load(file), device="cpu", deterministic=False, cache=Path(cache), root=Path(root), say=notify
    )
    (plan,) = planned_matrix.plans
    return plan


def attempt(plan: Plan, root: str, place: int) -> int:
    """How many dealings with the disk, validations and gradients the attempt had, killed at ``place`` if not 0."""
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        count = 0

        def counted(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
            def deal(*arguments: Any, **named: Any) -> Any:
                nonlocal count
                count += 1
                os.write(theirs, b".")
                if count == place:
                    if name == "fsync" and stat.S_ISREG(os.fstat(arguments[0]).st_mode):
                        os.ftruncate(arguments[0], os.fstat(arguments[0]).st_size // 2)
                    os.kill(os.getpid(), signal.SIGKILL)
                return real(*arguments, **named)

            return deal

        for owner, name in PLACES:
            setattr(owner, name, counted(name, getattr(owner, name)))
        try:
            work.perform(plan, Path(root) / "runs" / plan.run, lambda event: None, lambda: False)
        finally:
            os._exit(0)
    os.close(theirs)
    accesses = 0
    while part := os.read(ours, 4096):
        accesses += len(part)
    os.close(ours)
    status = os.waitpid(child, 0)[1]
    assert os.WIFSIGNALED(status) == (0 < place <= accesses), (status, place, accesses)
    return accesses


def main(file: str, root: str, cache: str, places: str) -> None:
    train.CHECKPOINT_SECONDS = 0.0
    plan = planned(file, root, cache)
    for place in map(int, places.split(",")):
        if place < 0:  # from the beginning
            shutil.rmtree(root)
        accesses = attempt(plan, root, abs(place))
        left = "" if place else hashlib.sha256(repr(outcome(Path(root))).encode()).hexdigest()
        print(accesses, left, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
