"""``archbench status``: where a comparison stands, from what its directing process and its runs leave in the folder."""

import json
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import synthetic
import tiny_runs
from fake_work import FakePlan
from hypothesis import given
from hypothesis import strategies as st

from archbench import background, command_line
from archbench.runs.execution import compare, progress_file, status, work
from archbench.runs.execution.execute import execute
from archbench.runs.execution.progress_file import ProgressWriter
from archbench.runs.execution.status import RunStatus, seconds_left
from archbench.runs.experiment import spec
from archbench.runs.plans.messages import Ended, Event, Interrupted, Progress
from archbench.runs.store import lease, locks, store
from archbench.tasks.base import sealed
from archbench.tasks.base.errors import InputError

NOW = 2_000_000_000.0


def called(*arguments: str) -> int:
    with pytest.raises(SystemExit) as error:
        command_line.main(["status", *arguments])
    assert isinstance(error.value.code, int)
    return error.value.code


def unfinished(root: Path, run: str, checkpoint: bool = False) -> None:
    """Takes a finished run back to where it trains."""
    synthetic.change_record(root, run, status="unfinished")
    if checkpoint:
        (root / "runs" / run / "checkpoint").mkdir()


@pytest.fixture
def stopped(tmp_path: Path) -> tuple[Path, list[str]]:
    """A comparison that was killed: failed, diverged, at work with and without a checkpoint, absent; the rest done."""
    root = tmp_path / "out"
    runs = synthetic.write_store(root)
    synthetic.fail(root, runs[0], error="RuntimeError: out\nof memory")
    synthetic.fail(root, runs[1], "diverged", "loss nan at step 3")
    unfinished(root, runs[2], checkpoint=True)
    unfinished(root, runs[3])
    shutil.rmtree(root / "runs" / runs[4])
    writer = ProgressWriter(root, 2, lambda: NOW - 100)
    writer.hear(Progress(runs[2], "data"))
    writer.hear(Progress(runs[3], "data"))
    writer.clock = lambda: NOW
    writer.hear(Progress(runs[2], "train", 1_000.0, 4_000.0, 2.5, 9_200.0))
    writer.save()
    return root, runs


def test_a_report_that_is_being_written_is_said(stopped: tuple[Path, list[str]]) -> None:
    root, _ = stopped
    assert not status.read(root, NOW).reporting
    with locks.locked(root, lambda line: None, locks.REPORT_LOCK):
        assert "the report is being written" in status.text(status.read(root, NOW))


def test_a_comparison_that_is_running_is_not_detached_again(held: tuple[Path, list[str]]) -> None:
    with pytest.raises(InputError, match="a comparison is running here already"):
        background.start(held[0], print)


@pytest.fixture
def held(stopped: tuple[Path, list[str]]) -> Iterator[tuple[Path, list[str]]]:
    """The same comparison while it goes on."""
    with locks.locked(stopped[0], lambda line: None):
        yield stopped


def states(root: Path) -> dict[str, str]:
    return {run.run: run.status for run in status.read(root, NOW).runs}


def test_a_stopped_comparison_says_what_is_done_failed_begun_and_absent(stopped: tuple[Path, list[str]]) -> None:
    root, runs = stopped
    expected = ["failed", "diverged", "interrupted", "interrupted", "waiting"]
    assert list(states(root).values()) == expected + ["done"] * (len(runs) - 5)
    comparison = status.read(root, NOW)
    assert comparison.working is False
    assert [run.cause for run in comparison.runs[:3]] == ["RuntimeError: out of memory", "loss nan at step 3", ""]
    assert [run.share for run in comparison.runs[2:4]] == [0.25, 0.0]
    assert comparison.runs[2].seconds == 100


def test_a_folder_that_holds_another_run_is_not_done(stopped: tuple[Path, list[str]]) -> None:
    root, runs = stopped
    shutil.rmtree(root / "runs" / runs[5])
    shutil.copytree(root / "runs" / runs[6], root / "runs" / runs[5])
    state_of = states(root)
    assert (state_of[runs[5]], state_of[runs[6]]) == ("waiting", "done")


def test_a_comparison_at_work_says_how_far_each_run_is(held: tuple[Path, list[str]]) -> None:
    root, runs = held
    comparison = status.read(root, NOW + 7)
    assert comparison.working and comparison.jobs == 2
    first, second = comparison.with_status("at work")
    assert (first.run, first.phase, first.share, first.silent_seconds) == (runs[2], "train", 0.25, 7)
    assert (second.run, second.phase, second.share, second.silent_seconds) == (runs[3], "data", 0.0, 107)
    assert first.tokens_per_second == 9_200


