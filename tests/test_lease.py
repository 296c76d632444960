"""The lease of a run: one process holds it, a dead or silent one loses it, whoever has lost it writes no more."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from archbench.runs.plans.messages import Ended, Progress
from archbench.runs.store import lease

HOLD = """
import sys, time
from pathlib import Path
from archbench.runs.store import lease
Path(sys.argv[1], "written").touch()
with lease.acquire(Path(sys.argv[1])) as held:
    stop = held.checking_lease(lambda: False)
    print("held", flush=True)
    while True:
        stop()
        with open(Path(sys.argv[1], "written"), "ab", buffering=0) as file:
            file.write(b".")
        time.sleep(0.01)
"""
CONTEND = """
import sys, time
from pathlib import Path
from archbench.runs.store import lease
folder, until = Path(sys.argv[1]), time.time() + float(sys.argv[2])
times = 0
while time.time() < until:
    try:
        with lease.acquire(folder):
            (folder / "inside").touch(exist_ok=False)
            times += 1
            (folder / "inside").unlink()
    except lease.Held:
        pass
print(times)
"""

RUNNING: list["subprocess.Popen[str]"] = []


@pytest.fixture(autouse=True)
def no_process_is_left() -> Iterator[None]:
    """A failed test leaves no process behind: it would fail a later test instead."""
    yield
    while RUNNING:
        with RUNNING.pop() as process:
            process.kill()


def started(code: str, *arguments: object) -> "subprocess.Popen[str]":
    command = [sys.executable, "-P", "-c", code, *map(str, arguments)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    RUNNING.append(process)
    return process


def holding(folder: Path) -> "subprocess.Popen[str]":
    process = started(HOLD, folder)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def free_after(monitor: lease.LeaseMonitor, seconds: float) -> bool:
    """Whether the run is free within so many seconds."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if monitor.poll() is None:
            return True
        time.sleep(0.02)
    return False


@pytest.fixture
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(lease.STALE, "1.5")


def test_a_run_has_one_holder_until_it_is_released(tmp_path: Path) -> None:
    with lease.acquire(tmp_path):
        with pytest.raises(lease.Held, match=f"process {os.getpid()} on "):
            lease.acquire(tmp_path)
        assert lease.is_live(tmp_path)
    assert not lease.is_live(tmp_path)
    assert list(tmp_path.iterdir()) == []
    with lease.acquire(tmp_path):
        assert lease.is_live(tmp_path)


def test_processes_that_contend_are_never_inside_together(tmp_path: Path) -> None:
    processes = [started(CONTEND, tmp_path, 3.0) for _ in range(4)]
    times = [int(process.communicate(timeout=60)[0]) for process in processes]
    assert [process.returncode for process in processes] == [0] * 4
    assert sum(times) > 20


def test_the_lease_of_a_killed_process_of_this_machine_is_free_at_once(tmp_path: Path) -> None:
    process = holding(tmp_path)
    assert lease.is_live(tmp_path)
    process.kill()
    process.communicate()
    assert not lease.is_live(tmp_path)
    with lease.acquire(tmp_path) as held:
        assert held.mine.number == 2
        assert [path.name for path in tmp_path.glob(".lease-*")] == [".lease-2"]


@pytest.mark.usefixtures("brief")
def test_a_living_holder_is_never_stale(tmp_path: Path) -> None:
    process = holding(tmp_path)
    assert not free_after(lease.LeaseMonitor(tmp_path), 4.0)
    process.kill()
    process.communicate()


@pytest.mark.usefixtures("brief")
def test_a_suspended_holder_loses_its_lease_and_writes_no_more(tmp_path: Path) -> None:
    process = holding(tmp_path)
    process.send_signal(signal.SIGSTOP)
    assert free_after(lease.LeaseMonitor(tmp_path), 20.0)
    with lease.acquire(tmp_path):
        before = (tmp_path / "written").stat().st_size
        process.send_signal(signal.SIGCONT)
        assert process.wait(timeout=60) == lease.LOST
        assert (tmp_path / "written").stat().st_size <= before + 1, "more than the write it was stopped in"
        assert lease.is_live(tmp_path)
    process.communicate()


@pytest.mark.usefixtures("brief")
def test_a_file_that_is_no_lease_is_one_until_it_is_stale(tmp_path: Path) -> None:
    (tmp_path / ".lease-7").write_text("cut o")
    with pytest.raises(lease.Held, match="another process"):
        lease.acquire(tmp_path)
    assert free_after(lease.LeaseMonitor(tmp_path), 20.0)
    assert lease.acquire(tmp_path).mine.number == 1


def test_two_that_find_a_lease_stale_revoke_it_once(tmp_path: Path) -> None:
    (tmp_path / ".lease-1").write_text("old")
    stale = lease.holder(tmp_path)
    assert stale is not None
    lease.revoke(tmp_path, stale)
    with lease.acquire(tmp_path) as held:
        assert held.mine.number == 1
        held.beat()
        lost: list[bool] = []
        held.lost = lambda: lost.append(True)
        lease.revoke(tmp_path, stale)  # late: the new holder gives way rather than share the run
        held.beat()
        assert lost == [True]


def test_the_file_shows_the_latest_progress(tmp_path: Path) -> None:
    with lease.acquire(tmp_path) as held:
        events: list[object] = []
        notify = held.reporting_progress(events.append)
        notify(Progress("a", "train", 50.0, 100.0, 2.5, 1000.0))
        notify(Ended("a", "done"))
        held.beat()
        holder = lease.holder(tmp_path)
        assert holder is not None
        assert holder.progress("a") == Progress("a", "train", 50.0, 100.0, None, 1000.0)
        assert len(events) == 2
