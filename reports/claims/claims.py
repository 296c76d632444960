"""The ledger of claims: published statements about the families, tested on the tables of one report.

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
from archbench.reports.analysis.comparison import UNTRAINED, Cell, Comparison, Group, baselines, is_pretrained, joined
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
class ClaimVerdict:
    """A claim's verdict, the evidence in words, what would decide it, a command where there is one, what was tested."""

    claim: Claim
    verdict: str
    evidence: str
    command: str = ""
    contrasts: tuple[Contrast, ...] = ()


def claim_verdicts(judged: Judged) -> list[ClaimVerdict]:
    """Every claim judged by the report's tables.

    What the claims test beside the primary contrasts and the effects is a family of its own, corrected for being one.
    """
    judge = _ClaimJudge(judged)
    claims = ledger()
    evidence = {claim.name: [] if any(judge.lacking(claim)) else judge.evidence(claim) for claim in claims}
    questions = [entry for entries in evidence.values() for entry in entries if isinstance(entry, Question)]
    asked = list(dict.fromkeys(questions))
    answers = dict(zip(asked, answered(judged.comparisons, asked), strict=True))
    used = {
        name: tuple(answers[entry] if isinstance(entry, Question) else entry for entry in entries)
        for name, entries in evidence.items()
    }
    return [replace(judge.verdict(claim, used[claim.name]), contrasts=used[claim.name]) for claim in claims]


