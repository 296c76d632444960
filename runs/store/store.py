"""The records of an experiment on disk: where they lie, how they are written and read. Knows no torch.

    DIR/experiment.json            what was compared, and the names of its runs in order
    DIR/.progress.json             how far the runs at work are; see ``execution.progress_file``
    DIR/data/<dataset>.json        what each data set is
    DIR/references/<dataset>.json  its simple baselines
    DIR/runs/<run>/                a run:
        record.json                    its row of the table of runs, with its status and, where it failed, the error
        plan.json task.json tokenizer.json variant.py   what it takes to load the model again
        model.safetensors              the scored weights
        curves.csv                     losses during training
        scores.json decodings.json predictions.parquet metrics.json outputs.npz
        environment.json               machine, processor, versions of libraries
        snapshots/                     weights during training, where they are asked for
        checkpoint/                    while it trains; see ``training.checkpoint``
        output.txt error.txt           what a worker printed, the traceback of a failure
        manifest.json                  size and SHA-256 of these files, once the run is finished

Every file is written under another name and renamed when it is complete and on the disk, so that a file with its final
name is whole. A sealed file (`sealed`) states the run or data set that it is about. Readers compare this with the name
of its folder or file, so that they notice a file in the wrong place.
"""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from archbench.tasks.base import files, sealed
from archbench.tasks.base.errors import InputError

SCHEMA = 1
FINISHED = ("done", "diverged")
RECORD, MANIFEST, METRICS = "record.json", "manifest.json", "metrics.json"
HEADER = 2**27  # bytes of the header of weights that are read, at most
UNSEALED = ("output.txt", "error.txt", MANIFEST, METRICS)  # what may change after a run is finished

Row = dict[str, Any]


def read_dataset_file(path: Path) -> Any:
    """The sealed card or baselines of the data set that the file is named after.

    Raises ``InputError`` also where they are of another data set, or have no seal where the experiment has one.
    """
    value = sealed.read_sealed(path)
    if not sealed.is_sealed(path) and sealed.is_sealed(path.parent.parent / "experiment.json"):
        raise InputError(f"{path}: has lost its hash; delete it and run compare again")
    rows = value if isinstance(value, list) else [value]
    others = {str(row.get("dataset")) for row in rows if isinstance(row, dict)} - {path.stem}
    if others:
        raise InputError(f"{path}: is about the data set {min(others)}; delete it and run compare again")
    return value


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
    sealed.write_sealed(root / "experiment.json", head | body)


def read_experiment(root: Path) -> Row:
    """``experiment.json``; raises ``InputError`` where there is none or it is of another store schema."""
    path = root / "experiment.json"
    if not path.is_file():
        raise InputError(
            f"{root}: no experiment here (no experiment.json); give the --out folder of a compare, which has this file "
            "once its checks have ended"
        )
    value = sealed.read_sealed(path)
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
    text = sealed.json_text(dict(row))
    if row.get("status") in FINISHED:
        present = {str(path.relative_to(folder)): path for path in sorted(folder.rglob("*")) if path.is_file()}
        seals = {name: _seal(path) for name, path in present.items() if name not in UNSEALED and not _is_passing(name)}
        seals[RECORD] = [len(text.encode()), sealed.sha256(text.encode())]
        sealed.write_sealed(folder / MANIFEST, seals)
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
    return _other(_parsed_record(folder), folder)


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


def _parsed_record(folder: Path) -> Row:
    """The record in ``folder``; empty where there is none or it cannot be read as one."""
    path = folder / RECORD
    try:
        row = sealed.loaded(path) if path.is_file() else {}
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


def modified_files(folder: Path, weights: bool = False) -> list[str]:
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
        listed = sealed.opened(manifest.read_bytes())
        seals = {str(name): (int(size), str(digest)) for name, (size, digest) in listed.items()}
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
    row = sealed.read_json(path)
    if not isinstance(row, dict):
        raise InputError(f"{path}: not a record; delete it and run compare again")
    check_own(folder)
    return row


def peek_record(folder: Path) -> Row:
    """The row of the run in ``folder``, no file compared with its hash; empty where there is none of that run."""
    row = _parsed_record(folder)
    return {} if _other(row, folder) else row


def verified_record(folder: Path, weights: bool = False) -> Row:
    """The row of the run in ``folder``; empty where it has to be done: it never started, is damaged or another run.

    Weights are compared as in ``modified_files``. Raises ``OSError`` where a file cannot be read now: a run of hours is
    not done again for that.
    """
    row = _parsed_record(folder)
    if _other(row, folder):
        return {}
    is_sealed = (folder / MANIFEST).is_file()
    return row if is_sealed == (row.get("status") in FINISHED) and not modified_files(folder, weights) else {}


def is_finished(folder: Path, weights: bool = False) -> bool:
    """True if the run in ``folder`` needs no more training, which a damaged one does; ``weights`` as above."""
    return verified_record(folder, weights).get("status") in FINISHED


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


def _is_passing(name: str) -> bool:
    """True if a file of a run is there only while it trains."""
    return name.startswith("checkpoint/") or Path(name).name.startswith(".")


def _seal(path: Path) -> list[object]:
    return [path.stat().st_size, sealed.sha256(path)]


def _is_as_sealed(folder: Path, name: str, seal: tuple[int, str], weights: bool) -> bool:
    path = folder / name
    if not path.is_file() or path.stat().st_size != seal[0]:
        return False
    if weights or path.suffix != ".safetensors":
        return _seal(path) == list(seal)
    with path.open("rb") as file:
        return run_of_weights(file) in ("", own_name(folder))  # those of an older archbench name no run
