"""Processes killed for real at random moments, by any signal, end with the same bits as ones left alone."""

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from commands import children
from crashing import outcome

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


def start(folder: Path, out: Path, jobs: int) -> "subprocess.Popen[str]":
    """With one job a worker goes on from one run to the next."""
    arguments = [str(folder / "killed.toml"), str(out), str(folder / "cache"), str(jobs)]
    command = [sys.executable, "-m", "tests.eager_work", *arguments]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, env={**os.environ})


def checkpoints(out: Path) -> set[str]:
    return {str(path) for path in out.glob("runs/*/checkpoint/0*")}


def kill(folder: Path, out: Path, times: int, longest: float, seed: int) -> None:
    """Kills ``times`` attempts of one or two jobs, or one of their workers, at random moments, then lets one finish.

    Whenever one was done before it was hit, what it left is compared and all begins anew.
    """
    dice, hits = random.Random(seed), 0
    while hits < times:
        process = start(folder, out, dice.randint(1, 2))
        assert process.stdout is not None
        before, training = checkpoints(out), dice.random() < 0.8
        process.stdout.readline()
        while training and checkpoints(out) <= before and process.poll() is None:
            time.sleep(0.05)  # until there is a new checkpoint
        time.sleep(dice.uniform(0.0, longest))
        workers = children(process.pid) if dice.random() < 0.3 else []
        victim = dice.choice(workers) if workers else process.pid
        with contextlib.suppress(ProcessLookupError):  # it was done a moment ago
            os.kill(victim, dice.choice([signal.SIGKILL, signal.SIGTERM, *([] if workers else [signal.SIGINT])]))
        hit = process.wait(timeout=120) != 0
        process.stdout.close()
        hits += hit
        if not hit:
            run_again(folder, out, dice.randint(1, 2))
            assert outcome(out) == outcome(folder / "whole")
            shutil.rmtree(out)
    run_again(folder, out, dice.randint(1, 2))


def run_again(folder: Path, out: Path, jobs: int) -> None:
    """Lets an attempt finish."""
    process = start(folder, out, jobs)
    process.communicate(timeout=300)
    assert process.returncode == 0


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("killed")
    words = [f"{a}{b} {n}" for a in ("lo", "mi", "ta") for b in ("ra", "ne", "su") for n in range(40)]
    rows = [f"{text}\t{text[::-1]}" for text in words]
    (place / "pairs.tsv").write_text("\n".join(["source\ttarget", *rows]) + "\n")
    (place / "killed.toml").write_text(EXPERIMENT)
    run_again(place, place / "whole", 2)
    return place


@pytest.mark.fault(
    "the command or a worker killed (SIGKILL, SIGTERM, SIGINT) at a random moment",
    "the same command resumes; weights, scores, curves and answers bitwise equal to an uninterrupted run",
)
@pytest.mark.parametrize("times", [5, pytest.param(50, marks=pytest.mark.slow)])
def test_killed_runs_end_as_if_nothing_had_happened(
    folder: Path, times: int, record_property: Callable[[str, object], None]
) -> None:
    out = folder / f"killed-{times}"
    kill(folder, out, times, longest=1.5, seed=times)
    record_property("times", times)
    assert outcome(out) == outcome(folder / "whole")


SINGLE = EXPERIMENT.replace('["decoder", "encoder"]', '["encoder-decoder"]').replace("30_000", "4_000")


def crash(folder: Path, out: Path, places: list[int]) -> list[list[str]]:
    """How many places to be killed at each attempt of the one run had, and what it left where it was not killed."""
    file = folder / "single.toml"
    file.write_text(SINGLE)
    command = [sys.executable, "-m", "tests.crashing", str(file), str(out), str(folder / "cache")]
    command.append(",".join(map(str, places)))
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=3600)
    assert done.returncode == 0, done.stderr
    return [line.split() for line in done.stdout.splitlines()]


@pytest.fixture(scope="module")
def single(folder: Path) -> tuple[int, str]:
    """How many places to be killed at a run has that is left alone, and what it leaves."""
    ((count, left),) = crash(folder, folder / "single", [0])
    assert int(count) > 100
    return int(count), left


@pytest.mark.fault(
    "a run killed at a random disk access, validation or gradient, ten times in a row",
    "bitwise equal at the end",
)
def test_a_run_killed_while_it_writes_ends_the_same(
    folder: Path, single: tuple[int, str], record_property: Callable[[str, object], None]
) -> None:
    """Ten kills in a row at random places, each attempt on what the one before left."""
    dice = random.Random(0)
    attempts = crash(folder, folder / "crashed", [*(dice.randrange(1, single[0] // 3) for _ in range(10)), 0])
    record_property("times", len(attempts) - 1)
    assert len(attempts) == 11 and attempts[-1][1] == single[1]


@pytest.mark.fault(
    "a run killed before or during each disk access, and before each validation and gradient",
    "bitwise equal at the end",
)
@pytest.mark.slow
def test_wherever_a_run_is_killed_it_ends_the_same(
    folder: Path, single: tuple[int, str], record_property: Callable[[str, object], None]
) -> None:
    """A kill at every place of a run, and the attempt after it."""
    places = [part for place in range(1, single[0] + 1) for part in (-place, 0)]
    (folder / "each").mkdir()
    attempts = crash(folder, folder / "each", places)
    record_property("times", single[0])
    assert {parts[1] for parts in attempts if len(parts) > 1} == {single[1]}
