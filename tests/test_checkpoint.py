"""Checkpoints: what was saved comes back, whatever is damaged is noticed and the one before is used."""

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from archbench.runs.training import checkpoint
from archbench.runs.training.checkpoint import PARTS, VERSION, DamagedError, load, save
from archbench.tasks.base import sealed

Parts = dict[str, dict[str, Tensor]]
RUN = "trec-decoder-s0-0123456789ab"
FILES = [*(f"{part}.safetensors" for part in PARTS), "state.json", "manifest.json"]


def tensors(seed: int) -> Parts:
    generator = torch.Generator().manual_seed(seed)
    shared = torch.randn(4, 3, generator=generator)
    return {
        "model": {"table": shared, "head": shared, "turned": torch.randn(5, 2, generator=generator).T},
        "optimizer": {"step": torch.tensor(float(seed)), "momentum": torch.randn(6, generator=generator).bfloat16()},
        "best": {},
    }


def equal(parts: Parts, other: Parts) -> bool:
    return all(parts[part].keys() == other[part].keys() for part in PARTS) and all(
        torch.equal(tensor, other[part][name]) for part in PARTS for name, tensor in parts[part].items()
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the checkpoints 1 and 2."""
    for step in (1, 2):
        save(tmp_path / "checkpoint", RUN, tensors(step), {"step": step, "best": float("inf")})
    return tmp_path / "checkpoint"


def loaded(folder: Path) -> tuple[int | None, list[str]]:
    """The step that is gone on from, and what was said."""
    messages: list[str] = []
    restored = load(folder, RUN, messages.append)
    if restored is None:
        return None, messages
    assert equal(restored.tensors, tensors(restored.state["step"]))
    return restored.state["step"], messages


def test_the_newest_comes_back_exactly(folder: Path) -> None:
    assert loaded(folder) == (2, [])


def test_none_where_nothing_was_saved(tmp_path: Path) -> None:
    assert loaded(tmp_path / "absent") == (None, [])
    assert loaded(tmp_path) == (None, [])


def test_the_newest_two_are_kept(folder: Path) -> None:
    for step in range(3, 13):
        save(folder, RUN, tensors(step), {"step": step})
    assert sorted(path.name for path in folder.iterdir()) == ["000011", "000012"]
    assert loaded(folder) == (12, [])


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-2])  # more than a line break


def empty(path: Path) -> None:
    path.write_bytes(b"")


def flip(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)


@pytest.mark.fault(
    "a part of a checkpoint truncated, emptied, flipped or missing",
    "detected and reported; the previous one is used, or the run starts again",
)
@pytest.mark.parametrize("damage", [truncate, empty, flip, Path.unlink])
@pytest.mark.parametrize("file", FILES)
def test_damage_is_noticed_and_the_one_before_is_used(folder: Path, file: str, damage: Callable[[Path], None]) -> None:
    damage(folder / "000002" / file)
    step, messages = loaded(folder)
    assert step == 1
    assert len(messages) == 1
    assert file in messages[0]
    assert not (folder / "000002").exists(), "it would take the place of an intact one"
    damage(folder / "000001" / file)
    step, messages = loaded(folder)
    assert step is None
    assert len(messages) == 1


@pytest.mark.fault(
    "a bit flipped in each byte of a manifest",
    "detected, or harmless",
)
def test_every_flipped_bit_of_the_manifest_is_noticed(
    folder: Path, record_property: Callable[[str, object], None]
) -> None:
    manifest = folder / "000002" / "manifest.json"
    whole = manifest.read_bytes()
    parts = {path.name: path.read_bytes() for path in manifest.parent.iterdir()}
    record_property("times", len(whole))
    for place in range(len(whole)):
        manifest.parent.mkdir(exist_ok=True)
        for name, content in parts.items():
            (manifest.parent / name).write_bytes(content)
        manifest.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        flipped = manifest.read_bytes()
        assert loaded(folder)[0] == 1 or json.loads(flipped) == json.loads(whole)


def test_saving_goes_on_after_damage(folder: Path) -> None:
    flip(folder / "000002" / "model.safetensors")
    save(folder, RUN, tensors(3), {"step": 3})
    assert loaded(folder) == (3, [])


def test_leftovers_of_an_interrupted_save_are_ignored_and_removed(folder: Path) -> None:
    stray = folder / ".partial-abc"
    stray.mkdir()
    (stray / "model.safetensors").write_bytes(b"half")
    assert loaded(folder) == (2, [])
    save(folder, RUN, tensors(3), {"step": 3})
    assert not stray.exists()


def test_a_failed_save_leaves_the_earlier_ones(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        save(folder, RUN, tensors(3), {"step": 3})
    assert sorted(path.name for path in folder.iterdir()) == ["000001", "000002"]
    assert loaded(folder) == (2, [])


@pytest.mark.fault(
    "a checkpoint that the disk damages during writing",
    "detected before older ones are deleted; the newest of those is used",
)
@pytest.mark.parametrize("file", FILES)
def test_older_ones_stay_until_the_new_one_has_been_read_back(
    folder: Path, monkeypatch: pytest.MonkeyPatch, file: str
) -> None:
    fsync, damaged = os.fsync, set[Path]()

    def bad(handle: int) -> None:
        fsync(handle)
        for written in set(folder.glob(f".partial-*/{file}")) - damaged:
            flip(written)
            damaged.add(written)

    with monkeypatch.context() as during:
        during.setattr(os, "fsync", bad)
        with pytest.raises(DamagedError, match=file):
            save(folder, RUN, tensors(3), {"step": 3})
    assert damaged
    assert sorted(path.name for path in folder.iterdir()) == ["000001", "000002"]
    assert loaded(folder) == (2, [])


@pytest.mark.fault(
    "a checkpoint of another version or program",
    "one line; nothing is overwritten",
)
@pytest.mark.parametrize("constant, value", [("VERSION", 99), ("FORMAT", "other checkpoint")])
def test_another_version_or_format_is_an_error(
    folder: Path, monkeypatch: pytest.MonkeyPatch, constant: str, value: object
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(checkpoint, constant, value)
        save(folder, RUN, tensors(3), {"step": 3})
    with pytest.raises(ValueError, match=f"{value}.*this archbench reads archbench checkpoint version {VERSION}"):
        loaded(folder)


def test_all_parts_are_wanted(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AssertionError, match="parts"):
        save(folder, RUN, {"model": {}, "optimizer": {}}, {})
    with monkeypatch.context() as patched:
        patched.setattr(checkpoint, "PARTS", ("model", "best"))
        save(folder, RUN, {"model": {}, "best": {}}, {"step": 3})
    step, messages = loaded(folder)
    assert step == 2
    assert "optimizer.safetensors is missing" in messages[0]


def test_two_intact_ones_are_kept_after_damage(folder: Path) -> None:
    flip(folder / "000002" / "model.safetensors")
    assert loaded(folder)[0] == 1
    save(folder, RUN, tensors(3), {"step": 3})
    flip(max(folder.iterdir()) / "model.safetensors")
    assert loaded(folder)[0] == 1


@pytest.mark.fault(
    "a checkpoint of another run",
    "detected and reported; the previous one is used",
)
def test_a_checkpoint_of_another_run_is_not_used(folder: Path) -> None:
    save(folder, "trec-encoder-s0-ba9876543210", tensors(3), {"step": 3})
    step, messages = loaded(folder)
    assert step == 2
    assert len(messages) == 1 and "of another run, trec-encoder-s0-ba9876543210" in messages[0]


def test_a_folder_in_the_place_of_a_file_is_damage(folder: Path) -> None:
    for name in ("model.safetensors", "manifest.json"):
        (folder / "000002" / name).unlink()
        (folder / "000002" / name).mkdir()
        step, messages = loaded(folder)
        assert step == 1 and f"{name} cannot be read" in messages[0]
        save(folder, RUN, tensors(2), {"step": 2})


def test_what_is_said_tells_whether_anything_is_left(folder: Path) -> None:
    flip(folder / "000002" / "state.json")
    assert loaded(folder)[1][0].endswith("trying the previous one")
    flip(folder / "000001" / "state.json")
    assert loaded(folder)[1][0].endswith("training starts again")


@pytest.mark.fault(
    "an intact checkpoint that cannot be read (disk error; no descriptors, memory or permission)",
    "one line; nothing is removed; the run resumes from it once it can be read",
)
@pytest.mark.parametrize("cause", [errno.EIO, errno.EMFILE, errno.ESTALE, errno.EACCES, errno.ENOMEM])
@pytest.mark.parametrize("name", FILES)
def test_what_cannot_be_read_now_is_not_damaged(
    folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, cause: int
) -> None:
    read = Path.read_bytes

    def refused(path: Path) -> bytes:
        if path.name == name:
            raise OSError(cause, os.strerror(cause), str(path))
        return read(path)

    with monkeypatch.context() as during:
        during.setattr(Path, "read_bytes", refused)
        with pytest.raises(OSError, match=os.strerror(cause)):
            loaded(folder)
    assert loaded(folder) == (2, [])


@pytest.mark.parametrize(
    "text", ["{}", "[]", "3", '"x"', "[" * 100_000, '{"sealed": {}}', '{"sealed": [], "sha256": 1}']
)
def test_a_manifest_of_another_shape_is_damage(folder: Path, text: str) -> None:
    (folder / "000002" / "manifest.json").write_text(text)
    step, messages = loaded(folder)
    assert step == 1 and len(messages) == 1 and "trying the previous one" in messages[0]


@pytest.mark.parametrize(
    "change",
    [
        lambda manifest: manifest.pop("run"),
        lambda manifest: manifest.pop("files"),
        lambda manifest: manifest.update(files=["state.json"]),
        lambda manifest: manifest.update(files={"../state.json": "0"}),
        lambda manifest: manifest.update(run="another"),
    ],
)
def test_a_well_sealed_manifest_that_is_none_is_damage(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    place = folder / "000002" / "manifest.json"
    manifest = sealed.read_sealed(place)
    change(manifest)
    sealed.write_sealed(place, manifest)
    step, messages = loaded(folder)
    assert step == 1 and len(messages) == 1


@pytest.mark.parametrize("name", FILES[:-1])
@pytest.mark.parametrize("raw", [b"", b"[]", b"nothing of the kind"])
def test_parts_that_are_sealed_and_nothing_of_the_kind_are_damage(folder: Path, name: str, raw: bytes) -> None:
    place = folder / "000002"
    (place / name).write_bytes(raw)
    manifest = sealed.read_sealed(place / "manifest.json")
    manifest["files"][name] = sealed.sha256(raw)
    sealed.write_sealed(place / "manifest.json", manifest)
    step, messages = loaded(folder)
    assert step == 1 and len(messages) == 1


def test_a_file_in_place_of_the_folder_is_told_and_gone_on_without(tmp_path: Path) -> None:
    (tmp_path / "checkpoint").write_text("mine")
    step, messages = loaded(tmp_path / "checkpoint")
    assert step is None and len(messages) == 1 and "training starts again" in messages[0]
    save(tmp_path / "checkpoint", RUN, tensors(1), {"step": 1})
    assert loaded(tmp_path / "checkpoint") == (1, [])


def test_a_checkpoint_of_the_format_before_seals_is_named_and_stays(folder: Path) -> None:
    save(folder, RUN, tensors(3), {"step": 3})
    latest = max(path for path in folder.iterdir() if path.is_dir())
    manifest = {"format": "archbench checkpoint", "version": 3, "run": RUN, "files": {}}
    (latest / "manifest.json").write_text(json.dumps({"manifest": manifest, "sha256": "0" * 64}))
    with pytest.raises(ValueError, match=r"checkpoint version 3, but this archbench reads"):
        loaded(folder)
    assert latest.is_dir()
