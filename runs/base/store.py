"""The records of an experiment on disk: where they lie, how they are written and read. Knows no torch.

    DIR/experiment.json            what was compared, and the names of its runs in order
    DIR/.progress.json             how far the runs at work are; see ``execution.heartbeat``
    DIR/data/<dataset>.json        what each data set is
    DIR/references/<dataset>.json  the classical rows
    DIR/runs/<run>/record.json     a row of the table of runs; beside it scores, curves, predictions, the model
    DIR/runs/<run>/manifest.json   size and SHA-256 of each of them, once the run is finished

Every file is written under another name and renamed when it is complete and on the disk, so that whatever has its
name is whole. What is sealed names what it is about, the record its run and cards and rows their data set, and is
compared with the name of its folder or file: an intact record in another's place is of no use.
"""

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from archbench.runs.base import lease
from archbench.tasks.base import files
from archbench.tasks.base.errors import InputError

SCHEMA = 1
FINISHED = ("done", "diverged")
RECORD, MANIFEST, METRICS = "record.json", "manifest.json", "metrics.json"
SEAL = {"sha256", "sealed"}  # the keys of a sealed file
HEADER = 2**27  # bytes of the header of weights that are read, at most
UNSEALED = ("output.txt", "error.txt", MANIFEST, METRICS)  # what may change after a run is finished
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # no space, no quota, a limit on the size of files
UNLOCKED = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL)  # what file systems without locks answer
LOCK, REPORT_LOCK = ".lock", ".report.lock"
WORK = {LOCK: "compare", REPORT_LOCK: "report"}
WRITTEN = {LOCK: (".", "data", "references", "runs/*", "runs/*/snapshots"), REPORT_LOCK: ("tables", "report")}

Row = dict[str, Any]


def write_json(path: Path, value: object) -> None:
    """Writes JSON as ``files.write_bytes`` does; NaN and infinities as Python's ``NaN`` and ``Infinity``."""
    files.write_text(path, _json(value))


def read_json(path: Path) -> Any:
    """The value in a JSON file; raises ``InputError`` where it is missing or broken."""
    try:
        return _loaded(path)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: cannot be read as JSON: {error}; delete it and run compare again") from None


def _loaded(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def write_sealed(path: Path, value: object) -> None:
    """Writes JSON with its SHA-256, for ``read_sealed``."""
    value = json.loads(_json(value))
    write_json(path, {"sha256": _digest(value), "sealed": value})


def read_sealed(path: Path) -> Any:
    """The value in a JSON file; raises ``InputError`` where it is missing, broken or not as it was written."""
    contents = read_json(path)
    if not isinstance(contents, dict) or not SEAL & contents.keys():  # of an older archbench
        return contents
    if not _is_whole(contents):
        raise InputError(f"{path}: has changed since it was written; delete it and run compare again")
    return contents["sealed"]


def read_about(path: Path) -> Any:
    """The sealed card or baselines of the data set that the file is named after.

    Raises ``InputError`` also where they are of another data set, or have no seal where the experiment has one.
    """
    value = read_sealed(path)
    if not is_sealed(path) and is_sealed(path.parent.parent / "experiment.json"):
        raise InputError(f"{path}: has lost its hash; delete it and run compare again")
    rows = value if isinstance(value, list) else [value]
    others = {str(row.get("dataset")) for row in rows if isinstance(row, dict)} - {path.stem}
    if others:
        raise InputError(f"{path}: is about the data set {min(others)}; delete it and run compare again")
    return value


def _is_whole(contents: Any) -> bool:
    """Whether a value is what ``write_sealed`` writes, unchanged."""
    return isinstance(contents, dict) and contents.keys() == SEAL and contents["sha256"] == _digest(contents["sealed"])


def is_sealed(path: Path) -> bool:
    """Whether a file was written by ``write_sealed`` and is as it was."""
    try:
        return _is_whole(read_json(path))
    except InputError:
        return False


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
    metrics: Sequence[Row] = (),
    declared: Mapping[str, str] | None = None,
    settings: Mapping[str, Any] | None = None,
    later: Row | None = None,
    until_decided: Row | None = None,
    reproduces: str = "",
    against: str = "",
) -> None:
    """``experiment.json``: the resolved experiment and its runs, in order, each with its labels in this experiment.

    A run may be older than the experiment: its labels here, not its record, are the experiment's. ``entries`` say where
    each run stands in the comparison, ``metrics`` what is known of each metric. ``declared`` is what the report will
    judge by, such as the hash of the claims; what was written first stays. ``settings`` are the keys that ``--set``
    replaced; ``later`` tells how many runs wait for the outcome of trials, and their expected seconds.
    ``until_decided`` is the rule by which seeds are added, and how many were. ``reproduces`` names the published tables
    whose runs are trained again, ``against`` the published comparison that one architecture joins.

    Raises ``InputError`` where another store schema lies in ``root``.
    """
    if (root / "experiment.json").is_file():
        earlier = read_experiment(root)
        declared = {key: earlier.get(key, "") for key in declared or {}}
    head = {**(declared or {}), "schema": SCHEMA, "archbench": version, "name": name, "command": command}
    body = {"experiment": experiment, "runs": list(rows), "rows": dict(rows), "entries": list(entries)}
    body |= {"metrics": list(metrics)} if metrics else {}
    body |= {"set": dict(settings)} if settings else {}
    body |= {"later": later} if later else {}
    body |= {"until_decided": until_decided} if until_decided else {}
    body |= {"reproduces": reproduces} if reproduces else {}
    body |= {"against": against} if against else {}
    write_sealed(root / "experiment.json", head | body)


