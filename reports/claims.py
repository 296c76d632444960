"""The ledger of claims: what was said about the families, put to the test on the tables of one report.

`claims.toml` states each claim with the scale and the regime that it was made for. A verdict is one of four: reproduced
here, opposite found here, undecided (with what would decide it), preconditions not met. A comparison trained from
scratch never decides a claim about pretraining.
"""

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import pandas as pd

from reports import capacity, formatting
from reports.comparison import Comparison, Group, as_is, joined, side
from reports.contrasts import Contrast, turned
from reports.judgement import Judged
from reports.ledger import Claim, ledger
from reports.statistics import MOST_SEEDS
from reports.tables import Tables
from reports.testing import Question, answered

REPRODUCED, OPPOSITE, UNDECIDED, UNMET = "reproduced here", "opposite found here", "undecided", "preconditions not met"


@dataclass(frozen=True)
class Ruling:
    """A claim's verdict, the evidence in words, what would decide it, a command where there is one, what was tested."""

    claim: Claim
    verdict: str
    evidence: str
    command: str = ""
    contrasts: tuple[Contrast, ...] = ()


def rulings(judged: Judged) -> list[Ruling]:
    """Every claim judged by the report's tables.

    What the claims test beside the primary contrasts and the effects is a family of its own, corrected for being one.
    """
    court = _Court(judged)
    claims = ledger()
    heard = {claim.name: [] if list(court.unmet(claim)) else court.evidence(claim) for claim in claims}
    asked = list(dict.fromkeys(one for found in heard.values() for one in found if isinstance(one, Question)))
    answers = dict(zip(asked, answered(judged.comparisons, asked), strict=True))
    used = {
        name: tuple(answers[one] if isinstance(one, Question) else one for one in found)
        for name, found in heard.items()
    }
    return [replace(court.rule(claim, used[claim.name]), contrasts=used[claim.name]) for claim in claims]


