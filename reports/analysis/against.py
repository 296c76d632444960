"""What a published comparison fixes for an architecture that joins it: rows, grids, numerics, rules."""

from collections.abc import Callable, Sequence
from typing import Final

import pandas as pd

from archbench.reports.analysis.groups import placed
from archbench.reports.base.statistics import RULES
from archbench.reports.base.tables import Tables

ROLES: Final = ("compared", "trial")
OF_RUNS: Final = ("runs", "scores", "curves", "predictions", "environment")  # the tables with rows of runs


def headline(tables: Tables) -> Tables:
    """The rows of each data set's first condition and axis: runs that are compared, and their trials."""
    entries = tables["entries"]
    plain = entries["role"].isin(ROLES) & (entries["condition"].fillna("") == "") & (entries["share"].fillna(1.0) == 1)
    entries = entries[plain.fillna(False)]
    first = entries[entries["role"] == "compared"].drop_duplicates("dataset").set_index("dataset")["match"]
    return _placed_in(tables, entries[(entries["match"] == entries["dataset"].map(first)).fillna(False)])


def of_datasets(tables: Tables, names: Sequence[str]) -> Tables:
    """The rows of these data sets."""
    entries = tables["entries"]
    rest = {name: tables[name][tables[name]["dataset"].isin(names)] for name in ("datasets", "references")}
    return {**_placed_in(tables, entries[entries["dataset"].isin(names)]), **rest}


def _placed_in(tables: Tables, entries: pd.DataFrame) -> Tables:
    """The tables with these entries and their runs."""
    kept = {name: tables[name][tables[name]["run"].isin(entries["run"])] for name in OF_RUNS}
    return {**tables, **kept, "entries": entries}


def architectures(tables: Tables) -> list[str]:
    """The architectures that are compared, in their order."""
    return [str(name) for name in placed(tables, "compared")["architecture"].drop_duplicates()]


def refusal(tables: Tables, numerics: Callable[[str], int]) -> str:
    """Why these tables cannot be compared with new runs: other rules of the tests, or numerics; empty if they can.

    ``numerics`` gives this archbench's version for a kind of task, 0 for kinds that are not archbench's own.
    """
    facts = tables["experiment"].dropna().drop_duplicates("key").set_index("key")["value"]
    rules = str(facts.get("rules", ""))
    if rules != str(RULES):
        there = f"version {rules}" if rules else "an unrecorded version"
        return f"rules of the tests: {there}, here version {RULES}"
    environment = tables["environment"][(tables["environment"]["key"] == "numerics").fillna(False)]
    versions = tables["runs"][["run", "task"]].merge(environment, on="run", how="left")
    for task, rows in versions.groupby("task"):
        known, here = set(rows["value"].fillna("unrecorded").astype(str)), numerics(str(task))
        if here and known != {str(here)}:
            return f"{task} has numerics {', '.join(sorted(known))}, here {here}"
    return ""


def commits(tables: Tables) -> str:
    """The commits that made the runs, in words."""
    environment = tables["environment"]
    known = environment.loc[(environment["key"] == "archbench_commit").fillna(False), "value"].dropna()
    names = sorted({str(value)[:12] for value in known})
    return f"commit{'s' if len(names) > 1 else ''} {', '.join(names)}" if names else "its commit was not recorded"


def grids(tables: Tables) -> dict[str, tuple[tuple[float, ...], tuple[float, ...]]]:
    """The learning rates and dropout values that every architecture tried, by data set."""
    by_dataset = placed(tables, "trial").groupby("dataset")
    return {str(name): (_values(rows["learning_rate"]), _values(rows["dropout"])) for name, rows in by_dataset}


def _values(column: "pd.Series[float]") -> tuple[float, ...]:
    return tuple(sorted(float(value) for value in column.dropna().unique()))
