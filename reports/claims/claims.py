"""The ledger of claims: what was said about the families, put to the test on the tables of one report.

`claims.toml` states each claim with the scale and the regime that it was made for. A verdict is one of five: reproduced
here, opposite found here, undecided (with what would decide it), preconditions not met, out of reach at this scale. A
comparison trained from scratch never decides a claim about pretraining.
"""

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

import pandas as pd

from archbench.reports.analysis import scaling
from archbench.reports.analysis.comparison import UNTRAINED, Cell, Comparison, Group, as_is, baselines, joined
from archbench.reports.analysis.conditions import beside
from archbench.reports.analysis.contrasts import Contrast, turned
from archbench.reports.analysis.judgement import Judged
from archbench.reports.analysis.testing import Question, answered, diverged
from archbench.reports.analysis.verdicts import reference_label
from archbench.reports.base import formatting
from archbench.reports.base.tables import Tables
from archbench.reports.claims.evidence import bears_out, by_pair, gathered, outcome, words
from archbench.reports.claims.ledger import OPPOSITE, OUT_OF_REACH, REPRODUCED, UNDECIDED, UNMET, Claim, ledger
from archbench.reports.claims.next_steps import remedy
from archbench.reports.figures import capacity

UNTESTED: Final = (UNMET, OUT_OF_REACH)
GIANT: Final = 1e9  # parameters from which a claim is out of reach of every preset


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
    heard = {claim.name: [] if any(court.lacking(claim)) else court.evidence(claim) for claim in claims}
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
        self.untested = [one for climb in judged.climbs for one in scaling.untested(climb)]
        self.stored = capacity.stored(judged)
        rungs = [(climb.ladder, rung) for climb in judged.climbs for rung in climb.ladder.rungs]
        self.learned = {(one.group.dataset, name) for one in self.first for name in _learned(one)}
        self.learned |= {(at.dataset, at.at(name, rung)) for at, rung in rungs for name in _learned(rung.found)}
        held = baselines(self.tables)
        self.learned |= {
            (held.get(one.group.dataset) or one.group.dataset, f"{name} on {one.group.dataset}")
            for one in self.first
            for name in _learned(one)
        }

    def evidence(self, claim: Claim) -> list[Contrast | Question]:
        """What tests a claim, each data set's in the order of its pairs: contrasts, and what is still to be asked."""
        pairs = [one for found in self._of(claim) for pair in claim.ahead for one in self._tested(found, pair)]
        return [*pairs, *(one for pair in claim.effect for one in self._effects(claim, pair))]

    def lacking(self, claim: Claim) -> Iterator[str]:
        """What the claim needs, and a comparison of this scale or this report lacks."""
        yield from self._beyond(claim)
        yield from self._unmet(claim)

    def rule(self, claim: Claim, evidence: Sequence[Contrast]) -> Ruling:
        beyond, unmet = list(self._beyond(claim)), list(self._unmet(claim))
        elsewhere = f"archbench compare --preset {claim.preset}" if claim.preset else ""
        if beyond:  # one of no size is not beyond this scale, only not tested
            return Ruling(claim, OUT_OF_REACH if claim.parameters else UNMET, f"{_sentence('; '.join(beyond))}.")
        if unmet:
            return Ruling(claim, UNMET, f"{_sentence('; '.join(unmet))}.", elsewhere)
        if claim.bits:
            return Ruling(claim, *self._remembered(claim))
        if claim.over:
            return Ruling(claim, *self._better(claim))
        missing = self._missing(claim)
        if not evidence:
            return Ruling(claim, UNMET, f"Not compared here: {formatting.listing(missing)}.", elsewhere)
        counted = self._counted(claim, evidence)
        rest = [one for one in evidence if one not in counted]
        why = "less deep" if claim.deepest else "no better than an untrained model"
        apart = f"not counted, since {why}: {gathered(rest)}" if rest else ""
        if not counted:
            return Ruling(claim, UNMET, f"{_sentence(apart)}.", elsewhere)
        said = "; ".join(filter(None, (gathered(counted) + self._caution(counted), apart)))
        if missing:
            return Ruling(claim, UNDECIDED, f"{said}; not compared: {formatting.listing(missing)}.", elsewhere)
        if all(bears_out(claim, one) for one in counted):
            return Ruling(claim, REPRODUCED, f"{said}{self._otherwise(counted)}.")
        refuted = any(all(outcome(one) == "behind" for one in own) for own in by_pair(counted))
        if refuted and not any(bears_out(claim, one) for one in counted):
            return Ruling(claim, OPPOSITE, f"{said}{self._otherwise(counted)}.")
        return Ruling(claim, UNDECIDED, f"{said}.", remedy(self.tables, claim, counted))

    def _counted(self, claim: Claim, evidence: Sequence[Contrast]) -> list[Contrast]:
        """The contrasts that decide: at the greatest depth, or where something was learned, if the claim says so."""
        if claim.deepest:
            depths = {one.group.dataset: _most(one.group.runs, "depth") for one in self.first}
            greatest = max(depths[one.dataset] for one in evidence)
            return [one for one in evidence if not depths[one.dataset] < greatest]
        if claim.learned or claim.enough:  # to be equally bad is not enough
            return [one for one in evidence if not one.flat and self._is_learned(one)]
        return list(evidence)

    def _is_learned(self, one: Contrast) -> bool:
        """Whether one of the two is better than an untrained model on the data set."""
        return bool({(one.dataset, one.first), (one.dataset, one.second)} & self.learned)

    def _otherwise(self, evidence: Sequence[Contrast]) -> str:
        """The further conditions under which a contrast comes out otherwise."""
        first = {one.group.dataset: one.group for one in self.first}
        found: dict[str, list[str]] = {}
        for one in evidence:
            for said in dict.fromkeys(each.condition for each in self.found.exploratory if each.condition):
                for other in self.found.under(one.dataset, said, (one.first, one.second)):
                    if outcome(other) not in ("unknown", outcome(one)) and not other.flat:
                        place = f"on {one.dataset} under {beside(first[one.dataset], said)}"
                        found.setdefault(place, []).append(words(other))
        return "".join(f"; otherwise {place}: {', '.join(said)}" for place, said in found.items())

    def _remembered(self, claim: Claim) -> tuple[str, str]:
        """A claim about stored bits, judged by the interval of every architecture at every size.

        What is stored is a lower bound on what could be: it can bear a claim out and not refute it.
        """
        said = {one.above(claim.bits) for one in self.stored}
        return REPRODUCED if said == {"above"} else UNDECIDED, " ".join(capacity.sentences(self.stored))

    def _better(self, claim: Claim) -> tuple[str, str]:
        """A claim about a reference row, judged by the interval of every architecture."""
        parts, all_said = [], set()
        for one in self._of(claim):
            said = {
                cell.architecture: _against(one, cell, one.references.get(claim.over, math.nan)) for cell in one.cells
            }
            all_said |= set(said.values())
            own = (
                f"{formatting.listing(name for name in said if said[name] == word)} {word}"
                for word in dict.fromkeys(said.values())
            )
            lost = diverged(one.group, one.group.architectures)
            more = f" ({formatting.listing(lost)} diverged)" if lost else ""
            parts.append(f"{one.group.dataset}: {', '.join(own)}{more}")
        verdicts = {frozenset({_BETTER}): REPRODUCED, frozenset({_WORSE}): OPPOSITE}
        words_ = f"against the row of the {reference_label(claim.over)}, {'; '.join(parts)}."
        return verdicts.get(frozenset(all_said), UNDECIDED), _sentence(words_)

    def _caution(self, evidence: Sequence[Contrast]) -> str:
        """The data sets on which no architecture is better than a classical method."""
        sets = {one.dataset for one in evidence}
        below = [one.group.dataset for one in self.first if one.none_above_classical and one.group.dataset in sets]
        return f" (on {formatting.listing(below)} none is better than a classical method)" if below else ""

    def _beyond(self, claim: Claim) -> Iterator[str]:
        """What no comparison from scratch at this scale can have."""
        if claim.pretraining:
            yield "it is about pretrained models, and these were trained from scratch or had no common budget"
        if claim.pretraining or claim.parameters >= GIANT:
            yield from _too_small(claim, self.first)

    def _unmet(self, claim: Claim) -> Iterator[str]:
        """What this report lacks."""
        found = self._of(claim)
        if claim.several:
            yield f"it takes comparisons of several {claim.several}"
        if not found:
            of_text = " of natural text" if claim.natural else ""
            unread = " on which nothing was read twice" if claim.once else ""
            yield f"no data set{of_text} here is for {formatting.listing(claim.kind)}{unread}"
            return
        yield from _too_small(claim, found)
        epochs = _least(found, "epochs")
        if claim.epochs and not epochs >= claim.epochs:
            needed, here = formatting.number(claim.epochs), formatting.number(epochs)
            yield f"it was made for {needed} passes over the data and more, and here there were {here}"

    def _of(self, claim: Claim) -> list[Comparison]:
        return [one for one in self.first if one.scored and _several(one) and self._counts(claim, one.group)]

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
        effects = [claim.called for pair in claim.effect if not list(self._effects(claim, pair))]
        return pairs + effects

    def _effects(self, claim: Claim, pair: tuple[str, str]) -> Iterator[Contrast | Question]:
        """What changes do whose names the pair's patterns match, on data of the claim's kind."""
        ones: list[Contrast | Question] = [*self.changes, *self.untested]
        for one in ones:
            names, task = (
                ((one.first, one.second), one.task) if isinstance(one, Contrast) else (one.pair, one.group.task)
            )
            if task in claim.kind and all(re.fullmatch(side, name) for side, name in zip(pair, names, strict=True)):
                yield one

    def _tested(self, found: Comparison, pair: tuple[str, str]) -> Iterator[Contrast | Question]:
        """The primary contrast of a claim's pair on one data set, else a question; none where one is not there."""
        primary = [one for one in self.found.of(found.group.dataset) if {one.first, one.second} == set(pair)]
        if primary:
            yield from (one if one.first == pair[0] else turned(one) for one in primary)
            return
        runs = [self.comparisons.side(found, one) for one in pair]
        if all(len(rows) for rows in runs):
            names = (_said(pair[0]), _said(pair[1]))
            group = Group(found.group.dataset, found.group.task, {}, joined(runs, names))
            yield Question(group, found.metric.name, names)


