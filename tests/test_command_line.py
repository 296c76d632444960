"""The command line: exit statuses, one line for each mistake, nothing done twice, and the same for notebooks."""

import contextlib
import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fake_work import FakePlan

import archbench
from archbench import command_line
from archbench.printing import complain_of
from archbench.runs.execution import compare
from archbench.runs.execution.execute import Outcome, execute
from archbench.runs.execution.progress import aligned
from archbench.runs.experiment.spec import Experiment
from archbench.runs.machine import capacity
from archbench.runs.plans.placement import Placement
from archbench.runs.store import store
from archbench.tasks.base import files
from archbench.tasks.base.errors import InputError

EXPERIMENT = """
name = "mine"
architectures = ["decoder", "encoder"]
seeds = [0, 1]
[budget]
parameters = 50_000
tokens = 100_000
[[tasks]]
data = "phrases-en-de"
name = "phrases"
[[tasks]]
data = "sentiment"
"""


@dataclass(frozen=True)
class FakeMatrix:
    plans: tuple[FakePlan, ...]
    entries: tuple[Placement, ...]
    datasets: tuple[dict[str, Any], ...]
    waiting_tasks: tuple[str, ...] = ()
    later: tuple[FakePlan, ...] = ()


@pytest.fixture
def deeds(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Runs of an experiment do nothing, or the deed that stands here under ``dataset-architecture-s<seed>``."""
    deeds_by_run: dict[str, str] = {}

    def planned(experiment: Experiment, root: Path, *_: object) -> tuple[FakeMatrix, str, int]:
        plans = [
            FakePlan(run, deeds_by_run.get(run, "work"))
            for task in experiment.tasks
            for architecture in task.architectures
            for seed in task.seeds
            for run in [f"{task.name}-{architecture}-s{seed}"]
        ]
        datasets = tuple({"dataset": task.name, "kind": task.kind} for task in experiment.tasks)
        rows = [plan.row() for plan in plans]
        entries = [
            Placement(row["run"], row["dataset"], "", row["match"], "compared", row["architecture"]) for row in rows
        ]
        return FakeMatrix(tuple(plans), tuple(entries), datasets), "cpu", 2

    def fake(plans: Any, root: Path, jobs: int, notify: Any, **options: Any) -> Outcome:
        return execute(plans, root, jobs, notify, "fake_work:perform", **options)

    monkeypatch.setattr("archbench.runs.execution.compare.planned", planned)
    monkeypatch.setattr("archbench.runs.execution.dry_run.planned", planned)
    monkeypatch.setattr("archbench.runs.execution.compare.checked_architectures", lambda *_: contextlib.nullcontext())
    monkeypatch.setattr("archbench.runs.execution.dry_run.checked_architectures", lambda *_, **__: previewed())
    monkeypatch.setattr("archbench.runs.execution.compare.execute", fake)
    monkeypatch.setattr("archbench.runs.execution.compare._complete_baselines", lambda *_: ())
    monkeypatch.setattr("archbench.runs.execution.compare._renew_numbers", lambda *_: None)
    return deeds_by_run


def previewed() -> contextlib.nullcontext[SimpleNamespace]:
    """Architectures of which nothing has to be checked."""
    return contextlib.nullcontext(SimpleNamespace(due=lambda plans: {}))


@pytest.fixture
def experiment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "mine.toml").write_text(EXPERIMENT)
    monkeypatch.chdir(tmp_path)
    return "mine.toml"


def status(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stopped:
        command_line.main(arguments)
    assert isinstance(stopped.value.code, int)
    return stopped.value.code


def run_names(root: Path) -> set[str]:
    return {path.name for path in (root / "runs").iterdir()}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["compar"], "No such command 'compar'"),
        (["compare", "--sedes", "3"], "No such option: --sedes"),
        (["compare", "--seeds", "0"], "Invalid value for '--seeds'"),
        (["compare", "--seeds", "many"], "Invalid value for '--seeds'"),
        (["compare", "--jobs", "0"], "Invalid value for '--jobs'"),
        (["compare", "a.toml", "b.toml"], "unexpected extra argument"),
        (["compare", "nope.toml"], "nope.toml: no such file"),
        (["compare", "mine.toml", "--preset", "quick"], "--preset: give an experiment file or a preset, not both"),
        (["compare", "--preset", "qick"], 'unknown preset "qick"; did you mean "quick"?'),
        (["compare", "--preset", ""], 'unknown preset ""'),
        (["compare", "mine.toml", "--tasks", "sentimnt"], 'no task "sentimnt"; did you mean "sentiment"?'),
        (["compare", "mine.toml", "--architectures", "decodr"], 'did you mean "decoder"?'),
        (["compare", "mine.toml", "--architectures", "absent.py"], "absent.py"),
        (["compare", "mine.toml", "--architectures", ","], "architectures: is empty"),
        (["compare", "mine.toml", "--match", "flop"], 'unknown axis "flop"; did you mean "flops"?'),
        (["compare", "mine.toml", "--device", "tpu"], '"tpu"'),
        (["list", "arch"], 'unknown "arch"; did you mean "architectures"?'),
        (["list"], "Missing argument"),
        (["report", "nowhere"], "nowhere: no experiment here"),
        (["predict", "nothing", "text"], "no run 'nothing'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_each_mistake_is_one_line_and_status_2(
    experiment: str, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert status(*arguments) == 2
    output, errors = capsys.readouterr()
    assert output == ""
    assert message in errors
    assert len(errors.strip().splitlines()) == 1
    assert errors.startswith("archbench: ")


def test_help_answers_at_once_and_loads_nothing_heavy() -> None:
    code = "import sys\nfrom archbench import command_line\ntry: command_line.main(['--help'])\n"
    code += "finally: assert 'torch' not in sys.modules"
    start = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert time.monotonic() - start < 5  # 1 s on an idle machine
    assert "compare" in done.stdout


def test_no_command_shows_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert status() == 0
    assert "Commands:" in capsys.readouterr().out


def test_the_version_is_the_distributions(capsys: pytest.CaptureFixture[str]) -> None:
    import importlib.metadata

    assert status("--version") == 0
    assert capsys.readouterr().out.startswith(f"archbench {importlib.metadata.version('archbench')}")


def test_a_comparison_leaves_records_and_a_page(
    experiment: str, deeds: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status("compare", experiment) == 0
    root = tmp_path / "results" / "mine"
    head = store.read_experiment(root)
    assert head["command"] == "archbench compare mine.toml"
    assert head["experiment"]["name"] == "mine"
    assert set(head["runs"]) == run_names(root)
    assert len(head["runs"]) == 8
    assert {path.stem for path in (root / "data").iterdir()} == {"phrases", "sentiment"}
    assert (root / "report" / "index.html").is_file()
    assert f"page: {Path('results') / 'mine' / 'report' / 'index.html'}" in capsys.readouterr().out


def test_the_same_command_again_does_nothing(experiment: str, deeds: dict[str, str], tmp_path: Path) -> None:
    for _ in range(2):
        assert status("compare", experiment, "--out", "there") == 0
    for run in run_names(tmp_path / "there"):
        assert len((store.run_folder(tmp_path / "there", run) / "attempts").read_text().splitlines()) == 1


def test_a_new_architecture_adds_only_its_runs(experiment: str, deeds: dict[str, str], tmp_path: Path) -> None:
    root = tmp_path / "there"
    status("compare", experiment, "--out", "there", "--tasks", "phrases", "--seeds", "1")
    before = run_names(root)
    status("compare", experiment, "--out", "there", "--tasks", "phrases", "--seeds", "1", "--architectures",
           "decoder,encoder,t5")  # fmt: skip
    assert run_names(root) - before == {"phrases-t5-s0"}
    assert store.read_experiment(root)["runs"] == ["phrases-decoder-s0", "phrases-encoder-s0", "phrases-t5-s0"]


def test_a_task_left_out_leaves_the_data_sets(experiment: str, deeds: dict[str, str], tmp_path: Path) -> None:
    status("compare", experiment, "--out", "there", "--seeds", "1")
    status("compare", experiment, "--out", "there", "--seeds", "1", "--tasks", "classification")
    assert [path.name for path in (tmp_path / "there" / "data").iterdir()] == ["sentiment.json"]


def test_a_failed_run_is_status_1_and_the_report_stands(
    experiment: str, deeds: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    deeds["phrases-decoder-s1"] = "fail"
    assert status("compare", experiment) == 1
    errors = capsys.readouterr().err
    run = "phrases-decoder-s1"
    last = f"archbench: {run} failed: ValueError: the loss is no number; see results/mine/runs/{run}/error.txt"
    assert errors.splitlines()[-1] == last
    assert (tmp_path / "results" / "mine" / "report" / "index.html").is_file()


def test_reference_rows_that_fail_are_status_1_and_the_report_stands(
    experiment: str,
    deeds: dict[str, str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        "archbench.runs.execution.compare._complete_baselines", lambda *_: ("phrases: its baselines failed: x",)
    )
    assert status("compare", experiment, "--seeds", "1") == 1
    assert "archbench: phrases: its baselines failed: x" in capsys.readouterr().err
    assert (tmp_path / "results" / "mine" / "report" / "index.html").is_file()


def test_a_full_disk_is_status_1_and_one_clear_line(
    experiment: str, deeds: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    deeds["phrases-decoder-s0"] = "fill"
    assert status("compare", experiment) == 1
    assert (
        "results/mine: No space left on device; free disk space, then run the same command" in capsys.readouterr().err
    )


def test_a_disk_that_is_full_from_the_start_is_no_traceback(
    experiment: str, deeds: dict[str, str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, data: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(files, "write_bytes", full)
    assert status("compare", experiment) == 1
    assert "No space left on device" in capsys.readouterr().err


def test_a_place_where_nothing_can_be_written_is_status_2(
    experiment: str, deeds: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert status("compare", experiment, "--out", "mine.toml") == 2
    assert capsys.readouterr().err.startswith("archbench: mine.toml: ")


def test_a_dry_run_shows_everything_and_does_nothing(
    experiment: str, deeds: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status("compare", experiment, "--dry-run") == 0
    output = capsys.readouterr().out.splitlines()
    assert output[0].split()[:4] == ["dataset", "architecture", "match", "seeds"]
    assert len([line for line in output if line.startswith("phrases")]) == 2
    assert output[-1].startswith("8 runs: about 4 s with 2 jobs, up to ")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.toml"]


def test_a_report_is_made_from_its_tables_alone(experiment: str, deeds: dict[str, str], tmp_path: Path) -> None:
    status("compare", experiment, "--out", "there")
    page = tmp_path / "there" / "report" / "index.html"
    before = page.read_bytes()
    for part in ("runs", "report", "data"):
        shutil.rmtree(tmp_path / "there" / part)
    assert status("report", "there") == 0
    assert page.read_bytes() == before


@pytest.mark.parametrize("what", ["architectures", "ablations", "tasks", "presets"])
def test_lists_have_a_line_for_each(capsys: pytest.CaptureFixture[str], what: str) -> None:
    assert status("list", what) == 0
    lines = capsys.readouterr().out.splitlines()
    first = {"architectures": "decoder", "ablations": "decoder-alibi", "tasks": "sentiment", "presets": "quick"}
    expected = first[what]
    assert expected in {line.split()[0] for line in lines}
    assert all(len(line.split(maxsplit=1)) == 2 for line in lines)


def test_notebooks_get_the_tables(experiment: str, deeds: dict[str, str], tmp_path: Path) -> None:
    tables = archbench.compare(experiment, seeds=1, out=tmp_path / "there")
    assert set(tables["runs"]["status"]) == {"done"}
    assert len(tables["runs"]) == 4
    again = archbench.compare({**as_dict(), "seeds": [0]}, out=tmp_path / "there")
    assert list(again["runs"]["run"]) == list(tables["runs"]["run"])


def test_notebooks_see_failed_runs_and_wrong_input(experiment: str, deeds: dict[str, str]) -> None:
    deeds["phrases-decoder-s0"] = "fail"
    runs = archbench.compare(experiment, seeds=1)["runs"].set_index("run")
    assert runs.loc["phrases-decoder-s0", "status"] == "failed"
    with pytest.raises(InputError, match="tasks: no task"):
        archbench.compare(experiment, tasks=["x"])
    with pytest.raises(InputError, match="unknown key"):
        archbench.compare({**as_dict(), "sedes": [0]})


def as_dict() -> dict[str, Any]:
    import tomllib

    return tomllib.loads(EXPERIMENT)


def signalled(number: int) -> "subprocess.Popen[bytes]":
    """Sends this process a signal once the first run has begun."""
    beat = Path("results/mine/runs/phrases-decoder-s0/beat")
    code = (
        "import os, sys, time\nfor _ in range(3000):\n    if os.path.exists(sys.argv[2]): break\n    time.sleep(0.02)\n"
    )
    code += "time.sleep(0.5); os.kill(int(sys.argv[1]), int(sys.argv[3]))"
    return subprocess.Popen([sys.executable, "-c", code, str(os.getpid()), str(beat), str(int(number))])


def test_an_interruption_counts_what_waits_for_unfinished_runs(capsys: pytest.CaptureFixture[str]) -> None:
    outcome = Outcome(done=("a",), unfinished=("b", "c"), signal=signal.SIGINT, waiting=16)
    complain_of(outcome, Path("results"))
    assert "interrupted; 2 of 3 runs are unfinished, and 16 more wait for them; run the" in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_the_same_command_goes_on(
    experiment: str, deeds: dict[str, str], capsys: pytest.CaptureFixture[str], number: int
) -> None:
    deeds["phrases-decoder-s0"] = "until stopped"
    with signalled(number):
        assert status("compare", experiment, "--seeds", "1") == 128 + number
    errors = capsys.readouterr().err
    assert "1 of 4 runs are unfinished; run the same command again" in errors
    assert "archbench report results/mine shows the runs that are finished" in errors
    assert not Path("results/mine/report").exists()  # who interrupts does not wait for it
    assert status("compare", experiment, "--seeds", "1") == 0


def test_cores_respect_a_quota(tmp_path: Path) -> None:
    (tmp_path / "cpu.max").write_text("100000 100000\n")
    assert capacity.cores(tmp_path / "cpu.max") == 1
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert capacity.cores(tmp_path / "cpu.max") == capacity.cores(tmp_path / "absent")


def test_jobs_are_one_for_each_core_or_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,MIG-abc")
    assert capacity.gpus() == ["2", "MIG-abc"]
    assert capacity.jobs("cuda") == 2
    assert capacity.jobs("cpu") == capacity.cores()
    assert capacity.jobs("cuda", 5) == 5
    monkeypatch.setattr(capacity, "cores", lambda: 16)
    assert [capacity.jobs("cuda", None, size) for size in (0, 300_000, 50_000_000)] == [2, 8, 2]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert capacity.jobs("cuda", None, 300_000) == 8
    monkeypatch.setattr(capacity, "cores", lambda: 1)
    assert capacity.jobs("cuda", None, 300_000) == 1


def test_the_cache_can_be_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ARCHBENCH_CACHE", str(tmp_path))
    assert compare.cache() == tmp_path
    monkeypatch.delenv("ARCHBENCH_CACHE")
    assert compare.cache().name == "archbench"


def test_columns_of_numbers_stand_at_the_right() -> None:
    assert aligned([["name", "n"], ["a", "10"], ["bcdef", "5"]]) == "name    n\na      10\nbcdef   5"
