"""The rules for tables from elsewhere, and the check before anything is read from them.

The columns of each table and their types are `COLUMNS` in `reports/base/tables.py`. Stated here are the cells that may
not be empty, the values that are allowed, the columns by which rows are told apart, and that every run is a row of
`runs`. Further columns are free. Archbench's own records are not checked: a report on what is there beats none.
"""

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from archbench.reports.base import tables
from archbench.reports.base.metrics import of_table
from archbench.reports.base.tables import COLUMNS, Tables
from archbench.tasks.base.errors import InputError, MistakesError, one_line, shortened
from archbench.tasks.metrics.builtin import BUILTIN

OF_RUNS: Final = (
    "scores",
    "decodings",
    "curves",
    "predictions",
    "environment",
    "entries",
)  # tables whose rows are those of runs
REQUIRED: Final = {  # columns without an empty cell
    "runs": ("run", "status"),
    "scores": ("run", "split", "metric", "value"),
    "decodings": ("run", "decoding", "metric", "value"),
    "curves": ("run", "step", "split", "metric"),
    "predictions": ("run", "example"),
    "references": ("dataset", "split", "name", "metric", "value"),
    "environment": ("run", "key"),
    "entries": ("run", "dataset", "match", "role", "architecture"),
    "datasets": ("dataset", "kind"),
    "published": ("dataset", "metric", "value", "model", "source"),
    "metrics": ("metric",),
    "experiment": ("key",),
}
OF_TRAINED: Final = ("architecture", "family", "task", "dataset", "seed")  # required of runs that were trained
TRAINED: Final = ("done", "diverged")
SPLITS: Final = ("train", "validation", "test")
ALLOWED: Final[Mapping[tuple[str, str], tuple[str, ...]]] = {  # beside an empty cell
    ("runs", "status"): (*TRAINED, "failed", "unfinished"),
    ("scores", "split"): (*SPLITS, "slice"),
    ("curves", "split"): SPLITS,
    ("references", "split"): SPLITS,
    ("entries", "role"): ("compared", "trial", "share", "control", "pretraining"),
    ("metrics", "better"): ("higher", "lower", ""),
}
LIMITS: Final = {("metrics", "decimals"): (0, 10), ("runs", "seed"): (0, 2**53), ("predictions", "example"): (0, 2**53)}
KEYS: Final = {  # columns by which the rows of a table are told apart
    "runs": ["run"],
    "scores": ["run", "split", "metric", "slice"],
    "decodings": ["run", "decoding", "metric"],
    "curves": ["run", "step", "split", "metric"],
    "predictions": ["run", "example"],
    "references": ["dataset", "split", "name", "metric"],
    "environment": ["run", "key"],
    "entries": ["run", "dataset", "condition", "match", "role", "architecture", "share", "form"],
    "datasets": ["dataset"],
    "published": ["dataset", "metric", "model", "source"],
    "metrics": ["metric"],
    "experiment": ["key"],
}
RESULT: Final = ("dataset", "condition", "match", "role", "architecture", "share", "seed")  # what runs do not share
OF_TRIALS: Final = ("learning_rate", "dropout")  # nor trials, which also differ in form
NAMES: Final = ("run", "architecture", "dataset", "match", "role", "metric")
LONGEST_NAME: Final = 200
MOST_ROWS: Final = 50_000_000
MOST_BYTES: Final = 2_000_000_000  # of a file
MOST_FAULTS: Final = 20
EMPTY: Final = "is empty; fill it in, or leave out the row"

TYPES: Final = {
    "text": (pa.types.is_string, pa.types.is_large_string, pa.types.is_dictionary),
    "integer": (pa.types.is_integer, pa.types.is_floating),  # of a float every value is whole
    "number": (pa.types.is_integer, pa.types.is_floating),
    "boolean": (pa.types.is_boolean,),
}
WORDS: Final = {"text": "text", "integer": "whole numbers", "number": "numbers", "boolean": "truth values"}
Fault = tuple[str, str]  # where in a table, and what is wrong there


