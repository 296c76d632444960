"""Executors: runs on Ray and on submitit are done as on this machine, once, and what others perform is waited for."""

import os
import socket
import threading
import time
from collections import deque
from pathlib import Path

import pytest
from fake_work import FakePlan
from test_execute import attempts, ignore, record

from archbench.runs.execution.execute import execute
from archbench.runs.executors import executor
from archbench.runs.executors.cluster import Cluster
from archbench.runs.executors.executor import ExecutorOptions, On
from archbench.runs.executors.job import STOP, Job, Result
from archbench.runs.plans.messages import Ended, Event, LogLine, Progress
from archbench.runs.store import lease, store
from archbench.tasks.base.errors import InputError

WORK = "fake_work:perform"
CLUSTERS: list[On] = ["ray", "slurm"]


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """The nodes find the fake work."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)


@pytest.mark.parametrize("on", CLUSTERS)
def test_a_cluster_does_every_run_once_and_records_failures(tmp_path: Path, on: On) -> None:
    plans = [FakePlan("a"), FakePlan("b"), FakePlan("bad", "fail"), FakePlan("dead", "die")]
    outcome = execute(plans, tmp_path, 2, ignore, WORK, on=on)
    assert (outcome.done, outcome.failed, outcome.unfinished) == (("a", "b"), ("bad", "dead"), ())
    assert outcome.causes["bad"] == "ValueError: the loss is no number"
    assert "worker died (signal 9" in outcome.causes["dead"]
    assert [len(attempts(tmp_path, plan.run)) for plan in plans] == [1] * 4
    assert record(tmp_path, "a")["threads"] == "1"
    assert not list(tmp_path.glob("runs/*/.lease-*"))


class ThreadEngine:
    """Jobs in threads of this process."""

    slots, queue = 2, 2

    def __init__(self, lost: bool = False) -> None:
        self.results: dict[int, Result | str] = {}
        self.lost, self.submitted, self.cancelled = lost, 0, list[int]()

    def submit(self, jobs: list[Job]) -> list[int]:
        handles = []
        for job in jobs:
            self.submitted += 1
            handles.append(self.submitted)
            threading.Thread(target=self._run, args=(self.submitted, job), daemon=True).start()
        return handles

    def _run(self, handle: int, job: Job) -> None:
        result = job()
        self.results[handle] = "the node was lost" if self.lost else result

    def ended(self, handles: list[int], seconds: float) -> dict[int, Result | str]:
        time.sleep(seconds / 10)
        return {handle: self.results.pop(handle) for handle in list(self.results)}

    def cancel(self, handles: list[int]) -> None:
        self.cancelled += handles

    def close(self) -> None:
        pass


def performed(cluster: Cluster, plans: list[FakePlan], seconds: float = 30.0) -> list[Event]:
    for plan in plans:
        store.write_record(store.run_folder(cluster.options.root, plan.run), {**plan.row(), "status": "unfinished"})
    waiting, events, until = deque(plans), list[Event](), time.monotonic() + seconds
    while waiting or cluster.is_busy():
        cluster.start(waiting)  # type: ignore[arg-type]
        events += cluster.events(0.2)
        assert time.monotonic() < until
    return events


def test_no_more_jobs_are_submitted_than_the_engine_takes(tmp_path: Path) -> None:
    cluster = Cluster(ThreadEngine(), ExecutorOptions(tmp_path, work=WORK))
    events = performed(cluster, [FakePlan(f"r{number}") for number in range(5)])
    assert sorted(event.run for event in events if isinstance(event, Ended)) == [f"r{number}" for number in range(5)]


@pytest.mark.parametrize(("deed", "status"), [("work", "done"), ("fail", "failed")])
def test_a_job_that_the_engine_lost_is_judged_by_its_folder(tmp_path: Path, deed: str, status: str) -> None:
    cluster = Cluster(ThreadEngine(lost=True), ExecutorOptions(tmp_path, work=WORK))
    (event,) = (event for event in performed(cluster, [FakePlan("a", deed)]) if isinstance(event, Ended))
    assert event.status == status
    assert event.error == ("the node was lost" if deed == "fail" else "")


def test_a_stopped_cluster_saves_checkpoints_and_goes_on_from_there(tmp_path: Path) -> None:
    plan = FakePlan("a", "until stopped")
    cluster = Cluster(ThreadEngine(), ExecutorOptions(tmp_path, work=WORK))
    folder = store.run_folder(tmp_path, "a")

    def stop() -> None:
        while not (folder / "beat").exists():
            time.sleep(0.02)
        cluster.stop()

    threading.Thread(target=stop).start()
    (event,) = (event for event in performed(cluster, [plan]) if isinstance(event, Ended))
    assert event == Ended("a", "interrupted")
    assert (folder / "checkpoint").exists()
    again = Cluster(ThreadEngine(), ExecutorOptions(tmp_path, work=WORK))
    assert not (tmp_path / STOP).exists()
    assert [event.status for event in performed(again, [plan]) if isinstance(event, Ended)] == ["done"]


def test_a_node_that_does_not_see_the_folder_says_so(tmp_path: Path) -> None:
    result = Job(FakePlan("a"), str(tmp_path / "elsewhere"), WORK)()
    assert result.ended.status == "failed"
    assert "--out must be on a file system shared by all nodes" in result.ended.error


@pytest.mark.parametrize("on", ["local", "slurm"])
def test_a_run_that_another_process_performs_is_waited_for(tmp_path: Path, on: On) -> None:
    folder = store.run_folder(tmp_path, "a")
    events: list[Event] = []
    held = lease.acquire(folder)

    def finish() -> None:
        with held:
            notify = held.reporting_progress(ignore)
            notify(Progress("a", "train", 50.0, 100.0))
            held.beat()
            while Progress("a", "train", 50.0, 100.0) not in events:
                time.sleep(0.02)
            store.write_record(folder, {**FakePlan("a").row(), "status": "done"})

    thread = threading.Thread(target=finish)
    thread.start()
    outcome = execute([FakePlan("a"), FakePlan("b")], tmp_path, 1, events.append, WORK, on=on)
    thread.join()
    assert outcome.done == ("a", "b")
    assert attempts(tmp_path, "a") == []
    (line,) = (event.line for event in events if isinstance(event, LogLine))
    assert line.startswith(f"process {os.getpid()} on ")
    assert Progress("a", "train", 50.0, 100.0) in events


def test_a_run_whose_holder_is_silent_is_taken_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(lease.STALE, "1")
    lease.acquire(store.run_folder(tmp_path, "a"))  # without heartbeats
    assert execute([FakePlan("a")], tmp_path, 1, ignore, WORK).done == ("a",)
    assert len(attempts(tmp_path, "a")) == 1


def test_an_unknown_executor_and_a_missing_package_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match='--on: "moon": expected local, ray, slurm'):
        executor.named("moon")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"the package submitit is not installed; pip install 'archbench\[slurm\]'"):
        executor.check("slurm")
    executor.check("local")


def test_an_address_without_a_ray_cluster_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as unused:  # bound, and not listening
        unused.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{unused.getsockname()[1]}"
        monkeypatch.setenv("RAY_ADDRESS", address)
        with pytest.raises(InputError, match=f"RAY_ADDRESS: {address}: no Ray cluster answers"):
            executor.check("ray")


def test_ray_client_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "ray://somewhere:10001")
    with pytest.raises(InputError, match="Ray Client is not supported"):
        executor.opened("ray", ExecutorOptions(tmp_path, 1))