def test_a_comparison_that_starts_again_has_nothing_at_work_yet(held: tuple[Path, list[str]]) -> None:
    root, _ = held
    progress_file.pause(root)
    assert set(states(root).values()) == {"done", "failed", "diverged", "waiting"}
    assert status.read(root, NOW).runs[2].share == 0.25
    written = (root / progress_file.FILE).stat().st_mtime_ns
    progress_file.pause(root)
    assert (root / progress_file.FILE).stat().st_mtime_ns == written


def test_the_text_has_a_line_for_each_group_and_a_short_table(
    stopped: tuple[Path, list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    root, runs = stopped
    assert called(str(root)) == 0
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert lines[:3] == [f"{root}: imagined, 38 runs", "compare is not running in this folder", "done          33"]
    assert {"at work       0", "waiting       1", "failed        1", "diverged      1", "interrupted   2"} <= {*lines}
    assert any(line.startswith("time left     about") and line.endswith("once resumed") for line in lines)
    table = {line.split("  ")[0]: line for line in lines if line.startswith("phrases")}
    assert list(table) == [runs[2], runs[3], runs[0], runs[1]]
    assert "training 25%" in table[runs[2]] and "resumes from its checkpoint" in table[runs[2]]
    assert "starts from the beginning" in table[runs[3]]
    assert table[runs[0]].endswith("RuntimeError: out of memory")
    assert lines[-1] == "to resume: archbench compare imagined.toml --jobs 2"


def test_json_has_the_same_facts(held: tuple[Path, list[str]], capsys: pytest.CaptureFixture[str]) -> None:
    root, runs = held
    assert called(str(root), "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["working"] is True and facts["jobs"] == 2 and facts["seconds_left"] > 0
    at_work = {"done": 33, "at work": 2, "waiting": 1, "failed": 1, "diverged": 1, "interrupted": 0}
    assert facts["counts"] == at_work
    assert [run["run"] for run in facts["runs"]] == runs
    assert facts["runs"][0]["cause"] == "RuntimeError: out of memory"


def test_a_long_table_is_cut(tmp_path: Path) -> None:
    for run in synthetic.write_store(tmp_path):
        synthetic.fail(tmp_path, run)
    lines = status.text(status.read(tmp_path)).splitlines()
    assert "and 18 more; --json lists all" in lines and len(lines) < 35


def test_nothing_is_written_and_nothing_heavy_loaded(held: tuple[Path, list[str]]) -> None:
    root, _ = held
    before = {path: path.stat().st_mtime_ns for path in [root, *root.rglob("*")]}
    heavy = "{'torch', 'pandas', 'transformers', 'numpy'}"
    code = f"import sys\nfrom archbench import command_line\ntry: command_line.main(['status', {str(root)!r}])\n"
    code += f"finally: assert not {heavy} & set(sys.modules), {heavy} & set(sys.modules)"
    start = time.monotonic()
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert time.monotonic() - start < 5  # 0.3 s on an idle machine
    assert "compare is running in this folder, 2 jobs" in done.stdout
    assert {path: path.stat().st_mtime_ns for path in [root, *root.rglob("*")]} == before


@pytest.mark.parametrize("folder", ["nowhere", "", "file"])
def test_an_unknown_folder_is_one_line_and_status_2(
    folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    assert called(folder) == 2
    output, errors = capsys.readouterr()
    assert output == "" and len(errors.splitlines()) == 1
    assert ("is empty; name a folder" if not folder else f"{folder}: no experiment here") in errors


def test_a_folder_whose_runs_are_not_planned_yet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with locks.locked(tmp_path, lambda line: None):
        assert called(str(tmp_path)) == 0
    assert capsys.readouterr().out == f"{tmp_path}: no runs are planned yet\ncompare is running in this folder\n"


def test_trials_are_marked_and_what_waits_for_them_is_counted(tmp_path: Path) -> None:
    folder, root = tiny_runs.write_data(tmp_path), tmp_path / "out"
    values = {
        "name": "tuned",
        "architectures": ["decoder"],
        "budget": {"parameters": 20_000, "tokens": 2_500},
        "model": {"width": 32},
        "training": {"batch_tokens": 250, "precision": "float32"},
        "tuning": {"learning_rate": [0.001, 0.01], "dropout": [0.0]},
        "tasks": [{"name": "colours", **tiny_runs.TASKS["colours"]}],
    }
    experiment = spec.from_dict(values, folder=folder)
    matrix = tiny_runs.planned(experiment, folder, root)
    compare.write_head(experiment, matrix, root, "archbench compare", "")
    comparison = status.read(root)
    assert [(run.trial, run.status) for run in comparison.runs] == [(True, "waiting")] * 2
    assert comparison.after_trials == 1 and comparison.seconds_left is None
    lines = [" ".join(line.split()) for line in status.text(comparison).splitlines()]
    assert "waiting 2 (2 trials); 1 more after trials or pretrainings" in lines and "time left no estimate yet" in lines


def test_a_run_that_was_asked_to_stop_shows_its_share(tmp_path: Path) -> None:
    folder, root = tiny_runs.write_data(tmp_path), tmp_path / "out"
    values = {
        "name": "tiny",
        "architectures": ["decoder"],
        "budget": {"parameters": 20_000, "tokens": 2_500},
        "model": {"width": 32},
        "training": {"batch_tokens": 250, "precision": "float32"},
        "tasks": [{"name": "colours", "test_examples": 5, **tiny_runs.TASKS["colours"]}],
    }
    experiment = spec.from_dict(values, folder=folder)
    matrix = tiny_runs.planned(experiment, folder, root)
    compare.write_head(experiment, matrix, root, "archbench compare", "")
    (plan,) = matrix.plans
    writer, events = ProgressWriter(root, 1), []

    def notify(event: Event) -> None:
        writer.hear(event)
        events.append(event)

    place = store.run_folder(root, plan.run)
    with pytest.raises(Interrupted):
        work.perform(plan, place, notify, lambda: len(events) >= 5)
    writer.hear(Ended(plan.run, "interrupted"))
    writer.close()
    (run,) = status.read(root).runs
    assert run.status == "interrupted" and 0.4 < run.share < 0.6
    work.perform(plan, place, notify, lambda: False)
    writer.hear(Ended(plan.run, "done"))
    writer.close()
    comparison = status.read(root)
    assert comparison.runs[0].status == "done" and comparison.seconds_left == 0
    assert comparison.runs[0].seconds == pytest.approx(progress_file.read(root).seconds[plan.run])
    assert progress_file.read(root).runs == {} and not store.modified_files(place)


def test_the_directing_process_tells_of_runs_while_they_are_at_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress_file, "EVERY_SECONDS", 0.0)
    plans = [
        FakePlan("short-decoder-s0"),
        FakePlan("x-decoder-s0", "until stopped"),
        FakePlan("bad-decoder-s0", "fail"),
    ]
    rows = {plan.run: plan.labels() for plan in plans}
    store.write_experiment(tmp_path, name="mine", command="", version="", experiment={}, rows=rows, entries=[])

    def direct() -> None:
        with locks.locked(tmp_path, lambda line: None):
            execute(plans, tmp_path, 2, lambda event: None, "fake_work:perform")

    director = threading.Thread(target=direct)
    director.start()
    expected = ["done", "at work", "failed"]
    deadline = time.monotonic() + 30
    comparison = status.read(tmp_path)
    while not ([run.status for run in comparison.runs] == expected and comparison.runs[1].share):
        assert time.monotonic() < deadline
        time.sleep(0.02)
        comparison = status.read(tmp_path)
    assert comparison.working and comparison.runs[1].share == 0.5
    assert comparison.runs[2].cause == "ValueError: the loss is no number"
    (tmp_path / "runs" / "x-decoder-s0" / "checkpoint").touch()
    director.join(30)
    assert [run.status for run in status.read(tmp_path).runs] == ["done", "done", "failed"]
    assert status.read(tmp_path).working is False
    written = (tmp_path / progress_file.FILE).stat().st_mtime_ns
    execute(plans[:2], tmp_path, 2, lambda event: None, "fake_work:perform")
    assert (tmp_path / progress_file.FILE).stat().st_mtime_ns == written, "nothing to do writes nothing"


def test_progress_is_written_at_a_low_rate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, written = [0.0], []
    monkeypatch.setattr(progress_file.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(sealed, "write_json", lambda path, value: written.append(path))
    writer = ProgressWriter(tmp_path, 1)
    for step in range(600):
        clock[0] = step / 10
        writer.hear(Progress("a", "train", step, 600.0))
        writer.save_when_due()
    writer.close()
    assert len(written) <= 60 / progress_file.EVERY_SECONDS + 1


def test_a_comparison_goes_on_where_progress_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, value: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(sealed, "write_json", full)
    writer = ProgressWriter(tmp_path, 1)
    writer.hear(Progress("a", "data"))
    writer.close()


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["jobs", "runs", "seconds"]), inner),
    max_leaves=5,
)


@given(content=st.binary(max_size=20) | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_progress_file_is_read_or_left_out(content: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    root = tmp_path_factory.getbasetemp()
    (root / progress_file.FILE).write_bytes(content)
    assert progress_file.read(root).jobs >= 1


def test_status_is_whole_while_a_comparison_writes(stopped: tuple[Path, list[str]]) -> None:
    root, runs = stopped
    stop = threading.Event()

    def write() -> None:
        writer = ProgressWriter(root, 2)
        while not stop.is_set():
            for share in range(0, 101, 10):
                writer.hear(Progress(runs[2], "train", share, 100.0))
                writer.save()
                store.write_record(root / "runs" / runs[4], {"run": runs[4], "status": "unfinished"})

    thread = threading.Thread(target=write)
    with locks.locked(root, lambda line: None):
        thread.start()
        try:
            for _ in range(50):
                comparison = status.read(root, NOW)
                assert len(comparison.runs) == len(runs)
                assert comparison.runs[2].status in ("at work", "waiting")
        finally:
            stop.set()
            thread.join()


def test_a_lock_is_seen_and_not_disturbed(tmp_path: Path) -> None:
    assert locks.is_locked(tmp_path) is False
    messages: list[str] = []
    with locks.locked(tmp_path, messages.append):
        assert locks.is_locked(tmp_path) is True
    (tmp_path / "kept").touch()
    with locks.locked(tmp_path, messages.append):
        pass
    assert locks.is_locked(tmp_path) is False and messages == []


def test_without_locks_a_recent_sign_of_life_counts(
    stopped: tuple[Path, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    root, _ = stopped
    monkeypatch.setattr(locks, "is_locked", lambda root, lock=locks.LOCK: None)
    assert status.read(root, NOW + 5).runs[2].status == "at work"
    assert status.read(root, NOW + 1_000).runs[2].status == "interrupted"
    assert "unknown whether" in status.text(status.read(root, NOW))


def run_status(name: str, state: str = "waiting", **facts: Any) -> RunStatus:
    return RunStatus(name, "phrases", name, 0, False, state, **facts)


RUNS = st.lists(
    st.builds(
        RunStatus,
        run=st.text(max_size=3),
        dataset=st.sampled_from(["a", "b"]),
        architecture=st.sampled_from(["x", "y"]),
        seed=st.integers(0, 3),
        trial=st.booleans(),
        status=st.sampled_from(status.STATES),
        share=st.floats(0, 1),
        scored=st.floats(0, 1),
        seconds=st.none() | st.floats(0.1, 1e5),
        expected_seconds=st.none() | st.floats(0.1, 1e5),
    ),
    max_size=8,
)


@given(RUNS, st.integers(1, 8), st.floats(0, 1e5))
def test_an_estimate_needs_a_finished_run_and_shrinks_with_workers(
    runs: list[RunStatus], jobs: int, later: float
) -> None:
    left = seconds_left(runs, jobs, later)
    unended = later or any(run.status in ("at work", "waiting", "interrupted") for run in runs)
    experience = any(run.status == "done" and run.seconds for run in runs)
    assert (left is None) == bool(unended and not experience)
    if left is not None:
        assert left >= 0 and (unended or left == 0)
        more = seconds_left(runs, jobs + 1, later)
        assert more is not None and more <= left


def test_runs_take_what_finished_runs_like_them_took() -> None:
    slow, fast = run_status("slow", "done", seconds=100.0), run_status("fast", "done", seconds=10.0)
    assert seconds_left([slow, fast, run_status("slow")], 1) == 100
    assert seconds_left([slow, fast, run_status("fast"), run_status("fast")], 1) == 20
    assert seconds_left([slow, fast, run_status("other")], 1) == 55
    assert seconds_left([slow, run_status("slow", "at work", share=1.0, scored=0.5)], 1) == pytest.approx(5)
    expected = run_status("slow", "done", seconds=100.0, expected_seconds=50.0)
    assert seconds_left([expected, run_status("slow", expected_seconds=25.0)], 1) == 50
    assert seconds_left([expected, run_status("slow", expected_seconds=25.0)], 1, later=10.0) == 70


def test_a_run_that_a_node_performs_without_a_driver_is_at_work_there(
    stopped: tuple[Path, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    root, runs = stopped
    folder = root / "runs" / runs[2]
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr("platform.node", lambda: "node7")
        held = lease.acquire(folder)
    with held:
        held.reporting_progress(lambda event: None)(Progress(runs[2], "train", 40.0, 100.0, tokens_per_second=900.0))
        held.beat()
        now = (folder / ".lease-1").stat().st_mtime + 2
        listing = status.read(root, now)
        run = listing.runs[2]
        assert (run.status, run.host, run.share, run.tokens_per_second) == ("at work", "node7", 0.4, 900.0)
        (line,) = (line for line in status.text(listing).splitlines() if line.startswith(runs[2]))
        assert line.split() == [runs[2], "at", "work", "training", "40%", "node7", "2", "s", "ago", "900", "tokens/s"]
        assert status.read(root, now + lease.stale_seconds()).runs[2].status != "at work"
    assert status.read(root, now).runs[2].status != "at work"