def place(folder: Path) -> Path:
    """Where the tables are that a folder stands for: in ``folder/tables`` or in ``folder`` itself."""
    inside = folder / "tables"
    return inside if (inside / "runs.parquet").is_file() else folder


def read(folder: Path) -> Tables:
    """The tables in `folder`, which may be a stranger's.

    Raises ``MistakesError``, a line for each fault, where they are not what archbench writes, ``InputError`` where
    there are none.
    """
    faults = [f"{path}: {what}" for path in sorted(folder.glob("*.parquet")) for what in _file_faults(path)]
    if not faults:
        frames = tables.read(folder)
        try:
            found = list(_faults(frames)) or [("scores", *fault) for fault in _out_of_range(frames)]
        except Exception as error:  # of any kind: the tables are a stranger's
            raise InputError(f"{folder}: no valid tables ({one_line(error)}); make them again") from error
        faults = [f"{folder / f'{name}.parquet'}: {where}: {what}" for name, where, what in found]
    if faults:
        more = [f"{folder}: and {len(faults) - MOST_FAULTS} more mistakes"] if len(faults) > MOST_FAULTS else []
        raise MistakesError([*faults[:MOST_FAULTS], *more])
    return frames


def _file_faults(path: Path) -> Iterator[str]:
    """Why a file cannot be read as a table: no Parquet, too large, odd or missing columns, other types."""
    try:
        schema, metadata = pq.read_schema(path), pq.read_metadata(path)
        groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    except Exception as error:  # pyarrow raises errors of many kinds for damaged files
        yield f"cannot be read as Parquet ({error}); make the tables again"
        return
    size = path.stat().st_size + sum(group.total_byte_size for group in groups)
    if metadata.num_rows > MOST_ROWS or size > MOST_BYTES:
        yield f"{metadata.num_rows} rows, {size} bytes: larger than allowed; leave out predictions or curves"
    if len(set(schema.names)) < len(schema.names):
        yield "a column name is not valid or appears twice; remove one of them"
    for name in schema.names:
        if not re.fullmatch(r"[A-Za-z0-9_. -]{1,100}", name):
            yield f"column {shortened(name)!r}: a column name is not valid or appears twice; rename it"
    known = COLUMNS.get(path.stem, {})
    for column in (name for name in REQUIRED.get(path.stem, ()) if name not in schema.names):
        yield f"column {column}: missing; make the tables again"
    for field in (field for field in schema if field.name in known):
        if not pa.types.is_null(field.type) and not any(is_type(field.type) for is_type in TYPES[known[field.name]]):
            yield f"column {field.name}: {field.type}, expected {WORDS[known[field.name]]}; make the tables again"


def _faults(frames: Tables) -> Iterator[tuple[str, str, str]]:
    """Table, place and mistake of each fault in the values."""
    for name, frame in frames.items():
        for fault in (*_cells(name, frame), *_repeated(frame, KEYS[name])):
            yield (name, *fault)
    runs = frames["runs"]
    for name in OF_RUNS:
        strangers = ~frames[name]["run"].isin(runs["run"]) & frames[name]["run"].notna()
        yield from ((name, *fault) for fault in _at(frames[name], "run", strangers, "is not in runs.parquet"))
    trained = runs["status"].isin(TRAINED)
    for column in OF_TRAINED:
        yield from (("runs", *fault) for fault in _at(runs, column, trained & _blank(runs[column]), EMPTY))
    yield from (("entries", *fault) for fault in _repeated_results(frames))


def _cells(name: str, frame: pd.DataFrame) -> Iterator[Fault]:
    """Cells that are empty, not of their type, not allowed or no valid name."""
    for column, kind in COLUMNS[name].items():
        values = frame[column]
        if column in REQUIRED[name]:
            yield from _at(frame, column, _blank(values), EMPTY)
        if kind == "integer" and pd.api.types.is_float_dtype(values):
            yield from _at(frame, column, values % 1 != 0, "expected a whole number")
        if (allowed := ALLOWED.get((name, column))) is not None:
            wrong = values.notna() & ~values.isin(allowed)
            yield from _at(frame, column, wrong, f"is not one of {', '.join(filter(None, allowed))}")
        if (limits := LIMITS.get((name, column))) is not None:
            wrong = values.notna() & ~values.between(*limits)
            yield from _at(frame, column, wrong, f"expected a number from {limits[0]} to {limits[1]}")
        if column in NAMES:
            odd = [text for text in values.dropna().unique() if not _is_plain(str(text))]
            yield from _at(frame, column, values.isin(odd), "is not a valid name; give another") if odd else ()


