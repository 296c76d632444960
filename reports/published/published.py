"""Published tables: where they are, what they state, and the place of each run in their comparison."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import pandas as pd

from archbench.reports.base.statistics import RULES
from archbench.reports.base.tables import AGAINST, Tables, write_parquet
from archbench.reports.published import schema

FACTS: Final = {"archbench_commit": "commit", "numerics": "numerics", "processor": "processor"}  # of a run's machine
PLACE: Final = ["dataset", "condition", "match", "role", "share", "architecture"]  # what the seeds of a group share
HEADLINE: Final = ("compared", "trial")  # the roles of an architecture that joins


@dataclass(frozen=True, eq=False)
class Published:
    """Checked tables in ``folder``; ``name`` is what messages and merged tables call them."""

    name: str
    folder: Path
    tables: Tables

    @cached_property
    def facts(self) -> dict[str, str]:
        """The table of the experiment."""
        return _facts(self.tables["experiment"])

    @cached_property
    def cards(self) -> dict[str, dict[str, Any]]:
        """The row of each data set, without empty cells."""
        return {str(row["dataset"]): row for row in records(self.tables["datasets"])}

    @cached_property
    def runs(self) -> pd.DataFrame:
        """The table of runs, each with its commit, numerics and processor as its environment states them."""
        known, runs = self.tables["environment"].dropna(subset=["key", "value"]), self.tables["runs"]
        stated = {fact: known[known["key"] == fact].drop_duplicates("run").set_index("run")["value"] for fact in FACTS}
        return runs.assign(**{column: runs["run"].map(stated[fact]).astype("string") for fact, column in FACTS.items()})

    @cached_property
    def places(self) -> pd.DataFrame:
        """A row for each row of ``entries``: the place of a run, and its row; ``variant`` is what it trained there."""
        runs = self.runs.assign(variant=self.runs["architecture"]).drop(columns=PLACE, errors="ignore")
        entries = self.tables["entries"].fillna({"condition": "", "share": 1.0})
        return entries.merge(runs, on="run", how="left", sort=False)

    def environment(self, run: str) -> dict[str, str]:
        """Recorded facts on a run's machine and packages."""
        rows = self.tables["environment"]
        return _facts(rows[rows["run"] == run])

    def headline(self) -> "Published":
        """The first condition and axis of each data set: the runs that are compared, and their trials."""
        rows = self.places
        plain = rows["role"].isin(HEADLINE) & (rows["condition"] == "") & (rows["share"] == 1)
        first = rows[plain & (rows["role"] == "compared")].drop_duplicates("dataset").set_index("dataset")["match"]
        return self._only(plain & (rows["match"] == rows["dataset"].map(first)))

    def keep(self, root: Path, datasets: Sequence[str]) -> None:
        """Writes the rows of these data sets into ``root``, so that its report needs no other folder."""
        kept = self._only(self.places["dataset"].isin(datasets)).tables
        kept |= {name: kept[name][kept[name]["dataset"].isin(datasets)] for name in ("datasets", "references")}
        (root / AGAINST).mkdir(parents=True, exist_ok=True)
        for name, frame in kept.items():
            write_parquet(frame, root / AGAINST / f"{name}.parquet")

    def _only(self, places: "pd.Series[bool]") -> "Published":
        """The runs in these places, without other places."""
        entries = self.tables["entries"][places.fillna(False).to_numpy(dtype=bool)]
        return replace(self, tables={**of_runs(self.tables, entries["run"]), "entries": entries})

    @property
    def architectures(self) -> list[str]:
        """The architectures that are compared, in their order."""
        return [str(name) for name in self.places.loc[self.places["role"] == "compared", "architecture"].unique()]

    @property
    def grids(self) -> dict[str, tuple[tuple[float, ...], tuple[float, ...]]]:
        """The learning rates and dropout values that every architecture tried, by data set."""
        trials = self.places[self.places["role"] == "trial"].groupby("dataset")
        return {str(name): (_values(rows["learning_rate"]), _values(rows["dropout"])) for name, rows in trials}

    @property
    def commits(self) -> str:
        """The commits that made the runs, in words."""
        names = sorted({str(commit)[:12] for commit in self.runs["commit"].dropna()})
        return f"commit{'s' if len(names) > 1 else ''} {', '.join(names)}" if names else "its commit was not recorded"

    @property
    def other_rules(self) -> str:
        """How its tests differ from those of this archbench; empty if they do not."""
        rules = self.facts.get("rules", "")
        there = f"version {rules}" if rules else "an unrecorded version"
        return "" if rules == str(RULES) else f"rules of the tests: {there}, here version {RULES}"

    def refusal(self, numerics: Callable[[str], int]) -> str:
        """Why its scores cannot stand beside those of new runs: other rules or numerics; empty if they can.

        ``numerics`` gives this archbench's version for a kind of task, 0 for kinds that are not archbench's own.
        """
        if self.other_rules:
            return self.other_rules
        for task, rows in self.runs.groupby("task"):
            known, here = set(rows["numerics"].fillna("unrecorded").astype(str)), numerics(str(task))
            if here and known != {str(here)}:
                return f"{task} has numerics {', '.join(sorted(known))}, here {here}"
        return ""


def read(folder: Path, name: str) -> Published:
    """The tables in ``folder`` or in ``folder/tables``; raises ``InputError`` where there are none or faulty ones."""
    return Published(name, folder, schema.read(schema.place(folder)))


def of_runs(tables: Tables, runs: Iterable[str]) -> Tables:
    """The tables with the rows of these runs, and all that belongs to no run."""
    kept = list(runs)
    return {**tables, **{name: tables[name][tables[name]["run"].isin(kept)] for name in ("runs", *schema.OF_RUNS)}}


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of a table, without empty cells."""
    rows = frame.to_dict("records")
    return [{str(key): value for key, value in row.items() if not pd.isna(value)} for row in rows]


def _facts(rows: pd.DataFrame) -> dict[str, str]:
    """The rows of a table with keys and values; of a repeated key the first."""
    known = rows.dropna(subset=["key", "value"]).drop_duplicates("key")
    return dict(zip(known["key"], known["value"], strict=True))


def _values(column: "pd.Series[float]") -> tuple[float, ...]:
    return tuple(sorted(float(value) for value in column.dropna().unique()))