def read_experiment(root: Path) -> Row:
    """``experiment.json``; raises ``InputError`` where there is none or it is of another store schema."""
    path = root / "experiment.json"
    if not path.is_file():
        raise InputError(
            f"{root}: no experiment here (no experiment.json); give the --out folder of a compare, which has this file "
            "once its checks have ended"
        )
    value = read_sealed(path)
    schema = value.get("schema") if isinstance(value, dict) else None
    if not isinstance(value, dict) or schema is None:
        raise InputError(f"{path}: not the record of a comparison; give the --out folder of a compare")
    if schema != SCHEMA:
        raise InputError(
            f"{path}: written in store schema {schema}, this archbench reads {SCHEMA}; "
            "use the archbench that wrote it, or another --out"
        )
    runs = value.get("runs")
    whole = isinstance(runs, list) and all(isinstance(run, str) for run in runs)
    if not whole or not all(isinstance(value.get(key), str) for key in ("name", "command")):
        raise InputError(f"{path}: is an incomplete record of an experiment; delete it and run compare again")
    return value


def write_record(folder: Path, row: Mapping[str, Any]) -> None:
    """``record.json`` of the run in ``folder``: its row in the table of runs.

    That of a finished run comes last and seals what lies beside it: from then on ``changed`` tells what is different.
    """
    text = _json(dict(row))
    if row.get("status") in FINISHED:
        present = {str(path.relative_to(folder)): path for path in sorted(folder.rglob("*")) if path.is_file()}
        seals = {name: _seal(path) for name, path in present.items() if name not in UNSEALED and not _is_passing(name)}
        seals[RECORD] = [len(text.encode()), hashlib.sha256(text.encode()).hexdigest()]
        write_sealed(folder / MANIFEST, seals)
    else:
        (folder / MANIFEST).unlink(missing_ok=True)
    files.write_text(folder / RECORD, text)


def own_name(folder: Path) -> str:
    """The run whose place ``folder`` is, by its name: that of a link, not of what it leads to; of "." the folder's."""
    return os.path.basename(os.path.abspath(folder))


def other_run(folder: Path) -> str:
    """The run that the record in ``folder`` names where that is not the folder's own name; else empty.

    The manifest seals the record with all other files, so that they are of the run that it names. Raises ``OSError``
    where the record cannot be read now.
    """
    return _other(_row(folder), folder)


def check_own(folder: Path) -> None:
    """Raises ``InputError`` where the record in ``folder`` is another run's."""
    if other := other_run(folder):
        raise InputError(
            f"{folder}: holds the run {other}; give the folder that run's name, or run its compare command again"
        )


