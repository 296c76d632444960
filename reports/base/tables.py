"""The report's tables: gathered from the records of an experiment's folder, written as Parquet and CSV, read back.

The page and the figures are made from `DIR/tables/*.parquet` alone, so everything that they show is a column here.
Parquet holds the plain truth; in the CSV files text cells that a spreadsheet would run as a formula start with an
apostrophe.
"""

import csv
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from archbench.reports.base.predictions import with_statistics
from archbench.reports.base.records import Folder
from archbench.tasks.base import files
from archbench.tasks.base.errors import InputError

Tables = dict[str, pd.DataFrame]

COLUMNS: Mapping[str, Mapping[str, str]] = {
    "runs": {
        "run": "text",
        "experiment": "text",
        "architecture": "text",
        "family": "text",
        "task": "text",
        "dataset": "text",
        "seed": "integer",
        "match": "text",
        "parameters": "integer",
        "embedding_parameters": "integer",
        "train_flops": "number",
        "train_tokens": "integer",
        "train_loss_tokens": "integer",
        "steps": "integer",
        "train_seconds": "number",
        "tokens_per_second": "number",
        "peak_memory_bytes": "integer",
        "learning_rate": "number",
        "device": "text",
        "status": "text",
    },
    "scores": {
        "run": "text",
        "split": "text",
        "metric": "text",
        "value": "number",
        "lower": "number",
        "upper": "number",
        "n": "integer",
        "slice": "text",
    },
    "decodings": {
        "run": "text",
        "decoding": "text",
        "metric": "text",
        "value": "number",
        "lower": "number",
        "upper": "number",
        "n": "integer",
        "flops": "number",
        "seconds": "number",
    },
    "curves": {
        "run": "text",
        "step": "integer",
        "tokens": "number",
        "flops": "number",
        "seconds": "number",
        "split": "text",
        "metric": "text",
        "value": "number",
    },
    "predictions": {
        "run": "text",
        "example": "integer",
        "source": "text",
        "reference": "text",
        "answer": "text",
        "log_likelihood": "number",
        "correct": "boolean",
        "bytes": "integer",
    },
    "references": {"dataset": "text", "split": "text", "name": "text", "metric": "text", "value": "number"},
    "environment": {"run": "text", "key": "text", "value": "text"},
    "entries": {
        "run": "text",
        "dataset": "text",
        "condition": "text",
        "match": "text",
        "role": "text",
        "architecture": "text",
        "share": "number",
        "form": "text",
    },
    "datasets": {"dataset": "text", "kind": "text", "primary": "text", "licence": "text", "origin": "text"},
    "published": {
        "dataset": "text",
        "metric": "text",
        "value": "number",
        "model": "text",
        "parameters": "integer",
        "source": "text",
        "note": "text",
    },
    "metrics": {
        "metric": "text",
        "label": "text",
        "better": "text",
        "meaning": "text",
        "least": "number",
        "most": "number",
        "unit": "text",
        "decimals": "integer",
        "margin": "number",
    },
    "experiment": {"key": "text", "value": "text"},
}

