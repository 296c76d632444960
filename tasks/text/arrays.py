"""Folders of memory-mapped arrays that are complete and intact, or absent.

Arrays grow in pieces beside their final place; a manifest with sizes and SHA-256 comes last, then one rename. Opening
checks them, so that a truncated or damaged folder is never used.
"""

import hashlib
import os
import secrets
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from archbench.tasks.base import sealed
from archbench.tasks.base.files import sync, write_synced

MANIFEST = "manifest.json"
FULL_CHECK = 1 << 28  # bytes of the largest folder that is hashed completely when it is opened
_BLOCK = 1 << 16
_STALE = 86_400.0  # age in seconds at which the remains of an interrupted writer are removed


@dataclass
class ArrayWriter:
    """Appends to named one-dimensional arrays in ``folder``; ``facts`` go into the manifest."""

    folder: Path
    facts: dict[str, Any] = field(default_factory=dict)
    _files: dict[str, "_File"] = field(default_factory=dict)

    def append(self, name: str, values: NDArray[Any]) -> None:
        if name not in self._files:
            self._files[name] = _File((self.folder / name).open("wb"), values.dtype.str)
        self._files[name].write(values)

    def finish(self) -> None:
        """Writes everything to disk, the manifest last."""
        arrays = {name: file.finish() for name, file in self._files.items()}
        for name, entry in arrays.items():
            entry["sample"] = _sampled(self.folder / name, entry["size"])
        write_synced(self.folder / MANIFEST, sealed.sealed_text({"facts": self.facts, "arrays": arrays}).encode())

    def close(self) -> None:
        for file in self._files.values():
            file.file.close()


class _File:
    def __init__(self, file: IO[bytes], dtype: str) -> None:
        self.file, self.dtype, self.size, self.digest = file, dtype, 0, hashlib.sha256()

    def write(self, values: NDArray[Any]) -> None:
        raw = np.ascontiguousarray(values, dtype=self.dtype).tobytes()
        self.file.write(raw)
        self.digest.update(raw)
        self.size += len(raw)

    def finish(self) -> dict[str, Any]:
        sync(self.file)
        return {"dtype": self.dtype, "size": self.size, "sha256": self.digest.hexdigest()}


@contextmanager
def writing(folder: Path) -> Iterator[ArrayWriter]:
    """An `ArrayWriter` whose arrays appear as ``folder`` when the block ends without an error.

    Another process that writes the same folder meanwhile is harmless: the first to finish wins.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    _sweep(folder.parent)
    aside = _aside(folder)
    aside.mkdir()
    writer = ArrayWriter(aside)
    try:
        yield writer
        writer.finish()
        _place(aside, folder)
    finally:
        writer.close()
        shutil.rmtree(aside, ignore_errors=True)


def open_arrays(folder: Path) -> tuple[dict[str, NDArray[Any]], dict[str, Any]] | None:
    """Arrays by name, memory-mapped read-only, and facts of a folder; None where it is absent or damaged.

    Sizes are always checked. A folder of at most ``FULL_CHECK`` bytes is checked by SHA-256, a larger one by a hash of
    16 blocks spread over each file, which notices a wrong file but not every flipped byte.
    """
    try:
        body = sealed.opened((folder / MANIFEST).read_bytes())
        if not _intact(folder, body["arrays"]):
            return None
        return {name: _mapped(folder / name, entry) for name, entry in body["arrays"].items()}, body["facts"]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _intact(folder: Path, arrays: Mapping[str, Mapping[str, Any]]) -> bool:
    if any((folder / name).stat().st_size != entry["size"] for name, entry in arrays.items()):
        return False
    if sum(entry["size"] for entry in arrays.values()) > FULL_CHECK:
        return all(_sampled(folder / name, entry["size"]) == entry["sample"] for name, entry in arrays.items())
    return all(sealed.sha256(folder / name) == entry["sha256"] for name, entry in arrays.items())


def _mapped(path: Path, entry: Mapping[str, Any]) -> NDArray[Any]:
    if entry["size"] == 0:
        return np.zeros(0, entry["dtype"])
    return np.memmap(path, dtype=entry["dtype"], mode="r").view(np.ndarray)


def _sampled(path: Path, size: int) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for start in np.linspace(0, max(0, size - _BLOCK), 16).astype(np.int64):
            file.seek(int(start))
            digest.update(file.read(_BLOCK))
    return digest.hexdigest()


def _place(aside: Path, folder: Path) -> None:
    """Moves ``aside`` to ``folder``, unless an intact folder is already there."""
    if folder.exists() and open_arrays(folder) is None:
        discarded = _aside(folder)
        os.rename(folder, discarded)
        shutil.rmtree(discarded, ignore_errors=True)
    try:
        os.rename(aside, folder)
    except OSError:
        if open_arrays(folder) is None:
            raise


def _aside(folder: Path) -> Path:
    return folder.parent / f".partial-{secrets.token_hex(8)}"


def _sweep(parent: Path) -> None:
    """Removes folders that killed writers left more than a day ago."""
    for path in parent.glob(".partial-*"):
        with suppress(OSError):
            if time.time() - path.stat().st_mtime > _STALE:
                shutil.rmtree(path, ignore_errors=True)
