"""The store: whatever has its name is whole, one process writes at a time, runs are found by their names."""

import errno
import json
import os
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from archbench.runs.store import locks, store
from archbench.tasks.base import files, sealed
from archbench.tasks.base.errors import InputError


def experiment(root: Path, runs: list[str], **further: Any) -> None:
    store.write_experiment(
        root,
        name="x",
        command="archbench compare",
        version="0",
        experiment={},
        rows={run: {} for run in runs},
        entries=[],
        **further,
    )


def run(root: Path, name: str, **row: Any) -> Path:
    folder = store.run_folder(root, name)
    store.write_record(folder, {"run": name, **row})
    return folder


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("metrics", [{"metric": "chrf"}]),
        ("later", {"runs": 3}),
        ("until_decided", {"max_seeds": 5}),
        ("reproduces", "public-v1"),
        ("against", "public-v1"),
    ],
)
def test_what_only_some_experiments_have_is_written_where_there_is_some(tmp_path: Path, name: str, value: Any) -> None:
    experiment(tmp_path / "with", [], **{name: value})
    experiment(tmp_path / "without", [])
    head = store.read_experiment(tmp_path / "without")
    assert store.read_experiment(tmp_path / "with") == {**head, name: value} and name not in head


def test_a_write_leaves_the_whole_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "new" / "record.json"
    sealed.write_json(path, {"a": [1, 2.5, None], "text": "fünf\n"})
    assert sealed.read_json(path) == {"a": [1, 2.5, None], "text": "fünf\n"}
    assert os.listdir(path.parent) == ["record.json"]


def test_what_a_killed_process_left_is_no_part_of_a_finished_run(tmp_path: Path) -> None:
    folder = store.run_folder(tmp_path, "a-s0")
    (folder / "snapshots").mkdir(parents=True)
    left = folder / "snapshots" / ".00000012.safetensors.1a2b3c4d.tmp"
    left.write_bytes(b"half")
    run(tmp_path, "a-s0", status="done")
    left.unlink()
    assert store.is_finished(folder) and not store.modified_files(folder)


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "record.json"
    files.write_text(path, "old")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        files.write_text(path, "new")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["record.json"]


def test_numpy_values_and_infinities_survive(tmp_path: Path) -> None:
    sealed.write_json(tmp_path / "a.json", {"x": np.float32(0.5), "n": np.arange(2), "inf": float("inf")})
    assert sealed.read_json(tmp_path / "a.json") == {"x": 0.5, "n": [0, 1], "inf": float("inf")}


def test_a_record_is_read_back(tmp_path: Path) -> None:
    folder = run(tmp_path, "a-s0", status="done", steps=7)
    assert store.read_record(folder) == {"run": "a-s0", "status": "done", "steps": 7}
    assert store.read_record(tmp_path / "absent") is None


@pytest.mark.parametrize(
    ("status", "finished"), [("done", True), ("diverged", True), ("failed", False), ("unfinished", False)]
)
def test_done_and_diverged_runs_are_finished(tmp_path: Path, status: str, finished: bool) -> None:
    assert store.is_finished(run(tmp_path, "r", status=status)) is finished


def test_a_broken_record_is_named_and_counts_as_unfinished(tmp_path: Path) -> None:
    folder = run(tmp_path, "r", status="done")
    (folder / "record.json").write_text('{"status": "do')
    assert not store.is_finished(folder)
    with pytest.raises(InputError, match=r"record\.json: cannot be read as JSON"):
        store.read_record(folder)


def test_another_schema_is_refused_and_never_overwritten(tmp_path: Path) -> None:
    sealed.write_json(tmp_path / "experiment.json", {"schema": 999, "runs": []})
    with pytest.raises(InputError, match=f"schema 999, this archbench reads {store.SCHEMA}"):
        store.read_experiment(tmp_path)
    with pytest.raises(InputError, match="schema 999"):
        experiment(tmp_path, ["r"])
    assert sealed.read_json(tmp_path / "experiment.json")["schema"] == 999


