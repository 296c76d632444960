"""Merges the tables of several comparisons: results under equal terms side by side, all others apart.

Results on a data set are merged if task kind, data digest, numerics version, primary metric, supervision and budgets
match; otherwise the data set is renamed. An architecture with different settings is renamed, too. Duplicates (same
architecture, setting and seed) are dropped. Tables are untrusted: invalid ones are refused, and text is never
interpreted.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from archbench.reports.base import schema, tables
from archbench.reports.base.declared import entered
from archbench.reports.base.statistics import RULES
from archbench.reports.base.tables import COLUMNS, KEYS, Tables
from archbench.tasks.base.errors import InputError

OF_RUNS: Final = ("runs", "scores", "curves", "predictions", "environment", "entries")
FACTS: Final = {"archbench_commit": "commit", "numerics": "numerics", "processor": "processor"}  # that each row keeps
SETTING: Final = ("dataset", "match", "condition", "share", "role")
ALIKE: Final = (  # columns in which runs of one architecture do not differ
    "family",
    "description",
    "variant_digest",
    "parameters",
    "width",
    "depth",
    "hidden",
    "optimizer",
    "learning_rate",
    "dropout",
    "batch_tokens",
)
SETTINGS: Final = ["match", "condition", "share"]


@dataclass(frozen=True)
class Source:
    """The tables of one comparison, and the name under which its rows are known in the joined ones."""

    name: str
    tables: Tables


@dataclass
class Merged:
    """The joined tables, and a line for everything that a reader has to know of how they were joined."""

    tables: Tables
    lines: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Apart:
    """A data set that had to be renamed, and the tables that it came with."""

    name: str
    earlier: str
    tables: Tables


def read(folder: Path, name: str) -> Source:
    """The tables in ``folder``, checked; raises ``InputError`` where they are damaged or no tables of a comparison."""
    given = schema.read(folder)
    rules = dict(given["experiment"].dropna().itertuples(index=False, name=None)).get("rules", "")
    if str(rules) not in ("", str(RULES)):
        raise InputError(f"{name}: made with version {rules} of the testing rules; this archbench has version {RULES}")
    return Source(name, given)


def merge(sources: Sequence[Source]) -> Merged:
    """Joins ``sources``; the first one's experiment, tasks and rules are those of the result."""
    first, *others = (_with_origin(source) for source in sources)
    merged = Merged(first.tables, _earlier_notes(first.tables))
    counts, apart = {first.name: _facts(first)}, list[_Apart]()
    for other in others:
        prepared = _aligned(merged.tables, other, merged.lines, apart)
        merged.tables = _joined(merged.tables, prepared.tables)
        counts[other.name] = _facts(prepared)
    record = {"origins": counts, "notes": merged.lines}
    row = pd.DataFrame({"key": ["merged"], "value": [json.dumps(record)]})
    experiment = merged.tables["experiment"]
    experiment = experiment[(experiment["key"] != "merged").fillna(True)]
    merged.tables = tables.completed({**merged.tables, "experiment": pd.concat([experiment, row], ignore_index=True)})
    return merged


def _earlier_notes(given: Tables) -> list[str]:
    """What an earlier merge noted."""
    facts = given["experiment"].dropna().drop_duplicates("key").set_index("key")["value"]
    try:
        return [str(line) for line in json.loads(facts.get("merged", "{}")).get("notes", [])]
    except (ValueError, TypeError, AttributeError):
        return []


def note(experiment: dict[str, str]) -> str:
    """How the tables of a page were joined, in sentences; empty if they are those of one comparison."""
    try:
        record = json.loads(experiment.get("merged", "null"))
        origins, notes = dict(record["origins"]), [str(line) for line in record["notes"]]
        parts = [f"{name} ({about})" for name, about in origins.items()]
    except (ValueError, TypeError, KeyError):
        return ""
    return " ".join([f"Merged from {', '.join(parts)}.", *(f"{line}." for line in notes)])


def _with_origin(source: Source) -> Source:
    """The tables, whose runs say where they are from: ``folder``, or after an earlier merge ``folder/earlier``."""
    runs = source.tables["runs"].copy()
    known = source.tables["environment"].dropna(subset=["key", "value"])
    known = known.drop_duplicates(["run", "key"])
    wide = {fact: known[known["key"] == fact].set_index("run")["value"] for fact in FACTS}
    if "origin" in runs:  # of an earlier merge, or claimed
        runs["origin"] = (source.name + "/" + runs["origin"].astype("string")).fillna(source.name)
    else:
        runs["origin"] = source.name
    for fact, column in FACTS.items():
        runs[column] = runs["run"].map(wide[fact])
    return Source(source.name, {**source.tables, "runs": runs})


