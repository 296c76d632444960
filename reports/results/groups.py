"""The runs of a comparison: by role, data set, axis and condition."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Final

import pandas as pd

from archbench.reports.base.tables import Tables
from archbench.reports.results.place import MATCHES, Place
from archbench.runs.experiment.spec import SCRATCH, UNMATCHED, is_checkpoint

CONDITIONS: Final = ("match", "condition")
SETTING: Final = ["dataset", "match", "condition", "share"]
ROLES: Final = ("compared", "share", "control")


@dataclass(frozen=True, eq=False)
class Group:
    """The runs of one data set under one condition.

    `condition`, in words, is what sets it apart from the others on this data set; empty if it is the only one.
    """

    dataset: str
    task: str
    condition: str
    runs: pd.DataFrame

    @property
    def architectures(self) -> list[str]:
        return list(dict.fromkeys(self.runs["architecture"]))

    @cached_property
    def place(self) -> Place:
        """Where its first run stands; it holds for all architectures."""
        return replace(Place.of(self.runs.iloc[0]), architecture="")

    def without_first(self, condition: str) -> str:
        """A further condition in words, without what it has in common with this first one."""
        return condition.removeprefix(f"{self.condition}; ")

    def of(self, sides: Mapping[str, pd.DataFrame]) -> "Group":
        """The runs of several sides on this data set, each side under its name."""
        runs = [rows.assign(architecture=name) for name, rows in sides.items()]
        return Group(self.dataset, self.task, "", pd.concat(runs, ignore_index=True))

    @cached_property
    def by_architecture(self) -> Mapping[str, pd.DataFrame]:
        """The runs of each architecture."""
        return {str(name): runs for name, runs in self.runs.groupby("architecture", sort=False)}

    @cached_property
    def first_runs(self) -> pd.DataFrame:
        """The first run of each architecture, by its name."""
        return self.runs.drop_duplicates("architecture").set_index("architecture")

    @cached_property
    def statuses(self) -> Mapping[str, list[str]]:
        """How the runs of each architecture ended; "" where that is not known."""
        ended = self.runs["status"].fillna("").astype(str).groupby(self.runs["architecture"], sort=False)
        return {str(name): names.tolist() for name, names in ended}

    def settings(self, names: Sequence[str] | None = None) -> frozenset[tuple[Any, ...]]:
        """The settings that these architectures, or all, were trained in."""
        return frozenset().union(
            *(self._settings.get(name, ()) for name in (self._settings if names is None else names))
        )

    @cached_property
    def _settings(self) -> Mapping[str, frozenset[tuple[Any, ...]]]:
        rows = self.runs[["architecture", *SETTING]].fillna({"condition": "", "share": 1.0}).drop_duplicates()
        by_architecture = rows.groupby("architecture", sort=False)
        return {
            str(name): frozenset(group[SETTING].itertuples(index=False, name=None)) for name, group in by_architecture
        }


def compared_groups(tables: Tables) -> Iterator[Group]:
    """The compared runs by data set and condition, in the order in which they were planned.

    Checkpoints had another budget than any match: they make a group only where there is nothing else.
    """
    runs = placed(tables, "compared")
    named = runs[runs["dataset"].notna() & runs["architecture"].notna()]
    for dataset, rows in named.groupby("dataset", sort=False):
        rows = rows if is_checkpoint_as_is(rows).all() else rows[~is_checkpoint_as_is(rows)]
        rows = rows.fillna({"condition": ""})
        varying = [name for name in CONDITIONS if rows[name].nunique(dropna=True) > 1]
        parts: list[tuple[Any, pd.DataFrame]] = [((), rows)]
        if varying:
            parts = list(rows.groupby(varying, sort=False))
        for values, part in parts:
            task = next(iter(part["task"].dropna()), "")
            known = dict(zip(varying, map(str, values), strict=True))
            words = (MATCHES.get(known.get("match", ""), known.get("match")), known.get("condition"))
            yield Group(str(dataset), str(task), "; ".join(filter(None, words)), part)


def placed(tables: Tables, role: str) -> pd.DataFrame:
    """A row for every place that a run has in this role: its row in `runs`, under the place's name, axis and condition.

    One run may stand in several places, as the reference does, which is the same on every axis. ``entered`` is the
    place's name again, which stays when comparisons call the architecture something else. ``variant`` is what the run
    trained: another architecture than the place's, or one with the name of its form, where trials chose among
    alternatives.
    """
    entries = tables["entries"]
    entries = entries[(entries["role"] == role).fillna(False)].drop_duplicates()
    columns = ["architecture", "dataset", "match", "condition", "role", "share"]
    runs = tables["runs"].assign(variant=tables["runs"]["architecture"])
    runs = runs.drop(columns=[column for column in columns if column in runs])
    made = entries.assign(entered=entries["architecture"]).merge(runs, on="run", how="inner", sort=False)
    form = made["form"].fillna("") if "form" in made else pd.Series("", made.index)
    return made.assign(variant=made["variant"].where(form == "", made["variant"] + ", " + form))


def is_checkpoint_as_is(runs: pd.DataFrame) -> "pd.Series[bool]":
    """True at the runs that scored a checkpoint without training it."""
    return (runs["match"] == UNMATCHED).fillna(False).astype(bool)


def is_started_elsewhere(runs: pd.DataFrame) -> "pd.Series[bool]":
    """True at the runs that finetuned a checkpoint of ``transformers``."""
    if "start" not in runs:
        return pd.Series(False, index=runs.index)
    return runs["start"].fillna(SCRATCH).map(is_checkpoint).astype(bool)
