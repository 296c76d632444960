"""Checkpoints that are complete and intact, or not used.

    checkpoint/000007/model.safetensors  optimizer.safetensors  best.safetensors  state.json  manifest.json

A checkpoint is written aside, synchronised, read back and renamed; its manifest, with the SHA-256 of every part, comes
last. The previous checkpoint is kept, so training can resume from it if the newest is damaged. Nothing is unpickled.
"""

import json
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from torch import Tensor

from archbench.runs.store.weights import packed, unpacked
from archbench.tasks.base import sealed
from archbench.tasks.base.files import sync_folder, write_synced
from archbench.tasks.base.progress import Say

FORMAT = "archbench checkpoint"
VERSION = 4
PARTS = ("model", "optimizer", "best")
KEPT = 2

_MANIFEST = "manifest.json"
_ASIDE = ".partial-"


@dataclass(frozen=True)
class Checkpoint:
    """Tensors by part and name, on the CPU, and everything else that the run needs to resume."""

    tensors: dict[str, dict[str, Tensor]]
    state: dict[str, Any]


class DamagedError(Exception):
    """A checkpoint differs from what was saved; the message says how."""


def save(folder: Path, run: str, tensors: Mapping[str, Mapping[str, Tensor]], state: Mapping[str, Any]) -> None:
    """Add a checkpoint to `folder`, which belongs to one `run`, and drop all but the newest two.

    `tensors` has all of `PARTS`; `state` is JSON-able. Raises OSError (a full disk), with earlier checkpoints intact.
    """
    assert set(tensors) == set(PARTS), f"a checkpoint has the parts {PARTS}, not {tuple(tensors)}"
    folder.mkdir(parents=True, exist_ok=True)
    for leftover in folder.glob(f"{_ASIDE}*"):
        shutil.rmtree(leftover, ignore_errors=True)
    aside = Path(tempfile.mkdtemp(prefix=_ASIDE, dir=folder))
    try:
        _write(aside, run, {f"{part}.safetensors": packed(tensors[part], run) for part in PARTS}, state)
        _read(aside, run)
        before = _saved(folder)
        aside.rename(folder / f"{int(before[-1].name) + 1 if before else 1:06d}")
        sync_folder(folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    for old in _saved(folder)[:-KEPT]:
        shutil.rmtree(old, ignore_errors=True)


def load(folder: Path, run: str, say: Say) -> Checkpoint | None:
    """The newest intact checkpoint of `run`, or None if there is none.

    Damaged checkpoints are reported to `say` and removed. Raises ValueError for a checkpoint of another program or
    version, and OSError if one cannot be read now: it may be intact, so nothing is removed.
    """
    if folder.is_file():
        say(f"{folder}: is a file, not a folder of checkpoints; it is removed and training starts again")
        folder.unlink()
    saved = _saved(folder)
    for place in reversed(saved):
        try:
            return _read(place, run)
        except DamagedError as damage:
            before = place != saved[0]
            say(f"{place}: damaged ({damage}); {'trying the previous one' if before else 'training starts again'}")
            shutil.rmtree(place, ignore_errors=True)  # else it would soon take the place of an intact one
    return None


def _saved(folder: Path) -> list[Path]:
    """Checkpoints in `folder`, oldest first."""
    names = [path for path in folder.glob("*") if path.name.isdecimal() and path.is_dir()]
    return sorted(names, key=lambda path: int(path.name))


def _write(place: Path, run: str, files: dict[str, bytes], state: Mapping[str, Any]) -> None:
    files = {**files, "state.json": json.dumps(dict(state)).encode()}
    digests = {name: sealed.sha256(raw) for name, raw in files.items()}
    manifest = {"format": FORMAT, "version": VERSION, "run": run, "files": digests}
    for name, raw in [*files.items(), (_MANIFEST, sealed.sealed_text(manifest).encode())]:
        write_synced(place / name, raw)
    sync_folder(place)


def _read(place: Path, run: str) -> Checkpoint:
    listed = _files(place, run)
    contents = {name: _intact(place / name, digest) for name, digest in listed.items()}
    missing = {"state.json", *(f"{part}.safetensors" for part in PARTS)} - contents.keys()
    if missing:
        raise DamagedError(f"{min(missing)} is missing")
    try:
        tensors = {part: unpacked(contents[f"{part}.safetensors"], run) for part in PARTS}
        state = json.loads(contents["state.json"])
    except (SafetensorError, ValueError, RecursionError) as error:
        raise DamagedError(f"its parts are not what a checkpoint has: {error}") from None
    if not isinstance(state, dict):
        raise DamagedError("state.json has no state")
    return Checkpoint(tensors, state)


def _files(place: Path, run: str) -> dict[str, str]:
    """Name and SHA-256 of each part, as the manifest has them."""
    try:
        raw = _bytes(place / _MANIFEST)
        older = json.loads(raw).get("manifest")  # up to version 3, of which only the version is read
        manifest = dict(older or sealed.opened(raw))
    except (ValueError, TypeError, AttributeError, RecursionError):
        raise DamagedError(f"{_MANIFEST} is not as it was written") from None
    written = manifest.get("format"), manifest.get("version")
    if written != (FORMAT, VERSION):
        raise ValueError(
            f"{place}: {written[0]} version {written[1]}, but this archbench reads {FORMAT} version "
            f"{VERSION}; remove the folder to train this run from its beginning"
        )
    if manifest.get("run") != run:
        raise DamagedError(f"it is of another run, {manifest.get('run')}")
    files = manifest.get("files")
    if not isinstance(files, dict) or any(Path(name).name != name for name in files):
        raise DamagedError(f"{_MANIFEST} names no parts")
    return files


def _intact(path: Path, digest: str) -> bytes:
    raw = _bytes(path)
    if sealed.sha256(raw) != digest:
        raise DamagedError(f"{path.name} has changed")
    return raw


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise DamagedError(f"{path.name} is missing") from None
    except (IsADirectoryError, NotADirectoryError) as error:
        raise DamagedError(f"{path.name} cannot be read: {error.strerror}") from None