def _facts(source: Source) -> str:
    """The number of runs, and the commits and processors that made them."""
    runs = source.tables["runs"]
    made = [", ".join(sorted(set(runs[fact].dropna().astype(str)))) for fact in ("commit", "processor") if fact in runs]
    return "; ".join([f"{len(runs)} runs", *filter(None, made)])


def _aligned(first: Tables, other: Source, lines: list[str], apart: list[_Apart]) -> Source:
    """The other comparison's rows under names that are right beside the first one's, without those that it has."""
    other = _apart_datasets(first, other, lines, apart)
    other = _apart_architectures(first, other, lines)
    ours, theirs = _settings(first), _settings(other.tables)
    again = theirs.index.isin(ours.index) if len(ours) else np.zeros(len(theirs), dtype=bool)
    twice = set(theirs.loc[again, "run"])
    kept = set(other.tables["runs"]["run"]) - (twice - set(theirs.loc[~again, "run"]))
    kept -= set(first["runs"]["run"])
    dropped = len(other.tables["runs"]) - len(kept)
    if dropped:
        lines.append(f"{other.name}: dropped {_runs(dropped)} already present (same architecture, setting and seed)")
    entries = other.tables["entries"]
    entries = entries[entries["run"].isin(kept) & ~_keys(other.tables).isin(ours.index)]
    rest = {name: other.tables[name][other.tables[name]["run"].isin(kept)] for name in OF_RUNS if name != "entries"}
    return Source(other.name, {**other.tables, **rest, "entries": entries})


def _runs(count: int) -> str:
    return "1 run" if count == 1 else f"{count} runs"


def _placed(given: Tables) -> pd.DataFrame:
    """The entries, each with its run's columns; the entry's own names come first."""
    runs = given["runs"].drop(
        columns=["architecture", "dataset", "match", "role", "condition", "share"], errors="ignore"
    )
    return given["entries"].merge(runs, on="run", how="left")


def _keys(given: Tables) -> "pd.Series[Any]":
    """What makes an entry the same result as another: setting, architecture and seed; an index like the entries'."""
    seeds = given["entries"]["run"].map(given["runs"].set_index("run")["seed"])
    columns = [given["entries"][name].astype("string").fillna("") for name in (*SETTING, "architecture")]
    return pd.Series(list(zip(*columns, seeds.astype("string").fillna(""), strict=True)), index=given["entries"].index)


def _settings(given: Tables) -> pd.DataFrame:
    """The run of each result."""
    return pd.DataFrame({"run": given["entries"]["run"].to_numpy()}, index=pd.Index(_keys(given), tupleize_cols=False))


def _apart_datasets(first: Tables, other: Source, lines: list[str], apart: list[_Apart]) -> Source:
    """Renames the data sets that cannot stand beside those of the same name: as one of ``apart`` or with a new name."""
    renamed: dict[str, str] = {}
    for name in sorted(_datasets(other.tables)):
        if name not in _datasets(first):
            continue
        reason = _difference(first, other.tables, name)
        equal = (
            candidate
            for candidate in apart
            if candidate.earlier == name and not _difference(candidate.tables, other.tables, name)
        )
        if reason and (same := next(equal, None)):
            renamed[name] = same.name
            lines.append(f"{name} of {other.name} is merged with {same.name}, not with the first folder's: {reason}")
        elif reason:
            renamed[name] = _unused(f"{name} ({other.name})", _datasets(first) | _datasets(other.tables))
            apart.append(_Apart(renamed[name], name, other.tables))
            lines.append(f"{name} of {other.name} is kept apart: {reason}")
    return Source(other.name, _with_names(other.tables, "dataset", renamed))


def _datasets(given: Tables) -> set[str]:
    """The names of all data sets that the tables mention."""
    columns = (given[name]["dataset"].dropna() for name in ("datasets", "entries", "runs", "references"))
    return {str(name) for column in columns for name in column.unique()}


def _unused(name: str, known: set[str]) -> str:
    return next(other for number in count(1) if (other := name if number == 1 else f"{name} {number}") not in known)


