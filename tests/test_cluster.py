"""Whole comparisons on Ray and on submitit: the tables of a local one, also where nodes, jobs or drivers are killed."""

import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from commands import ROOT, RUNS, children, compare, finished, start

TABLES = {"runs": ["run"], "scores": ["run", "split", "metric"], "curves": ["run", "step", "split", "metric"]}
TABLES |= {"predictions": ["run", "example"], "references": ["dataset", "split", "name", "metric"]}


KILLS = 17  # on each of three executors


@pytest.fixture(autouse=True)
def as_fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray's processes give way to all others, by default."""
    monkeypatch.setenv("RAY_worker_niceness", "0")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An experiment, and a local comparison in ``whole``."""
    return finished(tmp_path_factory.mktemp("cluster"))


def contents(out: Path) -> dict[str, pd.DataFrame]:
    """The tables, without what clocks and memory measured."""
    tables = {}
    for name, keys in TABLES.items():
        table = pd.read_parquet(out / "tables" / f"{name}.parquet")
        measured = [column for column in table if re.search("second|bytes", column)]
        tables[name] = table.drop(columns=measured).sort_values(keys).reset_index(drop=True)
    return tables


def assert_as_local(place: Path, out: Path) -> None:
    """Every score, loss and answer of ``out`` is, to the bit, that of the local comparison; no lease is left."""
    ours, local = contents(out), contents(place / "whole")
    assert len(ours["runs"]) == RUNS
    for name, table in local.items():
        pd.testing.assert_frame_equal(ours[name], table, check_exact=True)
    assert not list(out.glob("runs/*/.lease-*"))


@pytest.mark.parametrize("on", ["ray", "slurm"])
def test_a_cluster_has_the_bits_of_a_local_comparison(place: Path, tmp_path: Path, on: str) -> None:
    status, errors = compare(place, tmp_path / "out", "--on", on, "--jobs", "2")
    assert status == 0, errors
    assert_as_local(place, tmp_path / "out")


class RayCluster:
    """A Ray cluster on this machine, of a head without CPUs and nodes of one CPU each."""

    def __init__(self, nodes: int) -> None:
        from ray.cluster_utils import Cluster

        self.cluster: Any = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
        self.nodes = [self.cluster.add_node(num_cpus=1) for _ in range(nodes)]

    def kill(self) -> None:
        """Kill one node at once, and add another."""
        self.cluster.remove_node(self.nodes.pop(0), allow_graceful=False)
        self.nodes.append(self.cluster.add_node(num_cpus=1))


def test_a_ray_node_killed_in_the_middle_changes_no_score(place: Path, tmp_path: Path) -> None:
    cluster = RayCluster(2)
    try:
        out = tmp_path / "out"
        more = {"RAY_ADDRESS": cluster.cluster.address, "ARCHBENCH_STALE_SECONDS": "5"}
        process = start(place, "compare", str(place / "small.toml"), "--out", str(out), "--on", "ray", env=more)
        while not list(out.glob("runs/*/.lease-*")):
            assert process.poll() is None, process.communicate()
            time.sleep(0.05)
        cluster.kill()
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors
        assert_as_local(place, out)
    finally:
        cluster.cluster.shutdown()


def test_a_preempted_job_saves_a_checkpoint_and_goes_on(place: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    more = ("--on", "slurm", "--jobs", "1", "--set", "budget.tokens=60_000")
    process = start(place, "compare", str(place / "small.toml"), "--out", str(out), *more)
    preempted = None
    while preempted is None:
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
        if list(out.glob("runs/*/.lease-*")):
            time.sleep(1.0)  # some steps
            preempted = next(iter(submitted(process.pid)), None)
    os.kill(preempted, signal.SIGUSR2)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    logs = "".join(path.read_text() for path in out.glob(".slurm/*_log.*"))
    assert "Requeued job" in logs
    status, errors = compare(place, tmp_path / "alone", "--set", "budget.tokens=60_000")
    assert status == 0, errors
    for name, table in contents(tmp_path / "alone").items():
        pd.testing.assert_frame_equal(contents(out)[name], table, check_exact=True)


def submitted(driver: int) -> list[int]:
    """The processes in which submitit runs the jobs of a driver."""
    below, jobs = [driver], []
    while below:
        pid = below.pop()
        below += children(pid)
        command = Path(f"/proc/{pid}/cmdline")
        if pid != driver and command.exists() and b"submitit.core._submit" in command.read_bytes():
            jobs.append(pid)
    return [pid for pid in jobs if not set(children(pid)) & set(jobs)]


@pytest.mark.slow
@pytest.mark.parametrize("on", ["local", "slurm", "ray"])
def test_kills_of_workers_and_drivers_lose_nothing_and_train_nothing_twice(
    place: Path, tmp_path: Path, on: str
) -> None:
    chance, out = random.Random(on), tmp_path / "out"
    kills, cluster = 0, RayCluster(2) if on == "ray" else None
    attempts = 0
    sealed: dict[str, int] = {}  # when each run was finished
    environment = {"ARCHBENCH_STALE_SECONDS": "3"}
    if cluster is not None:
        environment["RAY_ADDRESS"] = cluster.cluster.address
    try:
        while True:
            more = ("--out", str(out), "--on", on, "--jobs", "2", "--set", "budget.tokens=400_000")
            process = start(place, "compare", str(place / "small.toml"), *more, env=environment)
            while process.poll() is None and kills < KILLS:
                time.sleep(chance.uniform(0.5, 4.0))
                holders = [int(re.findall(r'"pid": (\d+)', path.read_text())[0]) for path in leases(out)]
                target = process.pid if chance.random() < 0.3 or not holders else chance.choice(holders)
                for path in out.glob("runs/*/manifest.json"):
                    sealed.setdefault(path.parent.name, path.stat().st_mtime_ns)
                if alive(target):
                    os.kill(target, signal.SIGKILL)
                    kills += 1
            _, errors = process.communicate(timeout=600)
            if process.returncode == 0:
                break
            attempts += kills == KILLS
            assert attempts < 4, errors  # the last kill may fail a run
        assert kills == KILLS
        finished_at = {path.parent.name: path.stat().st_mtime_ns for path in out.glob("runs/*/manifest.json")}
        assert len(finished_at) == RUNS
        assert {name: finished_at[name] for name in sealed} == sealed  # nothing finished was trained again
    finally:
        if cluster is not None:
            cluster.cluster.shutdown()
    status, errors = compare(place, tmp_path / "alone", "--set", "budget.tokens=400_000")
    assert status == 0, errors
    for name, table in contents(tmp_path / "alone").items():
        pd.testing.assert_frame_equal(contents(out)[name], table, check_exact=True)


def leases(out: Path) -> list[Path]:
    return [path for path in out.glob("runs/*/.lease-*") if path.stat().st_size]


def alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def test_a_detached_comparison_goes_on_and_reports_its_mistakes(place: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "archbench"]
    environment = {**os.environ, "ARCHBENCH_CACHE": str(place / "cache")}

    def called(*arguments: str) -> "subprocess.CompletedProcess[str]":
        options: dict[str, Any] = {"cwd": ROOT, "env": environment, "capture_output": True, "text": True}
        return subprocess.run([*command, *arguments], timeout=300, check=False, **options)

    out = tmp_path / "out"
    wrong = called("compare", str(place / "small.toml"), "--detach", "--out", str(out), "--device", "cuda")
    assert wrong.returncode == 2
    assert "no CUDA device" in wrong.stderr
    started = called("compare", str(place / "small.toml"), "--detach", "--out", str(out), "--jobs", "1")
    assert started.returncode == 0
    assert "running in the background as process" in started.stderr
    until = time.monotonic() + 120
    while "to resume" in (text := called("status", str(out)).stdout) or "none: all runs" not in text:
        assert time.monotonic() < until, (out / "compare.log").read_text()
        time.sleep(0.5)
    while not (out / "report" / "index.html").exists():
        assert time.monotonic() < until
        time.sleep(0.5)
    assert "done" in (out / "compare.log").read_text()