def _other(row: Row, folder: Path) -> str:
    """The run that a record names where it is not the folder's own; empty without a name."""
    named = str(row.get("run") or "")
    return "" if named == own_name(folder) else named


def _row(folder: Path) -> Row:
    """The record in ``folder``; empty where there is none or it cannot be read as one."""
    path = folder / RECORD
    try:
        row = _loaded(path) if path.is_file() else {}
    except (ValueError, RecursionError):
        return {}
    return row if isinstance(row, dict) else {}


def run_of_weights(file: BinaryIO) -> str:
    """The run that weights in the safetensors format name in their header, which is all that is read; else empty."""
    length = int.from_bytes(file.read(8), "little")
    try:
        header = json.loads(file.read(min(length, HEADER)))
        return str(header["__metadata__"]["run"])
    except (ValueError, RecursionError, KeyError, TypeError):
        return ""


def changed(folder: Path, weights: bool = False) -> list[str]:
    """The files of a finished run that are not as they were when it was finished; none where it never was.

    Weights, which are large, are compared by their size and the run that they name alone unless ``weights``. Raises
    ``OSError`` where a file cannot be read now: it may be as it was.
    """
    if not (folder / MANIFEST).is_file():
        return []
    seals = _seals(folder / MANIFEST)
    if RECORD not in seals:
        return [MANIFEST]
    return [name for name, seal in seals.items() if not _is_as_sealed(folder, name, seal, weights)]


def sealed_as(folder: Path, name: str) -> str:
    """The SHA-256 of a file of a finished run as it was when the run was finished; empty where nothing says."""
    return _seals(folder / MANIFEST).get(name, (0, ""))[1] if (folder / MANIFEST).is_file() else ""


def _seals(manifest: Path) -> dict[str, tuple[int, str]]:
    """Size and SHA-256 by name; empty where the manifest is not as it was written."""
    try:
        contents = _loaded(manifest)
        listed = contents["sealed"].items() if _is_whole(contents) else ()
        seals = {str(name): (int(size), str(digest)) for name, (size, digest) in listed}
    except (AttributeError, TypeError, ValueError, RecursionError):
        return {}
    return {} if any(".." in Path(name).parts or Path(name).is_absolute() for name in seals) else seals


def read_record(folder: Path) -> Row | None:
    """The row of the run in ``folder``, None where it never started.

    Raises ``InputError`` on a broken one, and on that of another run.
    """
    path = folder / RECORD
    if not path.is_file():
        return None
    row = read_json(path)
    if not isinstance(row, dict):
        raise InputError(f"{path}: not a record; delete it and run compare again")
    check_own(folder)
    return row


def glance(folder: Path) -> Row:
    """The row of the run in ``folder`` without comparing any file with its seal; empty where there is none of it."""
    row = _row(folder)
    return {} if _other(row, folder) else row


def read_intact(folder: Path, weights: bool = False) -> Row:
    """The row of the run in ``folder``; empty where it has to be done: it never started, is damaged or another run.

    Weights are compared as in ``changed``. Raises ``OSError`` where a file cannot be read now: a run of hours is not
    done again for that.
    """
    row = _row(folder)
    if _other(row, folder):
        return {}
    sealed = (folder / MANIFEST).is_file()
    return row if sealed == (row.get("status") in FINISHED) and not changed(folder, weights) else {}


def is_finished(folder: Path, weights: bool = False) -> bool:
    """Whether the run in ``folder`` needs no more training; a damaged one does. ``weights`` as in ``read_intact``."""
    return read_intact(folder, weights).get("status") in FINISHED


@contextlib.contextmanager
def locked(root: Path, say: Callable[[str], None], lock: str = LOCK) -> Iterator[None]:
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
    """Whether a process holds ``root`` now; None if its file system has no locks.

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


def _held(root: Path, lock: str, say: Callable[[str], None]) -> int | None:
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
        if error.errno in FULL:
            raise
        raise InputError(f"{root}: this folder cannot be created: {error.strerror}; give another --out") from None
    return missing


def check_writable(folder: Path) -> None:
    """Raises ``InputError`` where nothing can be written into ``folder``, new or not; leaves nothing there."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        if error.errno in FULL:
            raise
        raise InputError(f"{folder}: cannot be written: {error.strerror}; give another folder") from error
    finally:
        for path in missing:
            with contextlib.suppress(OSError):
                path.rmdir()


