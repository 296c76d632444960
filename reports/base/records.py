"""The contents of an experiment's folder: its experiment, data sets, references and the records of its runs.

Layout (`DIR`): `experiment.json`, `data/<dataset>.json`, `references/<dataset>.json` and, for each run,
`runs/<run>/` with `record.json`, `scores.json`, `curves.csv`, `predictions.parquet`, `environment.json`, `plan.json`.
Nothing here fails on a missing or half-written file: a report on what is there beats none.
"""

import contextlib
import csv
import json
from collections import defaultdict
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from archbench.runs.store import run_scores
from archbench.runs.store.store import (
    FINISHED,
    MANIFEST,
    METRICS,
    RECORD,
    Row,
    modified_files,
    other_run,
    read_dataset_file,
    read_experiment,
)
from archbench.tasks.base.sealed import is_sealed, read_sealed
from archbench.tasks.builtin_data import published


class Folder:
    """Reads the records under one experiment's folder.

    `damaged` names each run's files that cannot be read, are another run's, or have changed since the run was finished:
    they are not used. `displaced` gives, for each run whose folder holds another one, that other run; nothing of it is
    used. `unread` has the files about data sets that cannot be used, as far as they were read.
    """

    def __init__(self, root: Path) -> None:
        """Raises `InputError` if `root` holds no experiment, or one of another store schema."""
        self.root = root
        self.experiment: Row = read_experiment(root)
        sealed = is_sealed(root / "experiment.json")
        folders = {run: root / "runs" / run for run in self.runs() if _is_name(run)}
        seals = {run: _changed(folder, sealed) for run, folder in folders.items()}
        self.damaged: defaultdict[str, list[str]] = defaultdict(list, seals)
        self.displaced = {run: other for run, folder in folders.items() if (other := _other(folder))}
        self.unread: list[str] = []

    def runs(self) -> list[str]:
        """The experiment's runs in the order of its plan; without a plan, all that are there."""
        folders = sorted(path.name for path in _listed(self.root / "runs") if path.is_dir())
        planned = self.experiment.get("runs")
        if not isinstance(planned, list) or not planned:
            return folders
        return list(dict.fromkeys(str(run) for run in planned))

    def record(self, run: str) -> Row:
        """The run's row of the table `runs`: its record over what its plan says, its labels in this experiment on top.

        A run may have been recorded under another experiment or axis, so its labels here (`rows`) prevail.
        """
        record, plan = self._of(run, RECORD), self._of(run, PLAN)
        is_lost = run in self.displaced or RECORD in self.damaged[run]
        row: Row = {"run": run, "status": "failed" if is_lost else "unfinished"}
        labels = self.experiment.get("rows")
        parts = (_planned(plan), record, labels.get(run) if isinstance(labels, dict) else None)
        for part in parts:
            row |= part if isinstance(part, dict) else {}
        broken = {"status": "failed"} if self.damaged[run] and row["status"] == "done" else {}
        return row | broken | {"run": run}

    def fault(self, run: str) -> str:
        """Why files of the run are not used, in a line; empty where all are."""
        if run in self.displaced:
            return f"its folder holds the run {self.displaced[run]}, of which nothing is used"
        return f"{', '.join(self.damaged[run])}: damaged, cannot be read" if self.damaged[run] else ""

    def rows(self, run: str, name: str) -> list[Row]:
        """The rows of one of the run's JSON files: a list of rows, or a mapping read as rows of key and value."""
        loaded = self._of(run, name)
        if isinstance(loaded, dict):
            return [{"key": key, "value": value} for key, value in loaded.items() if key != "run"]
        return [row for row in loaded if isinstance(row, dict)] if isinstance(loaded, list) else []

    def scores(self, run: str) -> list[Row]:
        """The run's scores: sealed ones, and as far as they are whole those by its kind and by metrics of its task."""
        wanted = self._metrics[str(self.record(run).get("dataset"))]
        computed = self._computed(run)
        by_kind, named = (
            [{key: row.get(key) for key in _SCORE} for row in computed if row.get("place") in places]
            for places in ({run_scores.BY_KIND}, wanted)
        )
        sealed = run_scores.joined(self.rows(run, "scores.json"), by_kind)
        return [{"run": run, **row} for row in (*sealed, *named)]

    def predictions(self, run: str) -> pd.DataFrame:
        """The run's predictions, with what each example contributes to the scores that are computed from them."""
        frame = self.frame(run, "predictions.parquet")
        wanted = {run_scores.BY_KIND, *self._metrics[str(self.record(run).get("dataset"))]}
        for row in self._computed(run):
            values = row.get("per_example") or ()
            if row.get("place") in wanted and len(values) == len(frame) > 0:
                frame[str(row.get("metric"))] = pd.Series(values, dtype="float64", index=frame.index)
        return frame

    def _computed(self, run: str) -> list[Row]:
        """The scores that are computed from what the run has kept; none where they are damaged."""
        path = self._path(run, METRICS)
        if path is None or run in self.displaced or not is_sealed(path):
            return []
        return [row for row in read_sealed(path) if isinstance(row, dict) and row.get("run") == run]

    @cached_property
    def _metrics(self) -> defaultdict[str, set[str]]:
        """The further metrics of each data set, as the experiment names them."""
        specification = self.experiment.get("experiment")
        tasks = specification.get("tasks") if isinstance(specification, dict) else None
        named = {str(task.get("name")): task.get("metrics") for task in tasks or () if isinstance(task, dict)}
        return defaultdict(set, {name: set(metrics) for name, metrics in named.items() if isinstance(metrics, list)})

    def frame(self, run: str, name: str) -> pd.DataFrame:
        """One of the run's files of many rows, CSV or Parquet; empty if there is none."""
        path = self._path(run, name)
        if path is None or not path.is_file() or self._is_damaged(run, name):
            return pd.DataFrame()
        try:
            frame = _csv(path, run) if path.suffix == ".csv" else _parquet(path, run)
        except (ValueError, OSError, csv.Error, pa.ArrowException):
            self.damaged[run].append(name)
            return pd.DataFrame()
        frame["run"] = run
        return frame

    def entries(self) -> list[Row]:
        """Where each run stands in the comparison; as its record says where the experiment does not."""
        entries = self.experiment.get("entries")
        if isinstance(entries, list) and entries:
            return [row for row in entries if isinstance(row, dict)]
        keys = ("run", "dataset", "architecture")
        rows = map(self.record, self.runs())
        return [
            {key: row.get(key) for key in keys} | {"match": match, "condition": "", "role": "compared", "share": 1.0}
            for row in rows
            for match in str(row.get("match") or "").split(",")
        ]

    def datasets(self) -> list[Row]:
        """A row for each data set, in the order of the experiment's tasks where it says one."""
        rows = [row for path in self._files("data") if isinstance(row := self._sealed(path, "digest"), dict)]
        return sorted(rows, key=lambda row: self._place(str(row.get("dataset", ""))))

    def references(self) -> list[Row]:
        """The classical rows of every data set."""
        files = [self._sealed(path, "data") for path in self._files("references")]
        return [row for rows in files if isinstance(rows, list) for row in rows if isinstance(row, dict)]

    def published(self) -> list[Row]:
        """Scores that others published on the experiment's data sets, under the names of its tasks."""
        return [
            {**row, "dataset": task["name"]}
            for task in self._tasks()
            if isinstance(data := task.get("data"), str)
            for row in published.rows(data)
        ]

    def metrics(self) -> list[Row]:
        """Recorded facts on each metric: its direction, range, unit and number format; none in an older folder."""
        metrics = self.experiment.get("metrics")
        return [row for row in metrics if isinstance(row, dict)] if isinstance(metrics, list) else []

    def experiment_rows(self) -> list[Row]:
        """The experiment as rows of key and value; its specification flat, under dotted keys, and as one JSON text.

        After `datasets` and `references` it also says which of their files are left out.
        """
        plain = {key: value for key, value in self.experiment.items() if key not in _STRUCTURED}
        specification = self.experiment.get("experiment", {})
        flat = plain | {"planned_runs": len(self.runs())} | _flat(specification)
        if self.unread:
            flat["left_out"] = ", ".join(dict.fromkeys(self.unread))
        flat["specification"] = json.dumps(specification, indent=1, ensure_ascii=False)
        return [{"key": key, "value": value} for key, value in flat.items()]

    def _place(self, dataset: str) -> tuple[int, str]:
        names = [task["name"] for task in self._tasks()]
        return (names.index(dataset) if dataset in names else len(names), dataset)

    def _tasks(self) -> list[Row]:
        specification = self.experiment.get("experiment")
        tasks = specification.get("tasks") if isinstance(specification, dict) else None
        return [task for task in tasks or () if isinstance(task, dict) and task.get("name")]

    def _files(self, folder: str) -> list[Path]:
        return sorted(path for path in _listed(self.root / folder) if path.suffix == ".json")

    def _path(self, run: str, name: str) -> Path | None:
        return self.root / "runs" / run / name if _is_name(run) else None

    def _sealed(self, path: Path, key: str) -> Any:
        """The JSON in `path`; None, and noted, where it is not as it was written.

        So it is where it is about other data than all runs of the data set: `key` has their digest in each of its rows.
        """
        with contextlib.suppress(ValueError):
            value = read_dataset_file(path)
            rows = [row for row in (value if isinstance(value, list) else [value]) if isinstance(row, dict)]
            known = self._digests[path.stem]
            if not known or all(row.get(key, "") in known for row in rows):
                return value
        self.unread.append(str(path.relative_to(self.root)))
        return None

    @cached_property
    def _digests(self) -> defaultdict[str, set[str]]:
        """The digests of the data that the plans of runs name, by data set."""
        digests: defaultdict[str, set[str]] = defaultdict(set)
        for run in self.runs():
            plan = self._of(run, PLAN)
            row = _planned(plan) if isinstance(plan, dict) and plan.get("data") else {}
            if row:
                digests[str(row.get("dataset"))].add(plan["data"])
        return digests

    def _is_damaged(self, run: str, name: str) -> bool:
        """True if this file of a run or its list of files is damaged, or the folder holds another run."""
        vouching = () if name in (RECORD, PLAN) else (MANIFEST,)
        return run in self.displaced or bool({name, *vouching} & set(self.damaged[run]))

    def _of(self, run: str, name: str) -> Any:
        path = self._path(run, name)
        if path is None or self._is_damaged(run, name):
            return None
        loaded = _load(path)
        if _named(loaded) - {run} or (loaded is None and path.is_file()):
            self.damaged[run].append(name)
            return None
        return loaded


