"""The same command on a folder whose files changed since: what cannot be used is told with its cause, or done again."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from commands import RUNS, compare, done, finished, messages_in, scores

from archbench.runs.store import store
from archbench.runs.training import checkpoint

SINGLE = ("--jobs", "1", "--architectures", "decoder", "--seeds", "1")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An experiment, and in ``whole`` a comparison that is finished."""
    return finished(tmp_path_factory.mktemp("small"))


@pytest.mark.fault(
    "a file of a finished run changed, emptied or missing, then the same command",
    "reported with run and file; only those runs are done again, with the same scores",
)
def test_finished_runs_that_changed_are_done_again(
    folder: Path, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    out = tmp_path / "out"
    shutil.copytree(folder / "whole", out)
    changed, emptied, missing, _ = sorted((out / "runs").iterdir())
    (changed / "scores.json").write_text((changed / "scores.json").read_text().replace("0.", "1."))
    (emptied / "curves.csv").write_text("")
    (missing / "model.safetensors").unlink()
    record_property("times", RUNS - 1)
    status, errors = compare(folder, out, "--jobs", "1")
    assert status == 0 and not messages_in(errors)
    damaged = {changed: "scores.json", emptied: "curves.csv", missing: "model.safetensors"}
    for run, file in damaged.items():
        assert f"{run.name}: {file} has changed since the run was finished; it is done again" in errors.splitlines()
    assert sorted(done(errors)) == [run.name for run in damaged]
    assert scores(out) == scores(folder / "whole")


@pytest.mark.fault(
    "a checkpoint of another version, then the same command",
    "one line with the cause and what to do, status 1; nothing is overwritten",
)
def test_a_checkpoint_of_another_version_is_told_with_its_cause(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    shutil.copytree(folder / "whole", out)
    run = next((out / "runs").glob("colours-decoder-s0-*"))
    for name in ("record.json", store.MANIFEST):
        (run / name).unlink()
    monkeypatch.setattr(checkpoint, "VERSION", 99)
    checkpoint.save(run / "checkpoint", run.name, {part: {} for part in checkpoint.PARTS}, {"step": 1})
    before = {path: path.read_bytes() for path in (run / "checkpoint" / "000001").iterdir()}
    status, errors = compare(folder, out, *SINGLE)
    assert status == 1
    (line,) = messages_in(errors)
    assert line.startswith(f"archbench: {run.name} failed: ValueError: {run}/checkpoint/000001: ")
    assert "version 99, but this archbench reads archbench checkpoint version 4; remove the folder" in line
    assert line.endswith(f"; see {run / 'error.txt'}")
    assert {path: path.read_bytes() for path in (run / "checkpoint" / "000001").iterdir()} == before
