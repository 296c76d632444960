"""Files that are complete and on the disk, or absent: written under another name, synchronised, then renamed."""

import contextlib
import os
import re
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

UNFINISHED = re.compile(r"\..+\.[0-9a-f]{8}\.tmp")  # names of files until they are complete


def write_bytes(path: Path, data: bytes) -> None:
    """Writes a file completely or not at all; raises ``OSError`` (``ENOSPC`` on a full disk)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as aside:
        write_synced(aside, data)
    sync_folder(path.parent)


def write_text(path: Path, text: str) -> None:
    """Writes UTF-8 text as ``write_bytes`` does."""
    write_bytes(path, text.encode())


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path, renamed to ``path`` when the block ends without an error, else removed.

    Errors name ``path``.
    """
    aside = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        yield aside
        os.replace(aside, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            aside.unlink()
        if isinstance(error, OSError) and error.errno is not None:  # else its text says all
            raise OSError(error.errno, error.strerror, str(path)) from None
        raise


def write_synced(path: Path, data: bytes) -> None:
    """Writes a file under its own name and synchronises it, for use in a folder that is renamed later."""
    with open(path, "xb") as file:
        file.write(data)
        sync(file)


def sync(file: IO[Any]) -> None:
    """Flushes an open file and waits until it is on the disk."""
    file.flush()
    os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Waits until the names in a folder are on the disk, where the system can synchronise folders."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
