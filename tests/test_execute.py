"""The executor: every run is done once, failures stay alone, signals lose nothing, no worker outlives its parent."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_work import FakePlan

from archbench.runs.execution.execute import Ended, Event, Outcome, Progress, execute
from archbench.runs.plans.messages import Capacity
from archbench.runs.store import store

WORK = "fake_work:perform"


def ignore(event: Event) -> None:
    pass


def run(
    plans: list[FakePlan], root: Path, jobs: int = 2, notify: Callable[[Event], None] = ignore, **more: Any
) -> Outcome:
    return execute(plans, root, jobs, notify, WORK, **more)


def attempts(root: Path, name: str) -> list[list[str]]:
    path = store.run_folder(root, name) / "attempts"
    return [line.split(" ") for line in path.read_text().splitlines()] if path.exists() else []


def record(root: Path, name: str) -> dict[str, Any]:
    row = store.read_record(store.run_folder(root, name))
    assert row is not None
    return row


def test_every_run_is_done_by_warm_workers_of_one_thread(tmp_path: Path) -> None:
    plans = [FakePlan(f"r{i}") for i in range(6)]
    outcome = run(plans, tmp_path)
    assert outcome == Outcome(done=tuple(plan.run for plan in plans))
    assert outcome.status == 0
    workers = {attempts(tmp_path, plan.run)[0][0] for plan in plans}
    assert len(workers) <= 2
    assert {record(tmp_path, plan.run)["threads"] for plan in plans} == {"1"}


def test_finished_runs_are_never_done_again(tmp_path: Path) -> None:
    run([FakePlan("a")], tmp_path)
    store.write_record(store.run_folder(tmp_path, "b"), {"run": "b", "status": "diverged"})
    outcome = run([FakePlan("a"), FakePlan("b"), FakePlan("c")], tmp_path)
    assert (outcome.skipped, outcome.done) == (("a", "b"), ("c",))
    assert len(attempts(tmp_path, "a")) == 1
    assert attempts(tmp_path, "b") == []


def test_a_run_named_twice_is_done_once(tmp_path: Path) -> None:
    assert run([FakePlan("a"), FakePlan("a")], tmp_path).done == ("a",)
    assert len(attempts(tmp_path, "a")) == 1


def test_nothing_to_do_starts_nothing(tmp_path: Path) -> None:
    assert run([], tmp_path) == Outcome()


def test_the_longest_run_comes_first(tmp_path: Path) -> None:
    plans = [FakePlan(f"r{seconds}", expected_seconds=seconds) for seconds in (1, 3, 2)]
    run(plans, tmp_path, jobs=1)
    assert sorted(("r1", "r2", "r3"), key=lambda name: float(attempts(tmp_path, name)[0][1])) == ["r3", "r2", "r1"]


def test_an_earlier_stage_comes_first_however_short(tmp_path: Path) -> None:
    plans = [FakePlan("long", expected_seconds=9, stage=1), FakePlan("short", expected_seconds=1)]
    run(plans, tmp_path, jobs=1)
    assert attempts(tmp_path, "short")[0][1] < attempts(tmp_path, "long")[0][1]


def test_a_run_that_raises_is_recorded_and_the_others_go_on(tmp_path: Path) -> None:
    outcome = run([FakePlan("bad", "fail"), FakePlan("good")], tmp_path, jobs=1)
    assert (outcome.done, outcome.failed, outcome.status) == (("good",), ("bad",), 1)
    assert outcome.causes == {"bad": "ValueError: the loss is no number"}
    row = record(tmp_path, "bad")
    assert (row["status"], row["error"]) == ("failed", "ValueError: the loss is no number")
    assert row["architecture"] == "decoder"
    traceback = (store.run_folder(tmp_path, "bad") / "error.txt").read_text()
    assert "fake_work.py" in traceback
    assert "Traceback" in traceback


def test_a_failed_run_is_tried_again(tmp_path: Path) -> None:
    assert run([FakePlan("a", "fail once")], tmp_path).failed == ("a",)
    assert run([FakePlan("a", "fail once")], tmp_path).done == ("a",)
    assert record(tmp_path, "a")["status"] == "done"
    assert not (store.run_folder(tmp_path, "a") / "error.txt").exists()


@pytest.mark.parametrize(("deed", "how"), [("die", "signal 9 (probably out of memory)"), ("leave", "exit status 3")])
def test_a_dead_worker_is_recorded_and_replaced(tmp_path: Path, deed: str, how: str) -> None:
    outcome = run([FakePlan("bad", deed, 9.0), FakePlan("a"), FakePlan("b")], tmp_path, jobs=1)
    assert (outcome.done, outcome.failed) == (("a", "b"), ("bad",))
    assert record(tmp_path, "bad")["error"] == f"worker died ({how})"


def test_the_last_words_of_a_dead_worker_are_kept(tmp_path: Path) -> None:
    run([FakePlan("bad", "die")], tmp_path)
    assert "last words" in (store.run_folder(tmp_path, "bad") / "error.txt").read_text()


def test_work_that_cannot_be_imported_fails_each_run(tmp_path: Path) -> None:
    outcome = execute([FakePlan("a"), FakePlan("b")], tmp_path, 1, ignore, "no_such_module:perform")
    assert outcome.failed == ("a", "b")
    assert "no_such_module" in record(tmp_path, "a")["error"]


def test_a_run_without_a_finished_record_failed(tmp_path: Path) -> None:
    outcome = execute([FakePlan("a")], tmp_path, 1, ignore, "fake_work:perform_nothing")
    assert outcome.failed == ("a",)


def test_a_full_disk_ends_what_has_not_begun(tmp_path: Path) -> None:
    outcome = run([FakePlan("full", "fill", 9.0), FakePlan("later")], tmp_path, jobs=1)
    assert (outcome.full, outcome.failed, outcome.unfinished, outcome.status) == (
        "No space left on device",
        ("full",),
        ("later",),
        1,
    )


def test_what_a_run_prints_goes_to_its_own_file(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    run([FakePlan("loud", "print", 2.0), FakePlan("quiet")], tmp_path, jobs=1)
    assert capfd.readouterr() == ("", "")
    text = (store.run_folder(tmp_path, "loud") / "output.txt").read_text()
    assert {"printed by Python", "complained by Python", "printed by another process"} <= set(text.splitlines())
    assert not (store.run_folder(tmp_path, "quiet") / "output.txt").exists()


def test_progress_and_ends_are_heard_in_order(tmp_path: Path) -> None:
    events: list[Event] = []
    run([FakePlan("a")], tmp_path, notify=events.append)
    assert events.pop(0) == Capacity(1)
    assert events == [Progress("a", "data"), Progress("a", "train", 50.0, 100.0, 2.5, 1000.0), Ended("a", "done")]


def test_each_worker_sees_its_own_gpu(tmp_path: Path) -> None:
    plans = [FakePlan(f"r{i}", "work") for i in range(8)]
    run(plans, tmp_path, jobs=2, gpus=["4", "7"])
    by_worker = {attempts(tmp_path, plan.run)[0][0]: attempts(tmp_path, plan.run)[0][2] for plan in plans}
    assert sorted(by_worker.values()) == ["4", "7"][: len(by_worker)]


@pytest.mark.parametrize("gpus, processes", [(["4"], 3), ([], 1)], ids=["gpu", "cpu"])
def test_after_a_failure_on_a_gpu_a_new_process_goes_on(tmp_path: Path, gpus: list[str], processes: int) -> None:
    plans = [FakePlan("r0", "raise", 3.0), FakePlan("r1", "raise", 2.0), FakePlan("r2", "work", 1.0)]
    outcome = run(plans, tmp_path, jobs=1, gpus=gpus)
    assert outcome.failed == ("r0", "r1") and outcome.done == ("r2",)
    assert len({attempts(tmp_path, plan.run)[0][0] for plan in plans}) == processes


def test_runs_that_never_began_are_recorded_as_unfinished(tmp_path: Path) -> None:
    run([FakePlan("full", "fill", 9.0), FakePlan("later")], tmp_path, jobs=1)
    assert record(tmp_path, "later") == {**FakePlan("later").row(), "status": "unfinished"}


PARENT = """
    import sys
    from pathlib import Path
    from archbench.runs.execution.execute import execute
    from fake_work import FakePlan
    plans = [FakePlan("long", sys.argv[2], 9.0), FakePlan("later", "work")]
    outcome = execute(plans, Path(sys.argv[1]), 1, lambda event: None, "fake_work:perform")
    print(outcome.done, outcome.unfinished, outcome.signal, flush=True)
    sys.exit(outcome.status)
