"""Merges the tables of several comparisons: results under equal terms side by side, all others apart.

Results on a data set are merged if task kind, data digest, numerics version, primary metric, supervision and budgets
match; otherwise the data set is renamed. An architecture with different settings is renamed, too. Duplicates (same
architecture, setting and seed) are dropped. Tables are untrusted: invalid ones are refused, and text is never
interpreted.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any, Final

import numpy as np
import pandas as pd

from archbench.reports.base import tables
from archbench.reports.base.declared import entered
from archbench.reports.base.tables import Tables
from archbench.reports.published.published import PLACE, Published, of_runs

SETTING: Final = ["match", "condition", "share"]
CARD: Final = {"digest": "different data", "primary": "a different primary metric", "kind": "a different task"}
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
Numbers: Final = (int, float, np.number)


@dataclass
class Merged:
    """Joined tables. ``lines`` says what a reader has to know of how they were joined, ``origins`` what each one gave.

    ``apart`` has the data sets that got another name: the earlier one, and the comparison that they came with.
    """

    source: Published
    origins: dict[str, str]
    lines: list[str]
    apart: dict[str, tuple[str, Published]] = field(default_factory=dict)

    @property
    def tables(self) -> Tables:
        """The tables, with the record of how they were joined."""
        given = self.source.tables
        record = json.dumps({"origins": self.origins, "notes": self.lines})
        experiment = given["experiment"][(given["experiment"]["key"] != "merged").fillna(True)]
        row = pd.DataFrame({"key": ["merged"], "value": [record]})
        return tables.completed({**given, "experiment": pd.concat([experiment, row], ignore_index=True)})


def merge(sources: Sequence[Published]) -> Merged:
    """Joins ``sources``; the first one's experiment, tasks and rules are those of the result."""
    first, *others = (_with_origin(source) for source in sources)
    merged = Merged(first, {first.name: _made(first)}, _record(first.facts)[1])
    for other in others:
        other = _with_names(other, "dataset", _new_datasets(merged, other))
        other = _with_names(other, "architecture", _new_architectures(merged, other))
        other = _without_known(merged, other)
        merged.source = replace(first, tables=tables.joined(merged.source.tables, other.tables, first.tables))
        merged.origins[other.name] = _made(other)
    return merged


def note(facts: Mapping[str, str]) -> str:
    """How the tables of a page were joined, in sentences; empty if they are those of one comparison."""
    origins, notes = _record(facts)
    parts = [f"{name} ({made})" for name, made in origins.items()]
    return " ".join([f"Merged from {', '.join(parts)}.", *(f"{line}." for line in notes)]) if origins else ""