def test_an_experiment_is_read_back(tmp_path: Path) -> None:
    experiment(tmp_path, ["b", "a"])
    assert store.read_experiment(tmp_path)["runs"] == ["b", "a"]
    with pytest.raises(InputError, match="no experiment here"):
        store.read_experiment(tmp_path / "absent")


def test_a_second_process_waits_and_says_so_once(tmp_path: Path) -> None:
    messages: list[str] = []
    order: list[str] = []

    def second() -> None:
        with locks.locked(tmp_path, messages.append):
            order.append("second")

    with locks.locked(tmp_path, messages.append):
        thread = threading.Thread(target=second)
        thread.start()
        while not messages:
            time.sleep(0.01)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]
    assert messages == [f"{tmp_path}: another compare is using this folder; waiting for it"]


def test_half_written_files_are_swept(tmp_path: Path) -> None:
    folder = run(tmp_path, "r")
    leftover = folder / ".scores.json.0123abcd.tmp"
    leftover.write_text("{")
    other_file = tmp_path / ".notes.tmp"
    other_file.write_text("of somebody else")
    with locks.locked(tmp_path, print):
        assert not leftover.exists()
    assert (folder / "record.json").exists() and other_file.exists()


def test_a_run_is_found_by_folder_name_or_unique_prefix(tmp_path: Path) -> None:
    first = run(tmp_path / "one", "trec-decoder-s0-aaaa")
    second = run(tmp_path / "two", "trec-decoder-s0-aaaabbbb")
    other = run(tmp_path / "one", "trec-encoder-s0-cccc")
    assert store.find_run(str(other), tmp_path) == other
    assert store.find_run("trec-e", tmp_path) == other
    assert store.find_run(first.name, tmp_path) == first
    assert store.find_run(second.name, tmp_path) == second


def test_a_run_is_found_by_the_beginning_of_its_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoder = run(tmp_path / "mine", "trec-decoder-s0-aaaa")
    encoder = run(tmp_path / "mine", "trec-encoder-s0-bbbb")
    alone = run(tmp_path / "other", "trec-decoder-s0-cccc")
    (tmp_path / "mine" / "runs" / "trec-decoder-notes").mkdir()  # no run
    monkeypatch.chdir(tmp_path)
    for text in ("mine/runs/trec-d", "mine/trec-d", "./mine/runs/trec-decoder-s0", str(tmp_path / "mine" / "trec-d")):
        assert store.find_run(text).resolve() == decoder
    assert store.find_run("other").resolve() == store.find_run("other/runs").resolve() == alone
    monkeypatch.chdir(tmp_path / "mine")
    assert store.find_run("trec-e").resolve() == store.find_run("runs/trec-e").resolve() == encoder
    with pytest.raises(InputError, match=r"2 runs begin with '\.\./mine': "):
        store.find_run("../mine")
    with pytest.raises(InputError, match=r"2 runs begin with 'runs/trec': runs/trec-decoder-s0-aaaa, runs/trec-enc"):
        store.find_run("runs/trec")
    with pytest.raises(InputError, match=r"no run '\.\./mine/x': .*in \.\./mine begins so; there are trec-decoder-s0"):
        store.find_run("../mine/x")


def test_no_run_and_many_runs_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is none yet"):
        store.find_run("x", tmp_path)
    run(tmp_path / "one", "trec-decoder-s0")
    run(tmp_path / "one", "trec-encoder-s0")
    with pytest.raises(InputError, match=r"no run 'x'.*there are trec-decoder-s0, trec-encoder-s0"):
        store.find_run("x", tmp_path)
    with pytest.raises(InputError, match="2 runs begin with 'trec': "):
        store.find_run("trec", tmp_path)


FILES = ("record.json", "scores.json", "snapshots/00000003.safetensors", "manifest.json")


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    """A finished run with scores, weights and a checkpoint that is about to go."""
    folder = store.run_folder(tmp_path, "r")
    for name in ("scores.json", "model.safetensors", *FILES[2:3], "checkpoint/1/state.json", "output.txt"):
        files.write_text(folder / name, "[1234]")
    store.write_record(folder, {"run": "r", "status": "done", "steps": 1234})
    (folder / "checkpoint" / "1" / "state.json").unlink()
    return folder