class _ClaimJudge:
    """Judges claims by what one report holds."""

    def __init__(self, judged: Judged) -> None:
        self.comparisons, self.first, self.tested = judged.comparisons, judged.first, judged.tested
        self.tables: Tables = judged.comparisons.tables
        self.changes = [*self.tested.effects, *(entry for trend in judged.trends for entry in trend.moves)]
        self.untested = [entry for trend in judged.trends for entry in scaling.untested(trend)]
        self.stored = capacity.stored(judged)
        points = [(trend.sweep, point) for trend in judged.trends for point in trend.sweep.points]
        self.learned = {(entry.group.dataset, name) for entry in self.first for name in _learned(entry)}
        self.learned |= {
            (at.dataset, at.at(name, point)) for at, point in points for name in _learned(point.comparison)
        }
        held = baselines(self.tables)
        self.learned |= {
            (held.get(entry.group.dataset) or entry.group.dataset, f"{name} on {entry.group.dataset}")
            for entry in self.first
            for name in _learned(entry)
        }

    def evidence(self, claim: Claim) -> list[Contrast | Question]:
        """What tests a claim, each data set's in the order of its pairs: contrasts, and what is still to be asked."""
        pairs = [
            entry
            for comparison in self._of(claim)
            for pair in claim.ahead
            for entry in self._pair_tests(comparison, pair)
        ]
        return [*pairs, *(entry for pair in claim.effect for entry in self._effects(claim, pair))]

    def lacking(self, claim: Claim) -> Iterator[str]:
        """What the claim needs, and a comparison of this scale or this report lacks."""
        yield from self._beyond(claim)
        yield from self._unmet(claim)

    def verdict(self, claim: Claim, evidence: Sequence[Contrast]) -> ClaimVerdict:
        beyond, unmet = list(self._beyond(claim)), list(self._unmet(claim))
        elsewhere = f"archbench compare --preset {claim.preset}" if claim.preset else ""
        if beyond:  # one of no size is not beyond this scale, only not tested
            return ClaimVerdict(claim, OUT_OF_REACH if claim.parameters else UNMET, f"{_sentence('; '.join(beyond))}.")
        if unmet:
            return ClaimVerdict(claim, UNMET, f"{_sentence('; '.join(unmet))}.", elsewhere)
        if claim.bits:
            return ClaimVerdict(claim, *self._remembered(claim))
        if claim.over:
            return ClaimVerdict(claim, *self._better(claim))
        missing = self._missing(claim)
        if not evidence:
            return ClaimVerdict(claim, UNMET, f"Not compared: {formatting.listing(missing)}.", elsewhere)
        counted = self._counted(claim, evidence)
        rest = [contrast for contrast in evidence if contrast not in counted]
        why = "less deep" if claim.deepest else "no better than an untrained model"
        apart = f"not counted ({why}): {gathered(rest)}" if rest else ""
        if not counted:
            return ClaimVerdict(claim, UNMET, f"{_sentence(apart)}.", elsewhere)
        text = "; ".join(filter(None, (gathered(counted) + self._caution(counted), apart)))
        if missing:
            return ClaimVerdict(claim, UNDECIDED, f"{text}; not compared: {formatting.listing(missing)}.", elsewhere)
        if all(bears_out(claim, contrast) for contrast in counted):
            return ClaimVerdict(claim, REPRODUCED, f"{text}{self._differences(counted)}.")
        refuted = any(all(outcome(contrast) == "behind" for contrast in contrasts) for contrasts in by_pair(counted))
        if refuted and not any(bears_out(claim, contrast) for contrast in counted):
            return ClaimVerdict(claim, OPPOSITE, f"{text}{self._differences(counted)}.")
        return ClaimVerdict(claim, UNDECIDED, f"{text}.", remedy(self.tables, claim, counted))

    def _counted(self, claim: Claim, evidence: Sequence[Contrast]) -> list[Contrast]:
        """The contrasts that decide: at the greatest depth, or where something was learned, if the claim says so."""
        if claim.deepest:
            depths = {comparison.group.dataset: _most(comparison.group.runs, "depth") for comparison in self.first}
            greatest = max(depths[contrast.dataset] for contrast in evidence)
            return [contrast for contrast in evidence if not depths[contrast.dataset] < greatest]
        if claim.learned or claim.enough:  # to be equally bad is not enough
            return [contrast for contrast in evidence if not contrast.flat and self._is_learned(contrast)]
        return list(evidence)

    def _is_learned(self, contrast: Contrast) -> bool:
        """Whether one of the two is better than an untrained model on the data set."""
        return bool({(contrast.dataset, contrast.first), (contrast.dataset, contrast.second)} & self.learned)

    def _differences(self, evidence: Sequence[Contrast]) -> str:
        """The further conditions under which a contrast has another outcome."""
        first = {comparison.group.dataset: comparison.group for comparison in self.first}
        exploratory = (contrast.condition for contrast in self.tested.exploratory)
        conditions = dict.fromkeys(filter(None, exploratory))
        by_place: dict[str, list[str]] = {}
        for contrast in evidence:
            for condition in conditions:
                for other in self.tested.under(contrast.dataset, condition, (contrast.first, contrast.second)):
                    if outcome(other) not in ("unknown", outcome(contrast)) and not other.flat:
                        place = f"on {contrast.dataset} under {beside(first[contrast.dataset], condition)}"
                        by_place.setdefault(place, []).append(words(other))
        return "".join(f"; different {place}: {', '.join(texts)}" for place, texts in by_place.items())

    def _remembered(self, claim: Claim) -> tuple[str, str]:
        """A claim about stored bits, judged by the interval of every architecture at every size.

        What is stored is a lower bound on what could be: it can bear a claim out and not refute it.
        """
        outcomes = {point.above(claim.bits) for point in self.stored}
        return REPRODUCED if outcomes == {"above"} else UNDECIDED, " ".join(capacity.sentences(self.stored))

    def _better(self, claim: Claim) -> tuple[str, str]:
        """A claim about a reference row, judged by the interval of every architecture."""
        parts, all_outcomes = [], set()
        for comparison in self._of(claim):
            outcomes = {
                cell.architecture: _against(comparison, cell, comparison.references.get(claim.over, math.nan))
                for cell in comparison.cells
            }
            all_outcomes |= set(outcomes.values())
            parts_of_set = (
                _are([name for name in outcomes if outcomes[name] == word], word)
                for word in dict.fromkeys(outcomes.values())
            )
            lost = diverged(comparison.group, comparison.group.architectures)
            more = f" ({formatting.listing(lost)} diverged)" if lost else ""
            parts.append(f"on {comparison.group.dataset}, {formatting.listing(parts_of_set)}{more}")
        verdicts = {frozenset({_BETTER}): REPRODUCED, frozenset({_WORSE}): OPPOSITE}
        words_ = f"compared with the {reference_label(claim.over)}: {'; '.join(parts)}."
        return verdicts.get(frozenset(all_outcomes), UNDECIDED), _sentence(words_)

    def _caution(self, evidence: Sequence[Contrast]) -> str:
        """The data sets on which no architecture is better than a classical method."""
        sets = {contrast.dataset for contrast in evidence}
        below = [
            comparison.group.dataset
            for comparison in self.first
            if comparison.none_above_classical and comparison.group.dataset in sets
        ]
        return (
            f" (no architecture is better than the best simple baseline on {formatting.listing(below)})"
            if below
            else ""
        )

    def _beyond(self, claim: Claim) -> Iterator[str]:
        """What no comparison from scratch at this scale can have."""
        if claim.pretraining:
            yield "about models pretrained under equal budgets; none here are"
        if claim.pretraining or claim.parameters >= GIANT:
            yield from _too_small(claim, self.first)

    def _unmet(self, claim: Claim) -> Iterator[str]:
        """What this report lacks."""
        comparisons = self._of(claim)
        if claim.several:
            yield f"requires comparisons at several {claim.several}"
        if not comparisons:
            of_text = " of natural text" if claim.natural else ""
            unread = " that is read only once" if claim.once else ""
            *others, last = claim.kind
            kinds = f"{', '.join(others)} or {last}" if others else last
            yield f"no data set{of_text} for {kinds}{unread}"
            return
        yield from _too_small(claim, comparisons)
        epochs = _least(comparisons, "epochs")
        if claim.epochs and not epochs >= claim.epochs:
            needed, here = formatting.number(claim.epochs), formatting.number(epochs)
            yield f"claimed for at least {needed} epochs; here {here}"

    def _of(self, claim: Claim) -> list[Comparison]:
        return [
            comparison
            for comparison in self.first
            if comparison.scored and _several(comparison) and self._counts(claim, comparison.group)
        ]

    def _counts(self, claim: Claim, group: Group) -> bool:
        """Whether a data set is of the kind that the claim is about."""
        rows = self.tables["datasets"]
        origin = "".join(rows.loc[(rows["dataset"] == group.dataset).fillna(False), "origin"].dropna())
        generated, twice = origin.startswith("generated"), not _most(group.runs, "epochs") <= 1.0
        checkpoints = bool(is_pretrained(group.runs).all())
        kind = group.task in claim.kind and not checkpoints
        return kind and not (claim.natural and generated) and not (claim.once and twice)

    def _missing(self, claim: Claim) -> list[str]:
        """The pairs that no data set tests."""
        pairs = [
            f"{_side_text(first)} vs. {_side_text(second)}"
            for first, second in claim.ahead
            if not any(list(self._pair_tests(comparison, (first, second))) for comparison in self._of(claim))
        ]
        effects = [claim.called for pair in claim.effect if not list(self._effects(claim, pair))]
        return pairs + effects

    def _effects(self, claim: Claim, pair: tuple[str, str]) -> Iterator[Contrast | Question]:
        """What changes do whose names the pair's patterns match, on data of the claim's kind."""
        candidates: list[Contrast | Question] = [*self.changes, *self.untested]
        for candidate in candidates:
            names, task = (
                ((candidate.first, candidate.second), candidate.task)
                if isinstance(candidate, Contrast)
                else (candidate.pair, candidate.group.task)
            )
            if task in claim.kind and all(re.fullmatch(side, name) for side, name in zip(pair, names, strict=True)):
                yield candidate

    def _pair_tests(self, comparison: Comparison, pair: tuple[str, str]) -> Iterator[Contrast | Question]:
        """The primary contrast of a claim's pair on one data set, else a question; none where one is not there."""
        primary = [
            contrast
            for contrast in self.tested.of(comparison.group.dataset)
            if {contrast.first, contrast.second} == set(pair)
        ]
        if primary:
            yield from (contrast if contrast.first == pair[0] else turned(contrast) for contrast in primary)
            return
        runs = [self.comparisons.side(comparison, side) for side in pair]
        if all(len(rows) for rows in runs):
            names = (_side_text(pair[0]), _side_text(pair[1]))
            group = Group(comparison.group.dataset, comparison.group.task, {}, joined(runs, names))
            yield Question(group, comparison.metric.name, names)


