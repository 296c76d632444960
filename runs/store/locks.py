"""Locks on the folder of an experiment: one process at a time writes its runs, and one its report."""

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from archbench.runs.store import disk, lease
from archbench.tasks.base import files
from archbench.tasks.base.errors import InputError
from archbench.tasks.base.progress import Say

UNLOCKED = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL)  # what file systems without locks answer
LOCK, REPORT_LOCK = ".lock", ".report.lock"
WORK = {LOCK: "compare", REPORT_LOCK: "report"}
WRITTEN = {LOCK: (".", "data", "references", "runs/*", "runs/*/snapshots"), REPORT_LOCK: ("tables", "report")}


@contextlib.contextmanager
def locked(root: Path, say: Say, lock: str = LOCK) -> Iterator[None]:
    """Holds ``root``, or with ``REPORT_LOCK`` its tables and report, for one process; another waits and says so once.

    The kernel holds the lock, and gives it back when the process ends in whatever way: none is ever left behind. Raises
    ``InputError`` where no such folder can be made, ``OSError`` on a full disk.
    """
    made = _make(root)
    while (handle := _held(root, lock, say)) is None:
        made = _make(root) or made
    try:
        _sweep(root, WRITTEN[lock])
        yield
    finally:
        with contextlib.suppress(OSError):  # another command has put something there meanwhile
            if made and [path.name for path in root.iterdir()] == [lock]:  # nothing came of it
                (root / lock).unlink()
                for folder in made:
                    folder.rmdir()
        os.close(handle)


def is_locked(root: Path, lock: str = LOCK) -> bool | None:
    """True if a process holds ``root`` now; None if its file system has no locks.

    It tries a shared lock and releases it at once, so that several processes may ask without disturbing the holder.
    """
    try:
        handle = os.open(root / lock, os.O_RDONLY)
    except (FileNotFoundError, NotADirectoryError):
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError as error:
        if error.errno not in UNLOCKED:
            raise
        return None
    finally:
        os.close(handle)
    return False


def _held(root: Path, lock: str, say: Say) -> int | None:
    """The descriptor of a lock that is held until it is closed; None where whoever held it took it away."""
    try:
        handle = os.open(root / lock, os.O_RDWR | os.O_CREAT, 0o644)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        say(f"{root}: another {WORK[lock]} is using this folder; waiting for it")
        fcntl.flock(handle, fcntl.LOCK_EX)
    except OSError as error:
        if error.errno not in UNLOCKED:
            raise
        say(f"{root}: this file system has no locks ({error.strerror}); start one command at a time here")
    with contextlib.suppress(FileNotFoundError):
        if (root / lock).stat().st_ino == os.fstat(handle).st_ino:
            return handle
    os.close(handle)
    return None


def _make(root: Path) -> list[Path]:
    """Makes a folder and those it lies in; the ones that were not there before, the innermost first."""
    missing = [folder for folder in (root, *root.parents) if not folder.exists()]
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        if error.errno in disk.FULL:
            raise
        raise InputError(f"{root}: this folder cannot be created: {error.strerror}; give another --out") from None
    return missing


def _sweep(root: Path, folders: Sequence[str]) -> None:
    """Removes what killed processes left half written in the folders that a lock guards; not where a run is at work."""
    for folder in folders:
        for left in root.glob(f"{folder}/.*.tmp"):
            if files.UNFINISHED.fullmatch(left.name) and not _may_be_written(root, left):
                left.unlink(missing_ok=True)


def _may_be_written(root: Path, path: Path) -> bool:
    """True if a process of another machine may be writing a temporary file: while it holds the lease of a run."""
    parts = path.relative_to(root).parts
    if parts[0] == "runs":
        return lease.is_live(root / "runs" / parts[1])
    return parts[0] == "references" and any(lease.is_live(folder) for folder in root.glob("runs/*"))
