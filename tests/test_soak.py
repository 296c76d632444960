"""Two hundred tiny runs with kills at random and a damaged file: every table complete and right, memory flat."""

import os
import random
import re
import signal
import threading
import time
from pathlib import Path

import pandas as pd
import pytest
from commands import EXPERIMENT, children, start, write

pytestmark = pytest.mark.slow

SEEDS = 100  # of two architectures
KILLS = 12


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("soak")
    seeds = f"seeds = {list(range(SEEDS))}"
    write(place, EXPERIMENT.replace("seeds = [0, 1]", seeds).replace("tokens = 6_000", "tokens = 2_000"))
    return place


def resident(pid: int) -> float:
    """Megabytes of memory of a process, 0 where it is gone."""
    try:
        match = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    except OSError:
        return 0.0
    return int(match[1]) / 1024 if match else 0.0


def finished(out: Path) -> int:
    return len(list(out.glob("runs/*/manifest.json")))


KEYS = {
    "runs": ["run"],
    "scores": ["run", "split", "metric"],
    "curves": ["run", "step", "split", "metric"],
    "predictions": ["run", "example"],
    "references": ["dataset", "split", "name", "metric"],
    "datasets": ["dataset"],
    "entries": ["run", "role", "architecture"],
}


def contents(out: Path) -> dict[str, pd.DataFrame]:
    """The tables without what clocks and memory said."""
    frames = {name: pd.read_parquet(out / "tables" / f"{name}.parquet") for name in KEYS}
    assert len(frames["runs"]) == 2 * SEEDS and set(frames["runs"]["status"]) == {"done"}
    for name, table in frames.items():
        measured = [column for column in table if re.search("second|bytes", column)]
        frames[name] = table.drop(columns=measured).sort_values(KEYS[name]).reset_index(drop=True)
    return frames


@pytest.mark.fault(
    "200 runs with random kills and a damaged file",
    "every table complete and equal to that of an uninterrupted comparison",
)
def test_tables_are_complete_and_right_after_many_kills(folder: Path) -> None:
    """Kills hit the command or one of its workers; in between the scores of a finished run get another digit."""
    dice, out, file = random.Random(0), folder / "out", str(folder / "small.toml")
    damaged, messages = "", ""
    for number in range(KILLS):
        before = finished(out)
        process = start(folder, "compare", file, "--out", str(out))
        goal = before + dice.randrange(3, 15)
        while process.poll() is None and finished(out) < goal:
            time.sleep(0.05)
        time.sleep(dice.uniform(0, 0.5))
        victims = children(process.pid) if number % 3 == 2 else []
        for pid in [dice.choice(victims)] if victims else [process.pid]:
            os.kill(pid, dice.choice([signal.SIGKILL, signal.SIGTERM, signal.SIGINT]))
        if victims:  # the others go on: let them, for a moment
            time.sleep(1)
            process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=600)
        messages += errors if damaged else ""
        if number == KILLS // 2:
            path = sorted(out.glob("runs/*/scores.json"))[0]
            text = path.read_text()
            path.write_text(re.sub(r'"value": 0\.(\d)', lambda match: f'"value": 0.{9 - int(match[1])}', text))
            assert path.read_text() != text
            damaged = path.parent.name
    last = start(folder, "compare", file, "--out", str(out))
    _, errors = last.communicate(timeout=3600)
    assert last.returncode == 0, errors[-2000:]
    lines = [line for line in (messages + errors).splitlines() if "has changed since the run was finished" in line]
    assert lines and all(damaged in line for line in lines)
    whole = start(folder, "compare", file, "--out", str(folder / "whole"))
    whole.communicate(timeout=3600)
    assert whole.returncode == 0
    alone = contents(folder / "whole")
    for name, table in contents(out).items():
        pd.testing.assert_frame_equal(table, alone[name], obj=name)


@pytest.mark.fault(
    "200 runs in one command",
    "the command's memory stays within 5%",
)
def test_the_memory_of_the_command_stays_flat(folder: Path) -> None:
    """From the first tenth of the runs to the last one."""
    out, memory = folder / "flat", dict[int, float]()
    process = start(folder, "compare", str(folder / "small.toml"), "--out", str(out))
    reader = threading.Thread(target=process.communicate, daemon=True)
    reader.start()
    while process.poll() is None:
        count = finished(out)
        if 0 < count < 2 * SEEDS:
            memory[count] = resident(process.pid)
        time.sleep(0.1)
    reader.join()
    assert process.returncode == 0
    early = max(value for count, value in memory.items() if count <= SEEDS // 5)
    late = max(value for count, value in memory.items() if count > SEEDS)
    print(f"memory of the command: {early:.1f} MB at first, {late:.1f} MB at the end")
    assert late < 1.05 * early
