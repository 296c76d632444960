"""The ledger of claims: what was said about the families, put to the test on the tables of one report.

`claims.toml` states each claim with the scale and the regime that it was made for. A verdict is one of four: reproduced
here, opposite found here, undecided (with what would decide it), preconditions not met. A comparison trained from
scratch never decides a claim about pretraining.
"""

import hashlib
import math
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pandas as pd

from reports import formatting
from reports.comparison import Comparison, Comparisons, Group, placed
from reports.contrasts import Contrast, Contrasts, Judged, tested
from reports.tables import Tables

LEDGER: Final = Path(__file__).with_name("claims.toml")
REPRODUCED, OPPOSITE, UNDECIDED, UNMET = "reproduced here", "opposite found here", "undecided", "preconditions not met"


@dataclass(frozen=True)
class Claim:
    """One entry of the ledger (its keys are explained there)."""

    name: str
    statement: str
    source: str
    reading: str
    kind: tuple[str, ...]
    ahead: tuple[tuple[str, str], ...]
    pretraining: bool = False
    parameters: float = 0.0
    epochs: float = 0.0


@dataclass(frozen=True)
class Ruling:
    """A claim's verdict, the evidence in words, and the command that would decide it (or nothing)."""

    claim: Claim
    verdict: str
    evidence: str
    command: str = ""


def ledger() -> tuple[Claim, ...]:
    """The claims in their order."""
    entries: list[dict[str, Any]] = tomllib.loads(LEDGER.read_text(encoding="utf-8"))["claims"]
    return tuple(
        Claim(**{**entry, "kind": tuple(entry["kind"]), "ahead": tuple((a, b) for a, b in entry["ahead"])})
        for entry in entries
    )


def digest() -> str:
    """The ledger's SHA-256: what was claimed is fixed before what is found."""
    return hashlib.sha256(LEDGER.read_bytes()).hexdigest()


def rulings(judged: Judged) -> list[Ruling]:
    """Every claim judged by the report's tables."""
    court = _Court(judged.comparisons, judged.first, judged.tested)
    return [court.rule(claim) for claim in ledger()]


