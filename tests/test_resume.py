"""Processes killed for real at random moments, by any signal, end with the same bits as ones left alone."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).parents[1]
EXPERIMENT = """
name = "killed"
architectures = ["decoder", "encoder"]
[budget]
parameters = 20_000
tokens = 30_000
[model]
width = 32
[training]
batch_tokens = 512
dropout = 0.1
precision = "float32"
[[tasks]]
kind = "translation"
name = "turned"
data = "pairs.tsv"
tokenizer = "char"
source_length = 16
target_length = 18
test_examples = 8
"""


def start(folder: Path, out: Path) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "tests.eager_work", str(folder / "killed.toml"), str(out), str(folder / "cache")]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, env={**os.environ})


def outcome(root: Path) -> dict[str, object]:
    """Everything that must be equal to the last bit, by run."""
    found: dict[str, object] = {}
    for run in sorted((root / "runs").iterdir()):
        assert json.loads((run / "record.json").read_text())["status"] == "done"
        found[run.name] = (
            (run / "model.safetensors").read_bytes(),
            (run / "scores.json").read_text(),
            pd.read_csv(run / "curves.csv").drop(columns="seconds").to_csv(),
            pd.read_parquet(run / "predictions.parquet").to_csv(),
        )
    return found


def kill_until_done(folder: Path, out: Path, times: int, longest: float, seed: int) -> int:
    """Interrupts ``times`` attempts at random moments, then lets one finish; how many were really interrupted."""
    dice, hits = random.Random(seed), 0
    for _ in range(times):
        process = start(folder, out)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(dice.uniform(0.5, longest))
        process.send_signal(dice.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT]))
        hits += process.wait(timeout=60) != 0
        process.stdout.close()
    process = start(folder, out)
    process.communicate(timeout=300)
    assert process.returncode == 0
    return hits


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("killed")
    words = [f"{a}{b} {n}" for a in ("lo", "mi", "ta") for b in ("ra", "ne", "su") for n in range(40)]
    rows = [f"{text}\t{text[::-1]}" for text in words]
    (place / "pairs.tsv").write_text("\n".join(["source\ttarget", *rows]) + "\n")
    (place / "killed.toml").write_text(EXPERIMENT)
    process = start(place, place / "whole")
    process.communicate(timeout=300)
    assert process.returncode == 0
    return place


@pytest.mark.parametrize("times", [3, pytest.param(50, marks=pytest.mark.slow)])
def test_killed_runs_end_as_if_nothing_had_happened(folder: Path, times: int) -> None:
    out = folder / f"killed-{times}"
    assert kill_until_done(folder, out, times, longest=4.0, seed=times) > 0
    assert outcome(out) == outcome(folder / "whole")