AGAINST = "against"  # the folder of published rows beside which a comparison's own stand
KEYS = {  # columns by which a published row and an own one are the same
    "references": ["dataset", "split", "name", "metric"],
    "datasets": ["dataset"],
    "published": ["dataset", "metric", "model", "source"],
    "metrics": ["metric"],
}
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def collect(root: Path) -> Tables:
    """Gather the records under `root` (an experiment's folder, `DIR`) into one frame for each table.

    Runs that have no readable record yet are rows too, with the status `unfinished` or `failed`. Published rows beside
    which the experiment's stand join them. Raises `InputError` if `root` holds no experiment, or one of another store
    schema.
    """
    folder = Folder(root)
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in ("runs", "scores", "decodings", "environment")}
    curves, predictions = [], []
    for run in folder.runs():
        record = folder.record(run)
        rows["scores"].extend(folder.scores(run))
        rows["decodings"].extend({"run": run, **row} for row in folder.rows(run, "decodings.json"))
        rows["environment"].extend({"run": run, **row} for row in folder.rows(run, "environment.json"))
        curves.append(folder.frame(run, "curves.csv"))
        predictions.append(folder.predictions(run))
        if fault := folder.fault(run):
            record = {**record, "error": fault}
        rows["runs"].append(record)
    tables = {name: _frame(name, pd.DataFrame(entries, dtype=object)) for name, entries in rows.items()}
    tables["curves"] = _frame("curves", _joined(curves))
    tables["predictions"] = _frame("predictions", _joined(predictions))
    tables["entries"] = _frame("entries", pd.DataFrame(folder.entries(), dtype=object))
    tables["references"] = _frame("references", pd.DataFrame(folder.references(), dtype=object))
    tables["datasets"] = _frame("datasets", pd.DataFrame(folder.datasets(), dtype=object))
    tables["published"] = _frame("published", pd.DataFrame(folder.published(), dtype=object))
    tables["metrics"] = _frame("metrics", pd.DataFrame(folder.metrics(), dtype=object))
    tables["experiment"] = _frame("experiment", pd.DataFrame(folder.experiment_rows(), dtype=object))
    tables = _with_statistics({name: tables[name] for name in COLUMNS})
    published = root / AGAINST
    return joined(read(published), tables, tables) if (published / "runs.parquet").is_file() else tables


def joined(first: Tables, other: Tables, experiment_of: Tables) -> Tables:
    """The rows of both tables, and the experiment of one; of a data set, a metric or a reference that both have one."""
    both = {name: pd.concat([first[name], other[name]], ignore_index=True) for name in COLUMNS}
    both |= {name: both[name].drop_duplicates(keys) for name, keys in KEYS.items()}
    return {name: _frame(name, both[name] if name != "experiment" else experiment_of[name]) for name in COLUMNS}