class _Court:
    """Judges claims by what one report holds."""

    def __init__(self, comparisons: Comparisons, first: Sequence[Comparison], found: Contrasts) -> None:
        self.comparisons, self.first, self.found = comparisons, first, found
        self.tables: Tables = comparisons.tables

    def rule(self, claim: Claim) -> Ruling:
        unmet = list(self._unmet(claim))
        if unmet:
            return Ruling(claim, UNMET, f"{_sentence('; '.join(unmet))}.")
        evidence = [one for found in self._of(claim) for pair in claim.ahead for one in self._tested(found, pair)]
        missing = self._missing(claim)
        if not evidence:
            return Ruling(claim, UNMET, f"Nothing here tests it: {formatting.listing(missing)} was not compared.")
        outcomes = {one.outcome for one in evidence}
        words = "; ".join(_gathered(evidence))
        if missing:
            return Ruling(claim, UNDECIDED, f"{words}; not compared: {formatting.listing(missing)}.")
        if outcomes == {"ahead"}:
            return Ruling(claim, REPRODUCED, f"{words}.")
        if "behind" in outcomes and "ahead" not in outcomes:
            return Ruling(claim, OPPOSITE, f"{words}.")
        return Ruling(claim, UNDECIDED, f"{words}.", self._command(evidence))

    def _unmet(self, claim: Claim) -> Iterator[str]:
        """What the claim needs and this report lacks."""
        found = self._of(claim)
        if claim.pretraining:
            yield "it is about pretrained models, and these were trained from scratch"
        if not found:
            yield f"no data set here is for {formatting.listing(claim.kind)}"
            return
        runs = pd.concat([one.group.runs for one in found])
        size = _least(runs, "parameters")
        if claim.parameters and not size >= claim.parameters:
            needed, here = formatting.number(claim.parameters), formatting.number(size)
            yield f"it was made for {needed} parameters and more, and these models have {here}"
        epochs = _least(runs, "epochs")
        if claim.epochs and not epochs >= claim.epochs:
            needed, here = formatting.number(claim.epochs), formatting.number(epochs)
            yield f"it was made for {needed} passes over the data and more, and here there were {here}"

    def _of(self, claim: Claim) -> list[Comparison]:
        return [one for one in self.first if one.group.task in claim.kind and len(one.scored) > 1]

    def _missing(self, claim: Claim) -> list[str]:
        """The pairs that no data set tests."""
        return [
            f"{_said(first)} against {_said(second)}"
            for first, second in claim.ahead
            if not any(list(self._tested(found, (first, second))) for found in self._of(claim))
        ]

    def _tested(self, found: Comparison, pair: tuple[str, str]) -> Iterator[Contrast]:
        """The contrast of a claim's pair on one data set; none where one of the two is not there."""
        first, second = pair
        if "|" not in first + second and "@" not in first + second:
            yield from (one for one in self.found.pair(first, second) if one.dataset == found.group.dataset)
            return
        runs = [self._runs(found, side) for side in pair]
        if all(len(rows) for rows in runs):
            names = (_said(first), _said(second))
            group = Group(found.group.dataset, found.group.task, {}, _joined(runs, names))
            yield tested(self.comparisons, group, found.metric.name, names)

    def _runs(self, found: Comparison, side: str) -> pd.DataFrame:
        """The runs of "X", "X|condition" or "X@share" on the data set, on the axis of its first condition."""
        name, _, condition = side.partition("|")
        name, _, share = name.partition("@")
        rows = placed(self.tables, "share" if share else "compared")
        axis = found.group.runs["match"].iloc[0]
        chosen = (rows["dataset"] == found.group.dataset) & (rows["architecture"] == name) & (rows["match"] == axis)
        chosen &= rows["condition"].fillna("") == condition
        if share:
            chosen &= rows["share"] == float(share)
        found_rows: pd.DataFrame = rows[chosen.fillna(False)]
        return found_rows

    def _command(self, evidence: Sequence[Contrast]) -> str:
        """What would decide it: more seeds on the data sets that are open, where seeds can."""
        still = [one for one in evidence if one.outcome in ("open", "unknown")]
        wanted = [one.seeds for one in still if one.seeds is not None]
        experiment = dict(zip(self.tables["experiment"]["key"], self.tables["experiment"]["value"], strict=True))
        command = str(experiment.get("command") or "")
        if not wanted or not command.startswith("archbench compare"):
            return ""
        tasks = ",".join(dict.fromkeys(one.dataset for one in still))
        return f"{command} --tasks {tasks} --seeds {max(*wanted, *(one.runs + 1 for one in still))}"


def _words(one: Contrast) -> str:
    """A contrast's outcome in a few words."""
    gap = formatting.value(abs(one.difference.mean), formatting.decimals(one.difference))
    words = {
        "ahead": f"{one.first} ahead of {one.second} by {gap}",
        "behind": f"{one.second} ahead of {one.first} by {gap}",
        "equal": f"{one.first} and {one.second} equal within the margin",
        "open": f"{one.first} against {one.second} not decided",
        "unknown": f"{one.first} against {one.second} without an interval",
    }
    return words[one.outcome]


def _gathered(evidence: Sequence[Contrast]) -> Iterator[str]:
    """The outcomes of each data set after its name."""
    for dataset in dict.fromkeys(one.dataset for one in evidence):
        own = dict.fromkeys(_words(one) for one in evidence if one.dataset == dataset)
        yield f"{dataset}: {', '.join(own)}"


def _said(side: str) -> str:
    """A side as people say it: decoder@0.5 is "decoder (0.5 of the budget)"."""
    name, _, condition = side.partition("|")
    name, _, share = name.partition("@")
    what = condition or (f"{share} of the budget" if share else "")
    return f"{name} ({what})" if what else name


def _joined(runs: Sequence[pd.DataFrame], names: Sequence[str]) -> pd.DataFrame:
    return pd.concat(
        [rows.assign(architecture=name) for rows, name in zip(runs, names, strict=True)], ignore_index=True
    )


def _least(runs: pd.DataFrame, column: str) -> float:
    if column not in runs or not runs[column].notna().any():
        return math.nan
    return float(runs[column].astype(float).min())


def _sentence(words: str) -> str:
    return words[:1].upper() + words[1:]