def find_run(text: str, root: Path = Path("results")) -> Path:
    """The run that ``text`` means: its folder, or the only run that its name or path begins; else ``InputError``.

    A name is looked up under ``root``. A path goes through the folder of an experiment, or through the ``runs`` in it,
    anywhere: ``out/phrases-dec`` and ``out/runs/phrases-dec`` mean ``out/runs/phrases-decoder-s0-...``, and ``out``
    alone the run of an experiment that has only one.
    """
    path = Path(text)
    if (path / RECORD).is_file():
        return path
    folders = [folder for folder in root.glob("*/runs/*") if folder.is_dir()]
    named = [folder for folder in folders if folder.name.startswith(text)]
    beside = [folder for folder in _runs_in(path.parent) if folder.name.startswith(path.name)]
    folders = sorted({folder.resolve(): folder for folder in (*named, *(_runs_in(path) or beside))}.values())
    folders = [folder for folder in folders if folder.name == path.name] or folders
    if len(folders) == 1:
        return folders[0]
    if not folders:
        raise InputError(f"no run {text!r}: no such run folder, and no run {_other_runs(path, root)}")
    some = ", ".join(str(folder) for folder in folders[:5]) + (", ..." if len(folders) > 5 else "")
    raise InputError(f"{len(folders)} runs begin with {text!r}: {some}; give a longer prefix")


def _runs_in(folder: Path) -> list[Path]:
    """The runs that were started in the folder of an experiment, or in the ``runs`` in it."""
    inside = folder / "runs" if (folder / "runs").is_dir() else folder
    if not os.path.isdir(inside):
        return []
    return [entry for entry in inside.iterdir() if os.path.isfile(entry / RECORD)]  # false where access is denied


def _other_runs(path: Path, root: Path) -> str:
    """Where no run was found, and the names of some that are there."""
    beside = _runs_in(path.parent)
    known = sorted(folder.name for folder in beside or root.glob("*/runs/*") if folder.is_dir())
    where = f"in {path.parent}" if beside else f"under {root}"
    some = f"there are {', '.join(known[:3])}{', ...' if len(known) > 3 else ''}" if known else "there is none yet"
    return f"{where} begins so; {some}"


def _sweep(root: Path, folders: Sequence[str]) -> None:
    """Removes what killed processes left half written in the folders that a lock guards; not where a run is at work."""
    for folder in folders:
        for left in root.glob(f"{folder}/.*.tmp"):
            if files.UNFINISHED.fullmatch(left.name) and not _may_be_written(root, left):
                left.unlink(missing_ok=True)


def _may_be_written(root: Path, path: Path) -> bool:
    """Whether a process of another machine may be writing a temporary file: while it holds the lease of a run."""
    parts = path.relative_to(root).parts
    if parts[0] == "runs":
        return lease.is_live(root / "runs" / parts[1])
    return parts[0] == "references" and any(lease.is_live(folder) for folder in root.glob("runs/*"))


def _json(value: object) -> str:
    return json.dumps(value, indent=1, default=_plain, ensure_ascii=False) + "\n"


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _is_passing(name: str) -> bool:
    """Whether a file of a run is there only while it trains."""
    return name.startswith("checkpoint/") or Path(name).name.startswith(".")


def _seal(path: Path) -> list[object]:
    with path.open("rb") as file:
        return [path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest()]


def _is_as_sealed(folder: Path, name: str, seal: tuple[int, str], weights: bool) -> bool:
    path = folder / name
    if not path.is_file() or path.stat().st_size != seal[0]:
        return False
    if weights or path.suffix != ".safetensors":
        return _seal(path) == list(seal)
    with path.open("rb") as file:
        return run_of_weights(file) in ("", own_name(folder))  # those of an older archbench name no run


def _plain(value: Any) -> Any:
    """NumPy scalars and arrays and paths as plain JSON values."""
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} is no JSON value")