def write(tables: Tables, folder: Path) -> list[Path]:
    """Write each table into `folder` as `<name>.parquet` and `<name>.csv`; return the paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, frame in tables.items():
        parquet, plain = folder / f"{name}.parquet", folder / f"{name}.csv"
        write_parquet(frame, parquet)
        write_csv(frame, plain)
        paths += [parquet, plain]
    return paths


def write_parquet(frame: pd.DataFrame, path: Path) -> Path:
    """Write `frame` as Parquet, completely or not at all; return the path."""
    with files.replacing(path) as aside:
        pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), aside, compression="zstd")
        with open(aside, "rb+") as file:
            files.sync(file)
    return path


def write_csv(frame: pd.DataFrame, path: Path) -> None:
    """Write `frame` as CSV, its text cells safe to open in a spreadsheet."""
    named = ((f"'{name}" if str(name).startswith(_FORMULA_STARTS) else name, column) for name, column in frame.items())
    escaped = {name: _escaped(column) for name, column in named}
    # The csv module quotes a carriage return only where it ends lines; unquoted it would break the row.
    returns = any(_marked(column, lambda text: "\r" in text).any() for column in escaped.values())
    with files.replacing(path) as aside, open(aside, "w", encoding="utf-8", newline="") as file:
        pd.DataFrame(escaped).to_csv(
            file, index=False, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC if returns else csv.QUOTE_MINIMAL
        )
        files.sync(file)


def read(folder: Path) -> Tables:
    """Read the tables that `write` wrote into `folder`; a table that is not there is empty.

    The tables are archbench's own; those of others are read by `schema.read`. Raises `InputError` if `folder` has no
    `runs.parquet`, or a table cannot be read.
    """
    if not (folder / "runs.parquet").is_file():
        raise InputError(f"{folder}: no tables here (expected runs.parquet); name the folder of an experiment")
    return _with_statistics({name: _read(folder / f"{name}.parquet", name) for name in COLUMNS})


def completed(given: Mapping[str, pd.DataFrame]) -> Tables:
    """Tables with all names and columns that a report reads; what is missing is empty."""
    return _with_statistics({name: _frame(name, given.get(name, pd.DataFrame())) for name in COLUMNS})


def _with_statistics(tables: Tables) -> Tables:
    return {**tables, "predictions": with_statistics(tables["predictions"], tables["scores"])}


def _read(path: Path, name: str) -> pd.DataFrame:
    if not path.is_file():
        return _frame(name, pd.DataFrame())
    try:
        return _frame(name, pq.read_table(path).to_pandas())
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path}: cannot be read as Parquet ({error}); make the tables again") from error


def _joined(frames: Iterable[pd.DataFrame]) -> pd.DataFrame:
    present = [frame for frame in frames if not frame.empty]
    return pd.concat(present, ignore_index=True) if present else pd.DataFrame()


def _frame(name: str, frame: pd.DataFrame) -> pd.DataFrame:
    """``frame`` with the columns of table `name` first and typed, further columns after them."""
    known = COLUMNS[name]
    absent = pd.Series([None] * len(frame), dtype=object)
    columns = {column: _typed(frame.get(column, absent), kind) for column, kind in known.items()}
    columns |= {str(column): _guessed(frame[column]) for column in frame.columns if column not in known}
    return pd.DataFrame(columns)


def _typed(values: "pd.Series[Any]", kind: str) -> "pd.Series[Any]":
    if kind == "boolean":
        return pd.Series(pd.array(values.where(values.notna(), None).to_numpy(dtype=object), "boolean"))
    if kind == "text" and (isinstance(values.dtype, pd.StringDtype) or values.isna().all()):
        return values.astype("string").reset_index(drop=True)
    if kind == "text":
        return pd.Series(pd.array([_text(value) for value in values], "string"))
    numbers = pd.Series(pd.to_numeric(values, errors="coerce"), dtype="float64").reset_index(drop=True)
    if kind == "integer" and not (numbers.dropna() % 1).any():
        return numbers.where(numbers.abs() < 2**53).astype("Int64")
    return numbers


def _guessed(values: "pd.Series[Any]") -> "pd.Series[Any]":
    """A column beyond the contract: truth values, numbers (whole where all are) or text."""
    if not pd.api.types.is_object_dtype(values.dtype):
        kinds = (("boolean", pd.api.types.is_bool_dtype), ("number", pd.api.types.is_numeric_dtype))
        kind = next((kind for kind, holds in kinds if holds(values.dtype)), "text")
    else:
        kind = _kind([value for value in values if not _missing(value)])
    typed = _typed(values, kind)
    whole = kind == "number" and not (typed.dropna() % 1).any() and bool(np.isfinite(typed.dropna()).all())
    return _typed(typed, "integer") if whole else typed


def _kind(present: list[Any]) -> str:
    if present and all(isinstance(value, bool | np.bool_) for value in present):
        return "boolean"
    return "number" if present and all(pd.api.types.is_number(value) for value in present) else "text"


def _missing(value: Any) -> bool:
    return value is None or (pd.api.types.is_scalar(value) and bool(pd.isna(value)))


def _text(value: Any) -> Any:
    """A value as text that UTF-8 can hold; lists and mappings as JSON."""
    if _missing(value):
        return pd.NA
    if not isinstance(value, str):
        value = json.dumps(value, sort_keys=True, default=str) if isinstance(value, dict | list | tuple) else str(value)
    return value if value.isascii() else value.encode("utf-8", "replace").decode("utf-8")


def _marked(column: "pd.Series[Any]", by: Callable[[str], bool]) -> NDArray[np.bool_]:
    """Which cells are texts that `by` holds for; distinct texts are looked at once."""
    if not isinstance(column.dtype, pd.StringDtype) and column.dtype != object:
        return np.zeros(len(column), dtype=bool)
    codes, texts = pd.factorize(column)
    marks = np.array([isinstance(text, str) and by(text) for text in texts] + [False], dtype=bool)
    marked: NDArray[np.bool_] = marks[codes]
    return marked


def _escaped(column: "pd.Series[Any]") -> "pd.Series[Any]":
    """The column with an apostrophe before each text that a spreadsheet would run; numbers stay as they are."""
    risky = _marked(column, lambda text: text.startswith(_FORMULA_STARTS))
    return column.mask(risky, "'" + column[risky].astype(str)) if risky.any() else column