_BETTER, _WORSE, _OPEN, _UNTESTED = "better", "worse", "not distinguishable", "without an interval"


def _are(names: Sequence[str], word: str) -> str:
    return f"{formatting.listing(names)} {'is' if len(names) == 1 else 'are'} {word}"


def _against(comparison: Comparison, cell: Cell, value: float) -> str:
    """Whether an architecture is better or worse than a reference by its interval."""
    if not cell.interval.known:
        return _UNTESTED
    ends = [comparison.metric.gain(end - value) for end in (cell.interval.lower, cell.interval.upper)]
    return _BETTER if min(ends) > 0 else _WORSE if max(ends) < 0 else _OPEN


def _learned(comparison: Comparison) -> list[str]:
    """The architectures that are better than the untrained model; all where there is no such row, or no interval."""
    value = comparison.references.get(UNTRAINED, math.nan)
    known = not math.isnan(value)
    return [
        cell.architecture
        for cell in comparison.scored
        if not (known and cell.interval.known) or _against(comparison, cell, value) == _BETTER
    ]


def _several(comparison: Comparison) -> bool:
    """Whether two architectures or more came to an end: to scores, or to nothing, which divergence is."""
    runs = comparison.group.runs
    ended = runs["status"].isin(["done", "diverged"]).fillna(False)
    return runs.loc[ended, "architecture"].nunique() > 1


def _too_small(claim: Claim, comparisons: Sequence[Comparison]) -> Iterator[str]:
    """What size the claim was made for, where these models are smaller."""
    size = _least(comparisons, "parameters")
    if claim.parameters and not size >= claim.parameters:
        most = max((_most(comparison.group.runs, "parameters") for comparison in comparisons), default=math.nan)
        needed, here = formatting.number(claim.parameters), formatting.number(size)
        here += f" to {formatting.number(most)}" if most > size else ""
        yield f"claimed for at least {needed} parameters; these models have {here}"


def _side_text(side: str) -> str:
    """A side in words: decoder@0.5 is "decoder (0.5 of the budget)"."""
    name, _, condition = side.partition("|")
    name, _, share = name.partition("@")
    what = condition or (f"{share} of the budget" if share else "")
    return f"{name} ({what})" if what else name


def _most(runs: pd.DataFrame, column: str) -> float:
    return float(runs[column].astype(float).max()) if column in runs else math.nan


def _least(comparisons: Sequence[Comparison], column: str) -> float:
    """The least value that any run has in a column; nan where none has one."""
    known = [comparison.group.runs[column].dropna() for comparison in comparisons if column in comparison.group.runs]
    return min((float(values.astype(float).min()) for values in known if len(values)), default=math.nan)


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]
