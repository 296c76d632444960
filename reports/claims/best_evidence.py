"""The claims over several reports: which report has the best evidence on each, and the verdict that follows.

The best evidence on a claim is chosen by a rule that never looks at the direction of a result. (The results of the
first reports were known when it was written.) Among the reports that test the claim, it is the one

1. whose sides pass their gates; then whose test is complete: every pair of the claim was compared and has an interval,
   and gates were measured;
2. then, whose sides were tuned, in trials of which one passes the gate; then those tuned below it; then the others;
3. then, with the most seeds (the fewest of any of its tests);
4. then, with the most training tokens per run (the fewest of any of its runs);
5. then, with the most tests; then the first by name.

The overall verdict is that of this report. Two restrictions can only take a decision away:

- A report corrects its p values for its own tests. Here the p value of each report's decision is corrected once more,
  for all reports that test the claim (Holm 1979; an undecided report counts as a test). A decision that does not
  survive is "undecided".
- If one report reproduces a claim and another finds the opposite, by their own corrections, the "reports disagree".
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import pandas as pd

from archbench.reports.base import formatting
from archbench.reports.base.declared import experiment
from archbench.reports.base.statistics import holm
from archbench.reports.claims import tuning
from archbench.reports.claims.claims import UNTESTED
from archbench.reports.claims.evidence import ClaimVerdict, below_gates
from archbench.reports.claims.ledger import (
    DECIDED,
    DIRECTIONS,
    MISSED,
    NOTICED,
    OUT_OF_REACH,
    SUPERSEDED,
    UNDECIDED,
    UNMET,
    Claim,
    ledger,
    standing,
    successors,
)
from archbench.reports.claims.tuning import NOT_TUNED, Tuning
from archbench.reports.contrasts.contrast import ALPHA
from archbench.reports.report import Report
from archbench.reports.results.comparison import Comparison
from archbench.reports.results.place import MATCHES, SUPERVISION

DISAGREE: Final = "reports disagree"
CONTROLS: Final = (NOTICED, MISSED)
OVERALL: Final = (*DECIDED, DISAGREE, UNDECIDED, *CONTROLS, UNMET, OUT_OF_REACH, SUPERSEDED)
Rank = tuple[bool, bool, int, int, float, int]


@dataclass(frozen=True)
class Evidence:
    """Evidence of one report for a claim; ``settings`` are the conditions of the test in words, by what they are.

    ``fixed``: the test of the claim was recorded before the first run of the report. ``tuning``: of its sides.
    """

    report: str
    ruling: ClaimVerdict
    tokens: float = math.nan
    settings: Mapping[str, str] = field(default_factory=dict)
    fixed: bool = False
    tuning: Tuning = NOT_TUNED

    @property
    def tested(self) -> bool:
        return self.ruling.verdict not in UNTESTED

    @property
    def rank(self) -> Rank:
        """How good the evidence is; greater is better."""
        strength = self.ruling.strength
        passed = strength.gated and not below_gates(self.ruling.counted)
        tokens = self.tokens if self.tokens > 0 else 0.0
        return passed, strength.complete, self.tuning.level, strength.seeds, tokens, strength.tests


@dataclass(frozen=True)
class ClaimRecord:
    """A claim over all reports.

    ``tested`` are the reports that test it, the best evidence first; ``corrected`` are the p values of their decisions,
    corrected for all of them (nan where undecided); ``untested`` are the other reports.
    """

    claim: Claim
    verdict: str
    tested: tuple[Evidence, ...] = ()
    corrected: tuple[float, ...] = ()
    untested: tuple[Evidence, ...] = ()

    @property
    def best(self) -> Evidence | None:
        return self.tested[0] if self.tested else None


def evidence(report: str, judged: Report, rulings: Sequence[ClaimVerdict]) -> list[Evidence]:
    """Evidence of a report for each claim."""
    tuned = tuning.settings(judged)
    return [_evidence(report, judged, ruling, tuned) for ruling in rulings]


def records(entries: Sequence[Evidence]) -> list[ClaimRecord]:
    """Every claim of the ledger over the reports that the entries come from."""
    return [record(claim, [entry for entry in entries if entry.ruling.claim.name == claim.name]) for claim in ledger()]


def record(claim: Claim, entries: Sequence[Evidence]) -> ClaimRecord:
    """A claim over the reports of these entries."""
    tested = ranked([entry for entry in entries if entry.tested])
    corrected = holm([entry.ruling.p for entry in tested])
    untested = tuple(sorted((entry for entry in entries if not entry.tested), key=lambda entry: entry.report))
    return ClaimRecord(claim, _overall(claim, tested, corrected, untested), tuple(tested), tuple(corrected), untested)


def ranked(tested: Sequence[Evidence]) -> list[Evidence]:
    """The reports that test a claim, the best evidence first."""
    return sorted(sorted(tested, key=lambda entry: entry.report), key=lambda entry: entry.rank, reverse=True)


def _overall(claim: Claim, tested: Sequence[Evidence], corrected: Sequence[float], untested: Sequence[Evidence]) -> str:
    if claim.name in successors():
        return SUPERSEDED
    if not tested:
        return OUT_OF_REACH if any(entry.ruling.verdict == OUT_OF_REACH for entry in untested) else UNMET
    if any({*pair} <= {entry.ruling.verdict for entry in tested} for pair in DIRECTIONS):
        return DISAGREE
    if corrected[0] <= ALPHA:
        return tested[0].ruling.verdict
    return MISSED if claim.control else UNDECIDED


def _evidence(report: str, judged: Report, ruling: ClaimVerdict, tuned: Sequence[tuning.Tried]) -> Evidence:
    if ruling.verdict in UNTESTED:
        return Evidence(report, ruling)
    comparisons = _tested_on(judged, ruling)
    runs = _runs(comparisons, ruling)
    tokens = min(_column(runs, "train_tokens"), default=math.nan)
    recorded = experiment(judged.tables).get("ledger", "")
    fixed = any(part.before for part in standing(recorded, {ruling.claim.name}))
    found = tuning.of(tuned, [comparison.group for comparison in comparisons], ruling.counted)
    return Evidence(report, ruling, tokens, _settings(comparisons, runs, ruling), fixed, found)


def _tested_on(judged: Report, ruling: ClaimVerdict) -> list[Comparison]:
    """The comparisons on which a claim was tested: an effect's are under all conditions, others' under the first."""
    claim, sets = ruling.claim, {contrast.dataset for contrast in ruling.counted}
    every = claim.effect or claim.bits or claim.match
    return [
        comparison
        for comparison in (judged.headlines if every else judged.first)
        if claim.match in ("", comparison.group.place.match)
        and (comparison.group.dataset in sets if sets else comparison.group.task in claim.kind)
    ]


def _runs(comparisons: Sequence[Comparison], ruling: ClaimVerdict) -> list[pd.DataFrame]:
    """The runs of the sides that a claim compares; all runs of the comparisons where it compares none."""
    sides = [(contrast.group, name) for contrast in ruling.counted for name in (contrast.first, contrast.second)]
    found = [group.by_architecture[name] for group, name in sides if group and name in group.by_architecture]
    return found or [comparison.group.runs for comparison in comparisons]


def _settings(comparisons: Sequence[Comparison], runs: Sequence[pd.DataFrame], ruling: ClaimVerdict) -> dict[str, str]:
    """The conditions of a test that may differ between reports, by their unit or by what they are."""
    return {
        "seeds": f"{ruling.strength.seeds}",
        "parameters": formatting.span(_column(runs, "parameters")),
        "tokens per run": formatting.span(_column(runs, "train_tokens")),
        "as data": formatting.listing(dict.fromkeys(comparison.group.dataset for comparison in comparisons)),
        "as metric": formatting.listing(dict.fromkeys(comparison.metric.label for comparison in comparisons)),
        "axis": formatting.listing(dict.fromkeys(_axes(comparisons))),
        "loss": formatting.listing(_losses(comparisons)),
    }


def _axes(comparisons: Sequence[Comparison]) -> Iterator[str]:
    for comparison in comparisons:
        match = str(comparison.group.place.match).partition(",")[0]
        yield MATCHES.get(match, match)


def _losses(comparisons: Sequence[Comparison]) -> list[str]:
    """How the models were supervised, in a few words."""
    modes = {
        str(mode)
        for comparison in comparisons
        if "supervision" in comparison.group.runs
        for mode in comparison.group.runs["supervision"].dropna()
    }
    short = {"native": "each family's usual loss"}
    return sorted(short.get(mode, SUPERVISION.get(mode, mode)) for mode in modes)


def _column(runs: Sequence[pd.DataFrame], column: str) -> list[float]:
    return [float(value) for rows in runs if column in rows for value in rows[column].dropna()]
