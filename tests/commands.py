"""The real command in a process of its own, on a comparison of a few seconds, for tests of faults around it."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

ROOT = Path(__file__).parents[1]
EXPERIMENT = """
name = "small"
architectures = ["decoder", "encoder"]
seeds = [0, 1]
[budget]
parameters = 20_000
tokens = 6_000
[model]
width = 32
[training]
batch_tokens = 512
precision = "float32"
[[tasks]]
kind = "classification"
name = "colours"
data = "things.csv"
tokenizer = "word"
vocabulary = 64
source_length = 8
test_examples = 10
"""
RUNS = 4


def finished(place: Path) -> Path:
    """A new folder with an experiment, and in ``whole`` a comparison that is finished."""
    write(place)
    assert compare(place, place / "whole", "--jobs", "1")[0] == 0
    return place


def write(folder: Path, experiment: str = EXPERIMENT) -> Path:
    """An experiment and its data in ``folder``; the experiment's file."""
    kinds = ("red house,warm", "red car,warm", "blue house,cold", "blue car,cold")
    rows = [kind.replace(",", f" {n},") for kind in kinds for n in range(60)]
    (folder / "things.csv").write_text("\n".join(["text,label", *rows]) + "\n")
    (folder / "small.toml").write_text(experiment)
    return folder / "small.toml"


def start(folder: Path, *arguments: str, **options: Any) -> "subprocess.Popen[str]":
    """``archbench`` with these arguments, its cache in ``folder``."""
    environment = {**os.environ, "ARCHBENCH_CACHE": str(folder / "cache"), **options.pop("env", {})}
    command = [sys.executable, "-m", "archbench", *arguments]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, cwd=ROOT, env=environment, **pipes, **options)


def compare(folder: Path, out: Path, *more: str, prepare: Callable[[], None] | None = None) -> tuple[int, str]:
    """Status and what was said on stderr by a comparison into ``out``."""
    process = start(folder, "compare", str(folder / "small.toml"), "--out", str(out), *more, preexec_fn=prepare)
    _, errors = process.communicate(timeout=600)
    return process.returncode, errors


def begun(folder: Path, out: Path, file: str) -> "subprocess.Popen[str]":
    """A comparison by one worker that goes on, once a run has the file."""
    process = start(folder, "compare", str(folder / "small.toml"), "--out", str(out), "--jobs", "1")
    while not list(out.glob(f"runs/*/{file}")):
        assert process.poll() is None
        time.sleep(0.02)
    return process


def children(parent: int) -> list[int]:
    """The processes that a process started (Linux); none where it is gone."""
    try:
        return [int(pid) for pid in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]
    except OSError:
        return []


def messages_in(errors: str) -> list[str]:
    """The lines that tell a mistake or a failure."""
    assert "Traceback" not in errors, errors
    return [line for line in errors.splitlines() if line.startswith("archbench: ")]


def done(errors: str) -> list[str]:
    """The runs that a comparison trained to their end."""
    return re.findall(r"^(\S+) done in ", errors, re.MULTILINE)


def scores(out: Path) -> str:
    """The table of scores of a comparison whose tables are complete, as text."""
    runs = pd.read_parquet(out / "tables" / "runs.parquet")
    assert list(runs["status"]) == ["done"] * len(runs)
    for table in (out / "tables").glob("*.parquet"):
        assert len(pd.read_csv(table.with_suffix(".csv"))) == len(pd.read_parquet(table))
    return pd.read_parquet(out / "tables" / "scores.parquet").to_csv(index=False)
