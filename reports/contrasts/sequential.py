"""Seeds added to open contrasts until all are decided: when they are tested, and how much error each look may spend.

An experiment may state a largest number of seeds. Its primary contrasts are then tested after the listed seeds and
after each further one. Half of the error is spent at the last look; the earlier looks share the other half equally.
By Bonferroni's inequality, the probability of a false verdict is then at most 5% for differences and 5% for equality,
however the looks depend on each other. At each look the contrasts that are left are Holm-corrected. A contrast that is
decided stays as it is; seeds are added only for those that are not.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import pandas as pd

from archbench.reports.base.tables import Tables
from archbench.reports.contrasts.contrast import Contrast, holm_corrected

KEY: Final = "until_decided"
LAST_SHARE: Final = 0.5  # of the error that is spent at the last look
ENDED: Final = frozenset({"done", "diverged"})


@dataclass(frozen=True)
class Rule:
    """Up to how many seeds; ``seeds`` is how many each data set lists, ``last`` the largest seed listed for it.

    ``earlier`` are other largest numbers of seeds that were stated before.
    """

    max_seeds: int
    seeds: Mapping[str, int]
    last: Mapping[str, int]
    earlier: tuple[int, ...] = ()

    def looks(self, dataset: str) -> int:
        return max(self.max_seeds - self.seeds.get(dataset, self.max_seeds), 0) + 1

    def alpha_share(self, dataset: str, look: int) -> float:
        """The part of the error that is spent at a look; the first is 0."""
        looks = self.looks(dataset)
        if looks == 1:
            return 1.0
        return LAST_SHARE if look == looks - 1 else (1 - LAST_SHARE) / (looks - 1)

    def seeds_at(self, dataset: str, look: int) -> int:
        """The number of seeds at a look."""
        return self.seeds.get(dataset, self.max_seeds) + look


def rule(tables: Tables) -> Rule | None:
    """The rule that the experiment states; None where it trains the listed seeds only."""
    rows = tables["experiment"]
    texts = rows.loc[(rows["key"] == KEY).fillna(False), "value"].dropna()
    if texts.empty:
        return None
    rule = json.loads(texts.iloc[0])
    return Rule(rule["max_seeds"], rule["seeds"], rule["last"], tuple(rule.get("earlier", ())))


def looks(tables: Tables, rule: Rule) -> int:
    """The number of looks that runs have been planned for."""
    added = _added(tables, rule)
    planned = int(added.max()) if len(added) else 0
    return 1 + min(max(planned, 0), max(map(rule.looks, rule.seeds), default=1) - 1)


def at_look(tables: Tables, rule: Rule, look: int) -> Tables:
    """The tables without the runs that were added after a look."""
    entries = tables["entries"]
    return {**tables, "entries": entries[~(_added(tables, rule) > look)]}


def complete(runs: pd.DataFrame, pair: Sequence[str], last: int, look: int) -> bool:
    """True if both architectures have ended all the runs that were added for a look."""
    runs = runs[(runs["seed"] > last).fillna(False) & runs["status"].isin(ENDED)]
    wanted = set(range(last + 1, last + look + 1))
    return all(wanted <= set(runs.loc[runs["architecture"] == name, "seed"]) for name in pair)


class HypothesisFamily:
    """The contrasts of one family, look after look: each stays as it is once it is decided."""

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self.looks = 0
        self._latest: dict[int, Contrast] = {}
        self._settled: dict[int, Contrast] = {}

    def look(self, tested: Mapping[int, Contrast], planned: int = 0) -> list[Contrast]:
        """The whole family after one more look; an open contrast is as it was when it was last tested.

        ``tested`` has what is tested now, by its place among the tests, with p values divided by the look's share of
        error. The first look has the whole family but for the ``planned`` contrasts, which have no runs yet.
        """
        self._latest |= tested
        latest = [self._latest[index] for index in sorted(self._latest)]
        corrected = holm_corrected(latest, self._settled, planned)
        for index, contrast in enumerate(corrected):
            if index not in self._settled and contrast.outcome not in ("open", "unknown"):
                seeds = self.rule.seeds_at(contrast.dataset, self.looks) if contrast.decided else None
                self._settled[index] = replace(contrast, decided_after=seeds)
        self.looks += 1
        return [self._settled.get(index, contrast) for index, contrast in enumerate(corrected)]


def _added(tables: Tables, rule: Rule) -> "pd.Series[Any]":
    """How far the seed of each entry lies beyond the last listed one; at most 0 for runs that were not added."""
    entries = tables["entries"]
    seeds = entries["run"].map(tables["runs"].drop_duplicates("run").set_index("run")["seed"])
    beyond = seeds.astype("Float64") - entries["dataset"].map(rule.last).astype("Float64")
    return beyond.where((entries["role"] == "compared").fillna(False), 0).fillna(0)
