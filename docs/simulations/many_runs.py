"""What a comparison of many runs costs besides training: files, the driver, `status`, a repeated command, the report.

`python -P docs/simulations/many_runs.py DIR RUNS` performs RUNS runs of fake work in a new folder DIR and prints the
figures of `docs/clusters.md`. A fake run writes the files that a small run writes, of the same sizes, without training.
"""

import json
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from archbench.reports import build
from archbench.runs.execution import execute as execution
from archbench.runs.execution import status
from archbench.runs.executors.executor import ExecutorOptions
from archbench.runs.plans.messages import Ended, Event, PlannedRun
from archbench.runs.store import store
from archbench.tasks.base import sealed

ARCHITECTURES = ("decoder", "encoder", "encoder-decoder", "prefix-decoder")
DATASETS = 10
EXAMPLES = 300  # of a test split
POINTS = 72  # of the curves of a run
TEXTS = {"plan.json": 3_000, "task.json": 15_000, "tokenizer.json": 60_000, "variant.py": 800, "environment.json": 500}
METRICS = ("exact_match", "bits_per_byte", "nll_per_token")


@dataclass(frozen=True)
class FakeRun:
    """A run of one architecture on one data set with one seed."""

    architecture: str
    dataset: str
    seed: int
    code: str = ""
    devices: int = 1
    expected_seconds: float = 60.0
    scoring_seconds: float = 0.0
    stage: int = 0
    vocabulary: int = 512
    predictions: int = 50_000
    snapshots: int = 0

    @property
    def run(self) -> str:
        return f"{self.dataset}-{self.architecture}-s{self.seed}-0123456789ab"

    def row(self) -> dict[str, Any]:
        labels = {"run": self.run, "experiment": "many", "architecture": self.architecture, "family": self.architecture}
        sizes = {"parameters": 500_000, "embedding_parameters": 80_000, "train_flops": 1e12, "train_tokens": 1_000_000}
        place = {"task": "translation", "dataset": self.dataset, "seed": self.seed, "match": "parameters"}
        return {**labels, **place, **sizes, "steps": 500, "train_seconds": 60.0, "device": "cpu"}


def write(run: FakeRun, folder: Path) -> None:
    """All files of a finished run."""
    rng = np.random.default_rng(run.seed + 1_000 * ARCHITECTURES.index(run.architecture))
    for name, size in TEXTS.items():
        (folder / name).write_text(json.dumps({"run": run.run, "text": "x" * size}))
    right = rng.random(EXAMPLES) < 0.5 + 0.1 * ARCHITECTURES.index(run.architecture)
    values = dict(zip(METRICS, (float(right.mean()), 2.0, 3.0), strict=True))
    sealed.write_json(
        folder / "scores.json",
        [
            {
                "run": run.run,
                "split": "test",
                "metric": metric,
                "value": value,
                "lower": value,
                "upper": value,
                "n": EXAMPLES,
            }
            for metric, value in values.items()
        ],
    )
    steps = np.arange(1, POINTS + 1)
    curve = {"run": run.run, "step": steps, "tokens": steps * 10_000, "flops": steps * 1e10, "seconds": steps * 1.0}
    points = pd.DataFrame({**curve, "split": "train", "metric": "loss", "value": 5.0 / steps})
    points.to_csv(folder / "curves.csv", index=False)
    rows = {"run": run.run, "example": range(EXAMPLES), "source": "a source", "reference": "right"}
    answers = np.where(right, "right", "wrong")
    pd.DataFrame({**rows, "answer": answers, "log_likelihood": -2.0}).to_parquet(folder / "predictions.parquet")
    store.write_record(folder, {**run.row(), "status": "done", "error": ""})


class Instantly:
    """An executor whose runs are done when they are started."""

    def __init__(self, options: ExecutorOptions) -> None:
        self.root, self.jobs, self.done = options.root, 100, list[Event]()

    def start(self, waiting: deque[PlannedRun]) -> None:
        for _ in range(min(self.jobs, len(waiting))):
            run = waiting.popleft()
            assert isinstance(run, FakeRun)
            write(run, store.run_folder(self.root, run.run))
            self.done.append(Ended(run.run, "done"))

    def events(self, seconds: float) -> Sequence[Event]:
        events, self.done = self.done, []
        return events

    def is_busy(self) -> bool:
        return bool(self.done)

    def stop(self) -> None:
        pass

    def close(self) -> None:
        pass


def timed(what: str, call: Callable[[], Any]) -> Any:
    start = time.perf_counter()
    result = call()
    print(f"{what}: {time.perf_counter() - start:.1f} s", flush=True)
    return result


def main(root: Path, count: int) -> None:
    seeds = -(-count // (len(ARCHITECTURES) * DATASETS))
    datasets = [f"data-{number}" for number in range(DATASETS)]
    runs = [
        FakeRun(architecture, dataset, seed)
        for dataset in datasets
        for architecture in ARCHITECTURES
        for seed in range(seeds)
    ][:count]
    for name in datasets:
        card = {"dataset": name, "kind": "translation", "primary": "exact_match", "licence": "none", "origin": "made"}
        sealed.write_sealed(root / "data" / f"{name}.json", card)
    keys = ("run", "dataset", "match", "architecture")
    store.write_experiment(
        root,
        name="many",
        command="many_runs.py",
        version="0",
        experiment={"name": "many"},
        rows={run.run: run.row() for run in runs},
        entries=[{**{key: run.row()[key] for key in keys}, "role": "compared", "condition": ""} for run in runs],
    )
    execution.opened = lambda on, options: Instantly(options)  # type: ignore[assignment]
    perform = lambda: execution.execute(runs, root, None, lambda event: None)  # noqa: E731
    timed(f"{count} runs of fake work", perform)
    files = [path for path in root.rglob("*") if path.is_file()]
    size = sum(path.stat().st_size for path in files)
    print(f"{len(files)} files, {size / 1e6:,.0f} MB without weights", flush=True)
    timed("the same command again", perform)
    timed("status", lambda: status.text(status.read(root)))
    timed("report", lambda: build(root))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
