"""The records of an experiment on disk: where they lie, how they are written and read. Knows no torch.

    DIR/experiment.json            what was compared, and the names of its runs in order
    DIR/data/<dataset>.json        what each data set is
    DIR/references/<dataset>.json  the classical rows
    DIR/runs/<run>/record.json     a row of the table of runs; beside it scores, curves, predictions, the model

Every file is written under another name and renamed when it is complete and on the disk, so that whatever has its
name is whole.
"""

import contextlib
import errno
import fcntl
import json
import os
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tasks.errors import InputError

SCHEMA = 1
FINISHED = ("done", "diverged")
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # no space, no quota, a limit on the size of files
UNLOCKED = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL)  # what file systems without locks answer
LOCK, REPORT_LOCK = ".lock", ".report.lock"
WORK = {LOCK: "compare", REPORT_LOCK: "report"}
WRITTEN = {LOCK: (".", "data", "references", "runs/*", "runs/*/snapshots"), REPORT_LOCK: ("tables", "report")}

Row = dict[str, Any]


def write_bytes(path: Path, data: bytes) -> None:
    """Writes a file completely or not at all; raises ``OSError`` (``ENOSPC`` on a full disk)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        with open(aside, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def write_text(path: Path, text: str) -> None:
    """Writes UTF-8 text as ``write_bytes`` does."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: object) -> None:
    """Writes JSON as ``write_bytes`` does; NaN and infinities as Python's ``NaN`` and ``Infinity``."""
    write_text(path, json.dumps(value, indent=1, default=_plain, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Any:
    """The value in a JSON file; raises ``InputError`` where it is missing or broken."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (ValueError, OSError) as error:
        raise InputError(f"{path}: cannot be read as JSON: {error}; delete it and run compare again") from None


def run_folder(root: Path, run: str) -> Path:
    return root / "runs" / run


def write_experiment(
    root: Path,
    *,
    name: str,
    command: str,
    version: str,
    experiment: Row,
    rows: Mapping[str, Row],
    entries: Sequence[Row],
    ledger: str = "",
) -> None:
    """``experiment.json``: the resolved experiment and its runs, in order, each with its labels in this experiment.

    A run may be older than the experiment: its labels here, not its record, are the experiment's. ``entries`` say where
    each run stands in the comparison. ``ledger`` is the hash of the claims; the first one that was written stays.

    Raises ``InputError`` where another store schema lies in ``root``.
    """
    if (root / "experiment.json").is_file():
        ledger = read_experiment(root).get("ledger") or ledger
    head = {"ledger": ledger, "schema": SCHEMA, "archbench": version, "name": name, "command": command}
    body = {"experiment": experiment, "runs": list(rows), "rows": dict(rows), "entries": list(entries)}
    write_json(root / "experiment.json", head | body)


def read_experiment(root: Path) -> Row:
    """``experiment.json``; raises ``InputError`` where there is none or it is of another store schema."""
    path = root / "experiment.json"
    if not path.is_file():
        raise InputError(f"{root}: no experiment here (no experiment.json); give the --out folder of a compare")
    value = read_json(path)
    schema = value.get("schema") if isinstance(value, dict) else None
    if not isinstance(value, dict) or schema != SCHEMA:
        raise InputError(
            f"{path}: written in store schema {schema}, this archbench reads {SCHEMA}; "
            "use the archbench that wrote it, or another --out"
        )
    return value


def write_record(folder: Path, row: Mapping[str, Any]) -> None:
    """``record.json`` of the run in ``folder``: its row in the table of runs."""
    write_json(folder / "record.json", dict(row))


def read_record(folder: Path) -> Row | None:
    """The row of the run in ``folder``, None where it never started; raises ``InputError`` on a broken one."""
    path = folder / "record.json"
    if not path.is_file():
        return None
    row = read_json(path)
    if not isinstance(row, dict):
        raise InputError(f"{path}: not a record; delete it and run compare again")
    return row


def is_finished(folder: Path) -> bool:
    """Whether the run in ``folder`` needs no more training; a broken record counts as none."""
    try:
        row = read_record(folder)
    except InputError:
        return False
    return row is not None and row.get("status") in FINISHED


@contextlib.contextmanager
def locked(root: Path, say: Callable[[str], None], lock: str = LOCK) -> Iterator[None]:
    """Holds ``root``, or with ``REPORT_LOCK`` its tables and report, for one process; another waits and says so once.

    The kernel holds the lock, and gives it back when the process ends in whatever way: none is ever left behind. Raises
    ``InputError`` where no such folder can be made, ``OSError`` on a full disk.
    """
    _make(root)
    with open(root / lock, "a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"{root}: another {WORK[lock]} is at work here; waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError as error:
            if error.errno not in UNLOCKED:
                raise
            say(f"{root}: this file system has no locks ({error.strerror}); start one command at a time here")
        _sweep(root, WRITTEN[lock])
        yield


def _make(root: Path) -> None:
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        if error.errno in FULL:
            raise
        raise InputError(f"{root}: this folder cannot be made: {error.strerror}; give another --out") from None


def find_run(text: str, root: Path = Path("results")) -> Path:
    """The run that ``text`` means: its folder, or a unique prefix of its name under ``root``; else ``InputError``."""
    folder = Path(text)
    if (folder / "record.json").is_file():
        return folder
    found = sorted(path for path in root.glob("*/runs/*") if path.name.startswith(text) and path.is_dir())
    exact = [path for path in found if path.name == text]
    found = exact or found
    if len(found) == 1:
        return found[0]
    if not found:
        known = sorted(path.name for path in root.glob("*/runs/*") if path.is_dir())
        hint = (
            f"there are {', '.join(known[:3])}" + (", ..." if len(known) > 3 else "") if known else "there is none yet"
        )
        raise InputError(f"no run {text!r}: no such run folder, and no run under {root} begins so; {hint}")
    some = ", ".join(str(path) for path in found[:5]) + (", ..." if len(found) > 5 else "")
    raise InputError(f"{len(found)} runs begin with {text!r}: {some}; give more of the name")


def _sweep(root: Path, folders: Sequence[str]) -> None:
    """Removes what killed processes left half written in the folders that a lock guards."""
    for folder in folders:
        for left in root.glob(f"{folder}/.*.tmp"):
            left.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _plain(value: Any) -> Any:
    """NumPy scalars and arrays and paths as plain JSON values."""
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} is no JSON value")