def _record(facts: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """Origins that the comparisons gave to joined tables, and notes of that merge; empty for a single comparison."""
    try:
        record = json.loads(facts.get("merged", "null"))
        return dict(record["origins"]), [str(line) for line in record["notes"]]
    except (ValueError, TypeError, KeyError):
        return {}, []


def _with_origin(source: Published) -> Published:
    """The tables, whose runs say where they are from: ``name``, or after an earlier merge ``name/earlier``."""
    runs = source.tables["runs"]
    earlier = runs.get("origin", pd.Series(pd.NA, runs.index)).astype("string")  # of an earlier merge, or claimed
    runs = runs.assign(origin=(source.name + "/" + earlier).fillna(source.name))
    marked = replace(source, tables={**source.tables, "runs": runs})
    return replace(marked, tables={**marked.tables, "runs": marked.runs})


def _made(source: Published) -> str:
    """The number of runs, and the commits and processors that made them."""
    made = [", ".join(sorted(set(source.runs[fact].dropna().astype(str)))) for fact in ("commit", "processor")]
    return "; ".join([f"{len(source.runs)} runs", *filter(None, made)])


def _without_known(merged: Merged, other: Published) -> Published:
    """The other comparison without the runs and places that the joined tables have."""
    known, places = set(_results(merged.source)), other.places["run"]
    is_new = np.array([result not in known for result in _results(other)], dtype=bool)
    runs = set(other.runs["run"])
    kept = runs - (set(places[~is_new]) - set(places[is_new])) - set(merged.source.runs["run"])
    if dropped := len(runs) - len(kept):
        many = "1 run" if dropped == 1 else f"{dropped} runs"
        merged.lines.append(f"{other.name}: dropped {many} already present (same architecture, setting and seed)")
    rows = of_runs({**other.tables, "entries": other.tables["entries"][is_new]}, kept)
    return replace(other, tables=rows)


def _results(source: Published) -> list[tuple[str, ...]]:
    """Of each place and seed what makes it the same result as another."""
    columns = source.places[[*PLACE, "seed"]].astype("string").fillna("")
    return list(columns.itertuples(index=False, name=None))


def _new_datasets(merged: Merged, other: Published) -> dict[str, str]:
    """Names for the data sets that cannot stand beside those of the same name: as one of those apart, or new ones."""
    renamed: dict[str, str] = {}
    datasets, own = _datasets(merged.source), _datasets(other)
    for name in sorted(own & datasets):
        reason = _difference(merged.source, other, name)
        if not reason:
            continue
        equal = (
            new
            for new, (earlier, source) in merged.apart.items()
            if earlier == name and not _difference(source, other, name)
        )
        if same := next(equal, None):
            joined = f"is merged with {same}, not with the first folder's"
        else:
            same, joined = _unused(f"{name} ({other.name})", datasets | own), "is kept apart"
            merged.apart[same] = name, other
        renamed[name] = same
        merged.lines.append(f"{name} of {other.name} {joined}: {reason}")
    return renamed


def _datasets(source: Published) -> set[str]:
    """The names of all data sets that the tables mention."""
    columns = (source.tables[name]["dataset"].dropna() for name in ("datasets", "entries", "runs", "references"))
    return {str(name) for column in columns for name in column.unique()}


def _unused(name: str, known: set[str]) -> str:
    return next(other for number in count(1) if (other := name if number == 1 else f"{name} {number}") not in known)


def _difference(first: Published, other: Published, dataset: str) -> str:
    """Why rows of a data set cannot stand side by side; empty if they can."""
    here, there = (source.cards.get(dataset, {}) for source in (first, other))
    if not here or not there:
        return "its data card is missing"
    for column, words in CARD.items():
        if not here.get(column) or here[column] != there.get(column):
            return words
    ours, theirs = (source.places[source.places["dataset"] == dataset] for source in (first, other))
    versions = [_values(rows, "numerics") for rows in (ours, theirs)]
    if not all(versions):
        return "the numerics version is not recorded"
    if versions[0] != versions[1]:
        return f"numerics {_listed(versions[1])} instead of {_listed(versions[0])}"
    supervised = [_supervision(source, dataset) for source in (first, other)]
    if supervised[0] != supervised[1]:
        return f'supervision "{supervised[1]}" instead of "{supervised[0]}"'
    targets = sorted({str(name) for name in (*ours, *theirs) if str(name).startswith("target_")})
    for _, *sides in _matched(ours, theirs, SETTING):
        for column in targets:
            of_ours, of_theirs = (_values(rows, column) for rows in sides)
            if not _equal(of_ours, of_theirs):
                return f"{column.removeprefix('target_')} {_listed(of_theirs)} instead of {_listed(of_ours)}"
    return ""


def _supervision(source: Published, dataset: str) -> str:
    """On which tokens the models of a task have a loss."""
    tasks = (task for task in entered(source.tables, "tasks") if task.get("name") == dataset)
    return next((str(task.get("supervision", "")) for task in tasks), "")


def _new_architectures(merged: Merged, other: Published) -> dict[str, str]:
    """Names for architectures whose settings differ from those of the same name."""
    renamed: dict[str, str] = {}
    ours, theirs = (source.places[source.places["role"] == "compared"] for source in (merged.source, other))
    for (dataset, name, *_), here, there in _matched(ours, theirs, ["dataset", "architecture", *SETTING]):
        column = next((column for column in ALIKE if _is_other(here, there, column)), "")
        if column and name not in renamed:
            renamed[name] = f"{name} ({other.name})"
            merged.lines.append(
                f"{name} of {other.name} is kept apart as another architecture: {column} differs on {dataset}"
            )
    return renamed


def _matched(
    ours: pd.DataFrame, theirs: pd.DataFrame, columns: list[str]
) -> Iterator[tuple[tuple[Any, ...], pd.DataFrame, pd.DataFrame]]:
    """Values of the columns that rows of both have, and these rows."""
    groups = dict(iter(ours.groupby(columns)))
    for key, rows in theirs.groupby(columns, sort=False):
        if key in groups:
            yield key, groups[key], rows


def _is_other(ours: pd.DataFrame, theirs: pd.DataFrame, column: str) -> bool:
    """True if a column has other values; an empty cell differs where ours has a value."""
    known = _values(ours, column)
    omitted = column not in theirs or theirs[column].isna().any()
    return bool(known) and (bool(omitted) or not _equal(known, _values(theirs, column)))


def _values(rows: pd.DataFrame, column: str) -> set[Any]:
    return set(rows[column].dropna()) if column in rows else set()


def _equal(first: set[Any], other: set[Any]) -> bool:
    """True if two sets of texts or of numbers are equal, numbers within a millionth."""
    if all(isinstance(value, Numbers) for value in first | other):
        first_numbers, other_numbers = sorted(map(float, first)), sorted(map(float, other))
        return len(first_numbers) == len(other_numbers) and bool(np.allclose(first_numbers, other_numbers, rtol=1e-6))
    return first == other


def _listed(values: set[Any]) -> str:
    texts = sorted(f"{value:g}" if isinstance(value, Numbers) else str(value) for value in values)
    return ", ".join(texts) or "unrecorded"


def _with_names(source: Published, column: str, renamed: Mapping[str, str]) -> Published:
    """The tables with other names in a column, wherever they have it."""
    if not renamed:
        return source
    named = {name: frame for name, frame in source.tables.items() if column in frame}
    changed = {name: frame.assign(**{column: frame[column].replace(renamed)}) for name, frame in named.items()}
    return replace(source, tables={**source.tables, **changed})