def flip(path: Path) -> None:
    path.write_text(path.read_text().replace("1234", "1235") if path.name != "manifest.json" else "{")


@pytest.mark.fault(
    "a file of a finished run changed, emptied or missing",
    "detected and reported; the run is left out of the report and done again",
)
@pytest.mark.parametrize("damage", [flip, Path.unlink, lambda path: path.write_text("")])
@pytest.mark.parametrize("name", FILES)
def test_a_finished_run_that_changed_is_no_longer_finished(finished: Path, name: str, damage: Any) -> None:
    assert store.is_finished(finished) and store.modified_files(finished, weights=True) == []
    flip(finished / "output.txt")
    assert store.is_finished(finished)
    damage(finished / name)
    modified = store.modified_files(finished, weights=True)
    assert modified == ([] if name == "manifest.json" and damage is Path.unlink else [name])
    only_weights = "snapshots" in name and damage is flip  # compared by size alone where nothing reads them
    assert store.is_finished(finished) == only_weights
    assert store.verified_record(finished).get("steps") == (1234 if only_weights else None)


@pytest.mark.fault(
    "a finished run that cannot be read for a while",
    "one line; the run is not done again, and nothing is removed",
)
@pytest.mark.parametrize("cause", [errno.EIO, errno.EMFILE, errno.EACCES])
@pytest.mark.parametrize("name", ["scores.json", "record.json", "manifest.json"])
def test_a_finished_run_that_cannot_be_read_now_is_not_done_again(
    finished: Path, monkeypatch: pytest.MonkeyPatch, name: str, cause: int
) -> None:
    opened = Path.open

    def refused(path: Path, *arguments: Any, **more: Any) -> Any:
        if path.name == name:
            raise OSError(cause, os.strerror(cause), str(path))
        return opened(path, *arguments, **more)

    with monkeypatch.context() as during:
        during.setattr(Path, "open", refused)
        with pytest.raises(OSError, match=os.strerror(cause)):
            store.is_finished(finished)
    assert store.is_finished(finished)


@pytest.mark.parametrize(
    "change", [dict.clear, lambda seals: seals.pop("scores.json"), lambda seals: seals.update(x=1)]
)
def test_a_list_of_files_that_was_changed_vouches_for_nothing(finished: Path, change: Any) -> None:
    path = finished / store.MANIFEST
    manifest = json.loads(path.read_text())
    change(manifest["sealed"])
    path.write_text(json.dumps(manifest))
    assert store.modified_files(finished) == [store.MANIFEST] and not store.is_finished(finished)
    path.write_text(json.dumps(manifest["sealed"]))
    assert store.modified_files(finished) == [store.MANIFEST] and not store.is_finished(finished)


@pytest.mark.parametrize("key", ["sealed", "sha256"])
def test_a_seal_whose_key_changed_is_broken(tmp_path: Path, key: str) -> None:
    sealed.write_sealed(tmp_path / "x.json", [{"value": 1}])
    assert sealed.read_sealed(tmp_path / "x.json") == [{"value": 1}]
    text = (tmp_path / "x.json").read_text()
    (tmp_path / "x.json").write_text(text.replace(f'"{key}"', f'"{key[:-1]}e"'))
    with pytest.raises(InputError, match="has changed since it was written"):
        sealed.read_sealed(tmp_path / "x.json")


def test_weights_are_compared_in_full_when_they_are_used(finished: Path) -> None:
    flip(finished / "model.safetensors")
    assert store.modified_files(finished) == []
    assert store.modified_files(finished, weights=True) == ["model.safetensors"]


def test_a_run_that_is_done_again_has_no_seal(finished: Path) -> None:
    store.write_record(finished, {"run": "r", "status": "unfinished"})
    assert not (finished / "manifest.json").exists() and store.modified_files(finished) == []