"""


@pytest.fixture
def parent(tmp_path: Path) -> Iterator[Callable[[str], "subprocess.Popen[str]"]]:
    """Starts an executor in another process and waits until its first run beats."""
    started: list[subprocess.Popen[str]] = []

    def start(deed: str) -> "subprocess.Popen[str]":
        command = [sys.executable, "-c", textwrap.dedent(PARENT), str(tmp_path), deed]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parent)
        started.append(process)
        until(lambda: (store.run_folder(tmp_path, "long") / "beat").exists())
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def until(true: Callable[[], bool], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] != "Z"


Parent = Callable[[str], "subprocess.Popen[str]"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_checkpoints_and_the_same_call_goes_on(parent: Parent, tmp_path: Path, number: int) -> None:
    process = parent("until stopped")
    process.send_signal(number)
    output, _ = process.communicate(timeout=20)
    assert process.returncode == 128 + number
    assert output.strip() == f"() ('long', 'later') {int(number)}"
    assert (store.run_folder(tmp_path, "long") / "checkpoint").exists()
    assert run([FakePlan("long", "until stopped"), FakePlan("later")], tmp_path).status == 0


def test_a_terminal_interrupt_reaches_the_parent_alone(parent: Parent, tmp_path: Path) -> None:
    process = parent("until stopped")
    worker = int(attempts(tmp_path, "long")[0][0])
    os.kill(worker, signal.SIGINT)
    time.sleep(0.2)
    assert process.poll() is None
    assert alive(worker)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)
    assert (store.run_folder(tmp_path, "long") / "checkpoint").exists()


def test_a_second_signal_ends_at_once(parent: Parent, tmp_path: Path) -> None:
    process = parent("deaf")
    worker = int(attempts(tmp_path, "long")[0][0])
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=10)
    assert process.returncode == 130
    until(lambda: not alive(worker), 5)


def test_no_worker_outlives_a_killed_parent(parent: Parent, tmp_path: Path) -> None:
    process = parent("deaf")
    worker = int(attempts(tmp_path, "long")[0][0])
    process.kill()
    until(lambda: not alive(worker), 5)
    beat = (store.run_folder(tmp_path, "long") / "beat").read_text()
    time.sleep(0.2)
    assert (store.run_folder(tmp_path, "long") / "beat").read_text() == beat


def test_a_worker_told_to_stop_leaves_its_run_for_later(parent: Parent, tmp_path: Path) -> None:
    process = parent("until stopped")
    os.kill(int(attempts(tmp_path, "long")[0][0]), signal.SIGTERM)
    output, _ = process.communicate(timeout=20)
    assert output.strip() == "('later',) ('long',) None"
    assert process.returncode == 1
