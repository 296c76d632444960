"""Two commands on one folder: one waits, no run is trained twice, no table is torn; a dead one is in nobody's way."""

import signal
from pathlib import Path

import pandas as pd
import pytest
from commands import RUNS, begun, compare, done, messages_in, scores, start, write


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("small")
    write(place)
    return place


@pytest.mark.fault(
    "two comparisons started at once in one folder",
    "one waits and says so; no run is trained twice; tables are complete",
)
def test_one_waits_and_then_finds_everything_done(folder: Path) -> None:
    file, out = str(folder / "small.toml"), folder / "out"
    commands = [
        ["compare", file, "--out", str(out)],
        ["compare", file, "--out", str(out), "--architectures", "decoder"],
    ]
    processes = [start(folder, *command) for command in commands]
    errors = [process.communicate(timeout=600)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], errors
    assert sum("waiting for it" in text for text in errors) == 1
    trained = [run for text in errors for run in done(text)]
    assert len(trained) == len(set(trained)) == RUNS
    assert not any(messages_in(text) for text in errors)
    assert len(scores(out).splitlines()) > 2, "the tables are whole, whoever came last"
    assert not list(out.rglob("*.tmp"))


@pytest.mark.fault(
    "a report while a comparison writes",
    "complete tables of the finished runs",
)
@pytest.mark.slow
def test_a_report_does_not_wait_for_a_comparison(folder: Path, tmp_path: Path) -> None:
    """A report of what there is, again and again while the runs go on, is whole every time."""
    out = tmp_path / "out"
    process = begun(folder, out, "manifest.json")
    reported = start(folder, "report", str(out))
    _, errors = reported.communicate(timeout=600)
    assert reported.returncode == 0 and "Traceback" not in errors
    assert set(pd.read_parquet(out / "tables" / "runs.parquet")["status"]) <= {"done", "unfinished"}
    process.communicate(timeout=600)
    assert process.returncode == 0
    scores(out)


@pytest.mark.fault(
    "a comparison started where one was killed",
    "resumes at once",
)
@pytest.mark.slow
def test_a_dead_command_is_in_nobodys_way(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    process = begun(folder, out, "record.json")
    process.send_signal(signal.SIGKILL)
    process.communicate()
    status, errors = compare(folder, out)
    assert status == 0 and "waiting" not in errors
    scores(out)