def test_two_locks_do_not_wait_for_each_other(tmp_path: Path) -> None:
    messages: list[str] = []
    leftover = tmp_path / "tables" / ".runs.parquet.0123abcd.tmp"
    files.write_text(leftover, "half")
    with locks.locked(tmp_path, messages.append):
        assert leftover.exists(), "a report that is being made meanwhile"
        with locks.locked(tmp_path, messages.append, locks.REPORT_LOCK):
            assert not leftover.exists()
    assert messages == []


def test_without_locks_it_is_said_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(file: object, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(locks.fcntl, "flock", no_locks)
    messages: list[str] = []
    with locks.locked(tmp_path, messages.append):
        pass
    assert messages == [
        f"{tmp_path}: this file system has no locks (No locks available); start one command at a time here"
    ]


def test_a_folder_that_nothing_was_written_to_is_taken_away_again(tmp_path: Path) -> None:
    root = tmp_path / "results" / "mine"
    messages: list[str] = []
    second = threading.Thread(target=lambda: waits(root, messages))
    with pytest.raises(InputError), locks.locked(root, messages.append):
        second.start()
        while not messages:
            time.sleep(0.01)
        raise InputError("the data are wrong")
    second.join()
    assert len(messages) == 1 and not (tmp_path / "results").exists()
    with locks.locked(root, messages.append):
        files.write_text(root / "experiment.json", "{}")
    assert (root / "experiment.json").exists()


def test_what_another_command_put_beside_it_stays(tmp_path: Path) -> None:
    root = tmp_path / "results" / "mine"
    with pytest.raises(InputError, match="wrong"), locks.locked(root, print):
        files.write_text(root.parent / "other" / "experiment.json", "{}")
        raise InputError("the data are wrong")
    assert not root.exists() and (root.parent / "other" / "experiment.json").exists()


def waits(root: Path, messages: list[str]) -> None:
    with locks.locked(root, messages.append):
        assert root.is_dir() and (root / locks.LOCK).exists()


def test_a_changed_digit_of_what_is_sealed_is_told(tmp_path: Path) -> None:
    value = [{"name": "majority", "value": 0.391, "n": float("inf")}]
    sealed.write_sealed(tmp_path / "a.json", value)
    assert sealed.read_sealed(tmp_path / "a.json") == value
    path = tmp_path / "a.json"
    path.write_text(path.read_text().replace("0.391", "0.397"))
    with pytest.raises(InputError, match=r"a\.json: has changed since it was written; delete it and run compare again"):
        sealed.read_sealed(path)


def test_a_changed_experiment_is_told(tmp_path: Path) -> None:
    experiment(tmp_path, ["b", "a"])
    path = tmp_path / "experiment.json"
    path.write_text(path.read_text().replace('"b"', '"c"'))
    with pytest.raises(InputError, match="has changed since it was written"):
        store.read_experiment(tmp_path)
    for head in ({}, {"runs": [[1]]}, {"runs": ["a"], "name": "x"}):
        sealed.write_json(path, {"schema": store.SCHEMA, **head})
        with pytest.raises(InputError, match="is an incomplete record of an experiment"):
            store.read_experiment(tmp_path)
    path.write_text("[" * 100_000)
    with pytest.raises(InputError, match="cannot be read as JSON"):
        store.read_experiment(tmp_path)


@pytest.mark.parametrize("name", ["/dev/zero", "../../secret"])
def test_a_manifest_that_names_files_elsewhere_is_damaged(finished: Path, name: str) -> None:
    sealed.write_json(finished / "manifest.json", {name: [0, "x"]})
    assert store.modified_files(finished) == ["manifest.json"]


def test_only_files_that_are_sealed_are_ours(tmp_path: Path) -> None:
    sealed.write_sealed(tmp_path / "ours.json", {"a": 1})
    sealed.write_json(tmp_path / "theirs.json", {"a": 1})
    assert sealed.is_sealed(tmp_path / "ours.json") and not sealed.is_sealed(tmp_path / "theirs.json")