_BETTER, _WORSE, _OPEN = "better", "worse", "not told from it"


def _against(found: Comparison, cell: Cell, value: float) -> str:
    """Whether an architecture is better or worse than a reference by its interval."""
    ends = [found.metric.gain(end - value) for end in (cell.interval.lower, cell.interval.upper)]
    return _BETTER if min(ends) > 0 else _WORSE if max(ends) < 0 else _OPEN


def _learned(found: Comparison) -> list[str]:
    """The architectures that are better than the untrained model; all where there is no such row, or no interval."""
    value = found.references.get(UNTRAINED, math.nan)
    known = not math.isnan(value)
    return [
        cell.architecture
        for cell in found.scored
        if not (known and cell.interval.known) or _against(found, cell, value) == _BETTER
    ]


def _several(found: Comparison) -> bool:
    """Whether two architectures or more came to an end: to scores, or to nothing, which divergence is."""
    runs = found.group.runs
    ended = runs["status"].isin(["done", "diverged"]).fillna(False)
    return runs.loc[ended, "architecture"].nunique() > 1


def _too_small(claim: Claim, found: Sequence[Comparison]) -> Iterator[str]:
    """What size the claim was made for, where these models are smaller."""
    size = _least(found, "parameters")
    if claim.parameters and not size >= claim.parameters:
        needed, here = formatting.number(claim.parameters), formatting.number(size)
        yield f"it was made for {needed} parameters and more, and these models have {here}"


def _said(side: str) -> str:
    """A side as people say it: decoder@0.5 is "decoder (0.5 of the budget)"."""
    name, _, condition = side.partition("|")
    name, _, share = name.partition("@")
    what = condition or (f"{share} of the budget" if share else "")
    return f"{name} ({what})" if what else name


def _most(runs: pd.DataFrame, column: str) -> float:
    return float(runs[column].astype(float).max()) if column in runs else math.nan


def _least(found: Sequence[Comparison], column: str) -> float:
    """The least value that any run has in a column; nan where none has one."""
    known = [one.group.runs[column].dropna() for one in found if column in one.group.runs]
    return min((float(values.astype(float).min()) for values in known if len(values)), default=math.nan)


def _sentence(said: str) -> str:
    return said[:1].upper() + said[1:]