PLAN = "plan.json"
_SCORE = ("run", "split", "metric", "value", "lower", "upper", "n")
_STRUCTURED = ("experiment", "runs", "rows", "entries", "metrics")
_FROM_PLAN = ("experiment", "architecture", "family", "seed", "match", "supervision")


def _planned(plan: Any) -> Row:
    """The part of a run's row that its plan tells; empty where the plan cannot be read."""
    if not isinstance(plan, dict):
        return {}
    row: Row = {key: plan[key] for key in _FROM_PLAN if key in plan}
    task, targets = plan.get("task"), plan.get("targets")
    if isinstance(task, dict):
        row |= {column: task[key] for column, key in (("dataset", "name"), ("task", "kind")) if key in task}
    if isinstance(targets, dict):
        row |= {f"target_{axis}": value for axis, value in targets.items()}
    return row


def _is_name(run: str) -> bool:
    """True if a run's name is that of a folder, and leads nowhere else."""
    return Path(run).name == run and run != ".."


def _listed(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.is_dir() else []


def _load(path: Path) -> Any:
    """The JSON in `path`; None where there is none that can be read."""
    try:
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
    except (ValueError, OSError, RecursionError):
        return None


def _changed(folder: Path, sealed: bool) -> list[str]:
    """The files of a run that are not to be used; where the experiment is `sealed` a finished run has to be as well."""
    try:
        bare = sealed and not (folder / MANIFEST).is_file()
        return [MANIFEST] if bare and _finished(folder) else modified_files(folder)
    except OSError as error:
        return [Path(error.filename or MANIFEST).name]


def _other(folder: Path) -> str:
    """The other run that a folder holds; empty where it holds its own, or what it holds cannot be read."""
    try:
        return other_run(folder)
    except OSError:
        return ""


def _named(loaded: Any) -> set[str]:
    """The runs that the rows of a JSON file name."""
    rows = loaded if isinstance(loaded, list) else [loaded]
    return {str(row["run"]) for row in rows if isinstance(row, dict) and "run" in row}


def _finished(folder: Path) -> bool:
    row = _load(folder / RECORD)
    return isinstance(row, dict) and row.get("status") in FINISHED


def _csv(path: Path, run: str) -> pd.DataFrame:
    """The whole rows of a CSV file as text; a run that was killed may have left half a row.

    Raises ValueError where a row names another run than `run`.
    """
    with open(path, newline="", encoding="utf-8") as file:
        head, *rows = csv.reader(file) if path.stat().st_size else [[]]
    frame = pd.DataFrame([row for row in rows if len(row) == len(head)], columns=head)
    if "run" in frame and (frame["run"] != run).any():
        raise ValueError("rows of another run")
    return frame


def _parquet(path: Path, run: str) -> pd.DataFrame:
    """The rows of a Parquet file; raises ValueError where its metadata name another run than `run`."""
    table = pq.ParquetFile(path).read()
    if (table.schema.metadata or {}).get(b"run", run.encode()) != run.encode():
        raise ValueError("rows of another run")
    frame: pd.DataFrame = table.to_pandas()
    return frame


def _flat(value: Any, prefix: str = "") -> Row:
    """A nested mapping with dotted keys; a list of named mappings goes by their names."""
    if isinstance(value, dict):
        items = list(value.items())
    elif isinstance(value, list) and value and all(isinstance(part, dict) for part in value):
        items = [(str(part.get("name", index)), part) for index, part in enumerate(value)]
    else:
        return {prefix: value} if prefix else {}
    rows: Row = {}
    for key, part in items:
        rows |= _flat(part, f"{prefix}.{key}" if prefix else str(key))
    return rows