def _blank(values: "pd.Series[Any]") -> "pd.Series[bool]":
    if isinstance(values.dtype, pd.StringDtype):
        return values.isna() | (values == "").fillna(False) | values.str.isspace().fillna(False)
    return values.isna()


def _repeated(frame: pd.DataFrame, key: list[str], shown: Sequence[str] = ()) -> Iterator[Fault]:
    """Rows whose key an earlier row has; rows without a key are told elsewhere. ``shown`` may be a part of the key."""
    twice = frame.duplicated(key) & frame[key[0]].notna()
    if twice.any():
        rows = frame.loc[frame.duplicated(key, keep=False), key].astype("string").fillna("")
        row = int(frame.index.to_numpy()[int(np.argmax(twice))])
        earlier = int(rows.index.to_numpy()[int(np.argmax((rows == rows.loc[row]).all(axis=1)))])
        columns = f"column{'s' if len(key) > 1 else ''} {', '.join(shown or key)}"
        yield f"row {row + 1}{_more(twice)}, {columns}", f"the same as row {earlier + 1}; keep one of them"


def _repeated_results(frames: Tables) -> Iterator[Fault]:
    """Runs that were trained for the same place of the comparison with the same seed, under whatever names."""
    absent = {column: np.nan for column in OF_TRIALS if column not in frames["runs"]}
    runs = frames["runs"].assign(**absent).drop_duplicates("run")
    placed = frames["entries"].merge(runs[["run", "seed", "status", *OF_TRIALS]], on="run", how="left")
    placed.loc[(placed["role"] != "trial").fillna(True), list(OF_TRIALS)] = 0  # of other runs they are no place
    placed["form"] = placed["form"].where((placed["role"] == "trial").fillna(False))
    placed = placed.fillna({"condition": "", "share": 1.0, "form": ""})
    key = [*RESULT, *OF_TRIALS, "form"]
    yield from _repeated(placed[placed["status"].isin(TRAINED) & placed["seed"].notna()], key, RESULT)


def _out_of_range(frames: Tables) -> Iterator[Fault]:
    """Scores that their metric cannot have; the limits of built-in metrics are archbench's."""
    metrics, scores = of_table(frames["metrics"]), frames["scores"]
    known = {name: BUILTIN.get(str(name)) or metrics[str(name)] for name in scores["metric"].unique()}
    least, most = (
        scores["metric"].map({name: getattr(of, end) for name, of in known.items()}).astype("float64")
        for end in ("least", "most")
    )
    wrong = ~scores["value"].between(least - 1e-9, most + 1e-9) | ~np.isfinite(scores["value"])
    yield from _at(scores, "value", wrong, "is not a value of its metric")


def _at(frame: pd.DataFrame, column: str, wrong: "pd.Series[bool]", what: str) -> Iterator[Fault]:
    """One fault for all rows where a column is ``wrong``: the first of them, and how many more there are."""
    wrong = wrong.fillna(False).astype(bool)
    if wrong.any():
        row = int(wrong.argmax())
        value = frame[column].iloc[row]
        shown = f"{shortened(str(value))!r} " if pd.notna(value) and str(value).strip() else ""
        yield f"row {row + 1}{_more(wrong)}, column {column}", f"{shown}{what}"


def _more(wrong: "pd.Series[bool]") -> str:
    count = int(wrong.sum()) - 1
    return f" (and {count} more)" if count else ""


def _is_plain(name: str) -> bool:
    """True if text can be a name: short, in one line, without invisible characters."""
    return len(name) <= LONGEST_NAME and not any(unicodedata.category(letter) in ("Cc", "Cf", "Co") for letter in name)