class _Court:
    """Judges claims by what one report holds."""

    def __init__(self, judged: Judged) -> None:
        self.comparisons, self.first, self.found = judged.comparisons, judged.first, judged.tested
        self.tables: Tables = judged.comparisons.tables
        self.changes = [*self.found.effects, *(one for climb in judged.climbs for one in climb.moves)]
        self.stored = capacity.stored(judged)

    def evidence(self, claim: Claim) -> list[Contrast | Question]:
        """What tests a claim, each data set's in the order of its pairs: contrasts, and what is still to be asked."""
        pairs = [one for found in self._of(claim) for pair in claim.ahead for one in self._tested(found, pair)]
        return [*pairs, *(one for pair in claim.effect for one in self._effects(claim, pair))]

    def rule(self, claim: Claim, evidence: Sequence[Contrast]) -> Ruling:
        unmet = list(self.unmet(claim))
        elsewhere = f"archbench compare --preset {claim.preset}" if claim.preset else ""
        if unmet:
            return Ruling(claim, UNMET, f"{_sentence('; '.join(unmet))}.", elsewhere)
        if claim.bits:
            return Ruling(claim, *self._remembered(claim))
        missing = self._missing(claim)
        if not evidence:
            words = f"Nothing here tests it: {formatting.listing(missing)} was not compared."
            return Ruling(claim, UNMET, words, elsewhere)
        words = "; ".join(_gathered(evidence)) + self._caution(evidence)
        if missing:
            return Ruling(claim, UNDECIDED, f"{words}; not compared: {formatting.listing(missing)}.", elsewhere)
        wanted = ("ahead", "equal") if claim.enough else ("ahead",)
        if all(one.outcome in wanted or (claim.enough and one.small) for one in evidence):
            return Ruling(claim, REPRODUCED, f"{words}.")
        refuted = any(all(one.outcome == "behind" for one in own) for own in _by_pair(evidence))
        if refuted and not any(one.outcome in wanted for one in evidence):
            return Ruling(claim, OPPOSITE, f"{words}.")
        return Ruling(claim, UNDECIDED, f"{words}.", self._remedy(claim, evidence))

    def _remembered(self, claim: Claim) -> tuple[str, str]:
        """A claim about stored bits, judged by the interval of every architecture at every size."""
        words = {one.above(claim.bits) for one in self.stored}
        verdicts = {frozenset({"above"}): REPRODUCED, frozenset({"below"}): OPPOSITE}
        return verdicts.get(frozenset(words), UNDECIDED), " ".join(capacity.sentences(self.stored))

    def _caution(self, evidence: Sequence[Contrast]) -> str:
        """The data sets on which every architecture is worse than a classical method."""
        sets = {one.dataset for one in evidence}
        below = [one.group.dataset for one in self.first if one.below_classical and one.group.dataset in sets]
        return f" (on {formatting.listing(below)} all are worse than a classical method)" if below else ""

    def unmet(self, claim: Claim) -> Iterator[str]:
        """What the claim needs and this report lacks."""
        found = self._of(claim)
        if claim.pretraining:
            yield "it is about pretrained models, and these were trained from scratch or had no common budget"
        if claim.several:
            yield f"it takes comparisons of several {claim.several}"
        if not found:
            of_text = " of natural text" if claim.natural else ""
            unread = " on which nothing was read twice" if claim.once else ""
            yield f"no data set{of_text} here is for {formatting.listing(claim.kind)}{unread}"
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
        return [one for one in self.first if len(one.scored) > 1 and self._counts(claim, one.group)]

    def _counts(self, claim: Claim, group: Group) -> bool:
        """Whether a data set is of the kind that the claim is about."""
        rows = self.tables["datasets"]
        origin = "".join(rows.loc[(rows["dataset"] == group.dataset).fillna(False), "origin"].dropna())
        generated, twice = origin.startswith("generated"), not _most(group.runs, "epochs") <= 1.0
        checkpoints = bool(as_is(group.runs).all())
        kind = group.task in claim.kind and not checkpoints
        return kind and not (claim.natural and generated) and not (claim.once and twice)

    def _missing(self, claim: Claim) -> list[str]:
        """The pairs that no data set tests."""
        pairs = [
            f"{_said(first)} against {_said(second)}"
            for first, second in claim.ahead
            if not any(list(self._tested(found, (first, second))) for found in self._of(claim))
        ]
        effects = [pair for pair in claim.effect if not list(self._effects(claim, pair))]
        return pairs + [f"{_plain(first)} against {_plain(second)}" for first, second in effects]

    def _effects(self, claim: Claim, pair: tuple[str, str]) -> Iterator[Contrast]:
        """What changes do whose names the pair's patterns match, on data of the claim's kind."""
        for one in self.changes:
            matches = all(re.fullmatch(side, name) for side, name in zip(pair, (one.first, one.second), strict=True))
            if matches and one.task in claim.kind:
                yield one

    def _tested(self, found: Comparison, pair: tuple[str, str]) -> Iterator[Contrast | Question]:
        """The primary contrast of a claim's pair on one data set, else a question; none where one is not there."""
        primary = [one for one in self.found.of(found.group.dataset) if {one.first, one.second} == set(pair)]
        if primary:
            yield from (one if one.first == pair[0] else turned(one) for one in primary)
            return
        runs = [side(self.tables, found, one) for one in pair]
        if all(len(rows) for rows in runs):
            names = (_said(pair[0]), _said(pair[1]))
            group = Group(found.group.dataset, found.group.task, {}, joined(runs, names))
            yield Question(group, found.metric.name, names)

    def _remedy(self, claim: Claim, evidence: Sequence[Contrast]) -> str:
        """What would decide an open claim: the command with more seeds, else, in words, what it takes."""
        wanted = ("ahead", "equal") if claim.enough else ("ahead",)
        against = [one for one in evidence if one.decided and one.outcome not in wanted]
        if against:
            return f"no number of seeds: {formatting.listing(dict.fromkeys(_against(one) for one in against))}"
        still = [one for one in evidence if one.outcome not in wanted]
        if any(one.outcome == "unknown" for one in still):
            return "scores that vary, of two seeds or more: some have no interval"
        endless = [one for one in still if one.seeds is None]
        if endless:
            sets = formatting.listing(dict.fromkeys(one.dataset for one in endless))
            return f"more test examples or another budget: on {sets} no number of seeds up to {MOST_SEEDS} would"
        seeds = max(max(one.seeds or 0, one.runs + 1) for one in still)
        plain = not claim.effect and not any(mark in side for pair in claim.ahead for side in pair for mark in "|@")
        experiment = dict(zip(self.tables["experiment"]["key"], self.tables["experiment"]["value"], strict=True))
        command = str(experiment.get("command") or "")
        if not plain or not command.startswith("archbench compare"):
            return f"{seeds} seeds of each"
        return f"{command} --tasks {','.join(dict.fromkeys(one.dataset for one in still))} --seeds {seeds}"


def _against(one: Contrast) -> str:
    """What stands against a claim that the first is ahead."""
    if one.outcome == "equal":
        return f"the two are equal on {one.dataset}"
    return f"{one.better} is ahead on {one.dataset}"


def _by_pair(evidence: Sequence[Contrast]) -> list[list[Contrast]]:
    pairs = dict.fromkeys((one.first, one.second) for one in evidence)
    return [[one for one in evidence if (one.first, one.second) == pair] for pair in pairs]


def _words(one: Contrast) -> str:
    """A contrast's outcome in a few words."""
    gap = formatting.value(abs(one.difference.mean), formatting.decimals(one.difference))
    small = ", less than the margin" if one.small else ""
    words = {
        "ahead": f"{one.first} ahead of {one.second} by {gap}{small}",
        "behind": f"{one.second} ahead of {one.first} by {gap}{small}",
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


def _plain(pattern: str) -> str:
    """A pattern of names as people say it."""
    return pattern.replace(".*", "...").replace("\\", "")


def _most(runs: pd.DataFrame, column: str) -> float:
    return float(runs[column].astype(float).max()) if column in runs else math.nan


def _least(runs: pd.DataFrame, column: str) -> float:
    if column not in runs or not runs[column].notna().any():
        return math.nan
    return float(runs[column].astype(float).min())


def _sentence(words: str) -> str:
    return words[:1].upper() + words[1:]