def _difference(first: Tables, other: Tables, dataset: str) -> str:
    """Why rows of a data set cannot stand side by side; empty if they can."""
    cards = [_rows(given["datasets"], dataset) for given in (first, other)]
    if cards[0].empty or cards[1].empty:
        return "its data card is missing"
    for column, words in (
        ("digest", "different data"),
        ("primary", "a different primary metric"),
        ("kind", "a different task"),
    ):
        here, there = (str(card[column].fillna("").iloc[0]) if column in card else "" for card in cards)
        if not here or here != there:
            return words
    placed = [_rows(_placed(given), dataset) for given in (first, other)]
    versions = [set(rows["numerics"].dropna()) if "numerics" in rows else set() for rows in placed]
    if not all(versions):
        return "the numerics version is not recorded"
    if versions[0] != versions[1]:
        return f"numerics {_listed(versions[1])} instead of {_listed(versions[0])}"
    supervised = [_supervision(given, dataset) for given in (first, other)]
    if supervised[0] != supervised[1]:
        return f'supervision "{supervised[1]}" instead of "{supervised[0]}"'
    texts = [rows[SETTINGS].astype("string").fillna("") for rows in placed]
    for setting in texts[1].drop_duplicates().itertuples(index=False):
        ours, theirs = (rows[(text == list(setting)).all(axis=1)] for rows, text in zip(placed, texts, strict=True))
        for column in sorted({str(name) for name in (*ours, *theirs) if str(name).startswith("target_")}):
            here_is = set(ours[column].dropna()) if column in ours else set()
            there_is = set(theirs[column].dropna()) if column in theirs else set()
            if len(ours) and not _equal(here_is, there_is):
                return f"{column.removeprefix('target_')} {_listed(there_is)} instead of {_listed(here_is)}"
    return ""


def _supervision(given: Tables, dataset: str) -> str:
    """On which tokens the models of a task have a loss."""
    return next(
        (str(task.get("supervision", "")) for task in entered(given, "tasks") if task.get("name") == dataset), ""
    )


def _equal(first: set[Any], other: set[Any]) -> bool:
    """Whether two sets of texts or of numbers are equal, numbers within a millionth."""
    if all(isinstance(value, int | float | np.number) for value in first | other):
        first_numbers, other_numbers = sorted(map(float, first)), sorted(map(float, other))
        return len(first_numbers) == len(other_numbers) and bool(np.allclose(first_numbers, other_numbers, rtol=1e-6))
    return first == other


def _listed(values: set[Any]) -> str:
    texts = sorted(f"{value:g}" if isinstance(value, int | float | np.number) else str(value) for value in values)
    return ", ".join(texts) or "unrecorded"


def _apart_architectures(first: Tables, other: Source, lines: list[str]) -> Source:
    """Gives architectures whose settings differ from the first one's of the same name a name of their own."""
    ours, theirs = _placed(first), _placed(other.tables)
    renamed = {}
    for (dataset, name), rows in theirs[theirs["role"] == "compared"].groupby(["dataset", "architecture"]):
        same = ours[
            ((ours["dataset"] == dataset) & (ours["architecture"] == name) & (ours["role"] == "compared")).fillna(False)
        ]
        joined = same.merge(rows, on=["match", "condition", "share"], suffixes=("", "_other"))
        columns = [column for column in ALIKE if f"{column}_other" in joined]
        missing = [column for column in ALIKE if column in same and same[column].notna().any() and column not in rows]
        differing = missing + [column for column in columns if _differs(joined[column], joined[f"{column}_other"])]
        if len(joined) and differing and str(name) not in renamed:
            renamed[str(name)] = f"{name} ({other.name})"
            lines.append(
                f"{name} of {other.name} is kept apart as another architecture: {differing[0]} differs on {dataset}"
            )
    return Source(other.name, _with_names(other.tables, "architecture", renamed))


def _differs(first: "pd.Series[Any]", other: "pd.Series[Any]") -> bool:
    """Whether two columns differ somewhere; a value that only the first has differs."""
    if (first.notna() & other.isna()).any():
        return True
    known = first.notna() & other.notna()
    if pd.api.types.is_numeric_dtype(first) and pd.api.types.is_numeric_dtype(other):
        return not np.allclose(first[known].astype(float), other[known].astype(float), rtol=1e-6)
    return bool((first[known].astype(str) != other[known].astype(str)).any())


def _rows(frame: pd.DataFrame, dataset: str) -> pd.DataFrame:
    return frame[(frame["dataset"] == dataset).fillna(False)]


def _with_names(given: Tables, column: str, renamed: dict[str, str]) -> Tables:
    """The tables with other names in a column, wherever they have it."""
    if not renamed:
        return given
    return {
        name: frame.assign(**{column: frame[column].replace(renamed)}) if column in frame else frame
        for name, frame in given.items()
    }


def _joined(first: Tables, other: Tables) -> Tables:
    """The rows of both; the experiment is the first one's."""
    both = {name: pd.concat([first[name], other[name]], ignore_index=True) for name in COLUMNS if name != "experiment"}
    both |= {name: both[name].drop_duplicates(keys) for name, keys in KEYS.items()}
    return tables.completed({**both, "experiment": first["experiment"]})
