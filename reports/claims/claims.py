"""The ledger of claims: published statements about the families, tested on the tables of one report.

The ledger states each claim with the scale and the regime that it was made for. A verdict is: reproduced here or
opposite found here; the same or the opposite direction in miniature, for claims about pretrained models; undecided
(with what would decide it); control noticed or not; preconditions not met, out of reach at this scale, superseded by
another reading.
A comparison trained from scratch never decides a claim about pretraining.
"""

import math
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from itertools import product
from typing import Final

import pandas as pd

from archbench.reports.base import formatting
from archbench.reports.base.declared import baselines, entered
from archbench.reports.base.formatting import capitalized, signed
from archbench.reports.base.once import once_per_report
from archbench.reports.base.statistics import p_difference
from archbench.reports.base.tables import Tables
from archbench.reports.claims import baseline_rows, standards, tuning
from archbench.reports.claims.evidence import (
    ClaimVerdict,
    Strength,
    bears_out,
    decision_p,
    gathered,
    outcome,
    refuted,
    strength,
)
from archbench.reports.claims.ledger import (
    MINIATURE,
    MISSED,
    NOTICED,
    OPPOSITE,
    OUT_OF_REACH,
    REPRODUCED,
    SUPERSEDED,
    UNDECIDED,
    UNMET,
    Claim,
    control_pairs,
    ledger,
    replaced,
)
from archbench.reports.claims.next_steps import HOPELESS, remedy
from archbench.reports.contrasts.contrast import Contrast, turned
from archbench.reports.contrasts.phrase import phrase, under
from archbench.reports.contrasts.testing import Question, answered
from archbench.reports.contrasts.verdicts import baseline_label
from archbench.reports.contrasts.words import NONE_ABOVE_BASELINE
from archbench.reports.questions import scaling
from archbench.reports.readings import stored_bits
from archbench.reports.report import Report
from archbench.reports.results import draws
from archbench.reports.results.comparison import NATIVE, TARGET, Cell, Comparison
from archbench.reports.results.gates import BAR, BELOW_GATE
from archbench.reports.results.groups import Group, is_checkpoint_as_is
from archbench.reports.results.place import Place
from archbench.reports.results.pretraining import by_dataset
from archbench.runs.experiment import spec

UNTESTED: Final = (UNMET, OUT_OF_REACH, SUPERSEDED)
GIANT: Final = 1e9  # parameters from which a claim is out of reach of every preset


@once_per_report
def claim_verdicts(report: Report) -> tuple[ClaimVerdict, ...]:
    """Every claim judged by the report's tables; those of the last report are kept, for whoever asks next.

    What a claim tests beside the primary contrasts and the effects is a family of its own, corrected for being one.
    """
    judge = _ClaimJudge(report)
    old = replaced(_recorded(report.tables))
    claims = [claim for claim in ledger() if claim.name not in old]
    evidence = {claim.name: [] if any(judge.lacking(claim)) else judge.evidence(claim) for claim in claims}
    used = {name: _tested(report, entries) for name, entries in evidence.items()}
    verdicts = [
        ClaimVerdict(claim, SUPERSEDED, _superseded(old[claim.name]))
        if claim.name in old
        else replace(judge.judged(claim, used[claim.name]), contrasts=used[claim.name])
        for claim in ledger()
    ]
    streams = standards.same_streams(report.tables)
    return tuple(standards.parts(list(standards.counted_once(verdicts, streams)), streams))


def _tested(report: Report, evidence: Sequence[Contrast | Question]) -> tuple[Contrast, ...]:
    """The evidence for a claim, its questions answered: they are one family of tests."""
    asked = list(dict.fromkeys(entry for entry in evidence if isinstance(entry, Question)))
    answers = dict(zip(asked, answered(report.comparisons, asked), strict=True))
    return tuple(answers[entry] if isinstance(entry, Question) else entry for entry in evidence)


def _recorded(tables: Tables) -> str:
    """The hash of the ledger that was recorded before the first run; empty where none was."""
    rows = tables["experiment"]
    return "".join(str(value) for value in rows.loc[(rows["key"] == "ledger").fillna(False), "value"].dropna())


def _superseded(successor: Claim) -> str:
    return f"Tested by a stricter reading instead: {successor.reading}."


@dataclass(frozen=True)
class _DataFacts:
    """A data set: generated or natural, read more than once by a run, in part by a run, only scored by checkpoints."""

    generated: bool
    repeated: bool
    partly: bool
    checkpoints: bool


class _ClaimJudge:
    """Judges claims by what one report holds."""

    def __init__(self, report: Report) -> None:
        self.comparisons, self.first, self.tested = report.comparisons, report.first, report.tested
        self.further = report.compared[1]
        self.tables: Tables = report.tables
        self.few_examples, self.limited = draws.few(report.tables), draws.limited(report.tables)
        self.tuned = tuning.settings(report)
        self.has_pretraining = bool(by_dataset(report))
        stages = [entry["task"] for entry in entered(self.tables, "pretraining")]
        self.texts = {str(stage["name"]): str(stage["data"]) for stage in stages}
        self.changes = [*self.tested["effect"], *(entry for trend in report.trends for entry in trend.between_points)]
        self.untested = [entry for trend in report.trends for entry in scaling.untested(trend)]
        self.stored = stored_bits.stored(report)
        learned = list(self._learned_sides(report))
        self.learned = {(dataset, shown) for dataset, shown, _, _ in learned}
        self.trained = {
            (dataset, shown)
            for dataset, shown, comparison, name in learned
            if self.comparisons.gate(comparison.group, name).passed
        }
        started = set(self._trained_sides())
        self.learned |= started
        self.trained |= started

    def _learned_sides(self, report: Report) -> Iterator[tuple[str, str, Comparison, str]]:
        """Sides better than an untrained model: data set and name in contrasts, then where it is and its own name."""
        held = baselines(self.tables)
        for comparison in self.first:
            dataset = comparison.group.dataset
            for name in baseline_rows.learned(comparison):
                yield dataset, name, comparison, name
                yield held.get(dataset) or dataset, f"{name} on {dataset}", comparison, name
        for sweep, value in ((trend.sweep, value) for trend in report.trends for value in trend.sweep.points):
            for name in baseline_rows.learned(sweep.points[value]):
                yield sweep.dataset, sweep.at(name, value), sweep.points[value], name

    def _trained_sides(self) -> Iterator[tuple[str, str]]:
        """The sides of claims about pretrained models that pass their gates: data set and words."""
        if "start" not in self.tables["runs"]:
            return
        sides = {side for claim in ledger() if claim.miniature for pair in claim.ahead for side in pair if "{" in side}
        for comparison in self.first:
            for side in sides:
                runs, words = self.comparisons.side(comparison, side), Place.parse(side).words
                if len(runs) and self.comparisons.gate(comparison.group.of({words: runs}), words).passed:
                    yield comparison.group.dataset, words

    def evidence(self, claim: Claim) -> list[Contrast | Question]:
        """Tests of a claim, each data set's in the order of its pairs: contrasts, and questions still to be asked."""
        pairs = [
            entry
            for comparison in self._of(claim)
            for pair in claim.ahead
            for entry in self._pair_tests(claim, comparison, pair)
        ]
        return [*pairs, *(entry for pair in claim.effect for entry in self._effects(claim, pair))]

    def lacking(self, claim: Claim) -> Iterator[str]:
        """Words for needs of the claim that a comparison of this scale or this report lacks."""
        yield from self._beyond(claim)
        yield from self._unmet(claim)

    def judged(self, claim: Claim, evidence: Sequence[Contrast]) -> ClaimVerdict:
        """The verdict: a control is noticed or not; in miniature with the size and the tokens that it was seen at."""
        ruling = self.verdict(claim, evidence)
        if ruling.verdict in UNTESTED:
            return ruling
        if claim.control:
            return replace(ruling, verdict=NOTICED if ruling.verdict == REPRODUCED else MISSED)
        if not claim.miniature:
            return ruling
        scale, verdict = self._scale(claim), MINIATURE.get(ruling.verdict, ruling.verdict)
        return replace(ruling, verdict=verdict, evidence=f"{ruling.evidence} Seen at {scale}.", scale=scale)

    def _scale(self, claim: Claim) -> str:
        """Size and tokens of the models that a claim names, pretraining included."""
        sides = [
            self.comparisons.side(comparison, side)
            for comparison in self._of(claim)
            for pair in claim.ahead
            for side in pair
        ]
        runs = pd.concat(sides)
        size = formatting.span(runs["parameters"].dropna())
        read = runs["pretraining_tokens"].astype(float) if "pretraining_tokens" in runs else pd.Series(dtype=float)
        if read.max() > 0:
            return f"{size} parameters after pretraining on {formatting.span(read[read > 0])} tokens"
        return f"{size} parameters on {formatting.span(runs['train_tokens'].dropna())} tokens"

    def verdict(self, claim: Claim, evidence: Sequence[Contrast]) -> ClaimVerdict:
        """The verdict as of any claim."""
        beyond, unmet = list(self._beyond(claim)), list(self._unmet(claim))
        elsewhere = f"archbench compare --preset {claim.preset}" if claim.preset else ""
        if beyond:  # one of no size is not beyond this scale, only not tested
            return ClaimVerdict(
                claim, OUT_OF_REACH if claim.parameters else UNMET, f"{capitalized('; '.join(beyond))}."
            )
        if unmet:
            return ClaimVerdict(claim, UNMET, f"{capitalized('; '.join(unmet))}.", elsewhere)
        if claim.bits:
            return self._remembered(claim)
        if claim.over:
            return replace(self._better(claim), command=elsewhere if not self._scored(claim) else "")
        missing = self._missing(claim)
        if not evidence:
            return ClaimVerdict(claim, UNMET, f"Not compared: {formatting.listing(missing)}.", elsewhere)
        controls, findings = self._controls(claim, evidence)
        counted = self._counted(claim, findings) if findings else []
        rest = [contrast for contrast in findings if contrast not in counted]
        kept = (controls, "a control"), (rest, _why_not_counted(claim))
        apart = "; ".join(f"not counted ({why}): {gathered(some)}" for some, why in kept if some)
        if not counted:
            return ClaimVerdict(claim, UNMET, f"{capitalized(apart)}.", elsewhere)
        sets = {contrast.dataset for contrast in counted}
        ungated = "" if claim.control else self._without_gates(sets)
        over, drawn_once = self._draws(claim, counted)
        cautions = self._caution(claim, counted) + over
        worse, no_scratch = standards.own_scratch(self.comparisons, claim, self._of(claim), counted)
        reasons = [
            *standards.gates(claim, counted),
            *([standards.Reason(ungated, "gates that are measured")] if ungated else []),
            *worse,
            *drawn_once,
            *standards.same_data(claim, counted),
            *standards.end_of_training(claim, counted),
            *standards.tuned(claim, tuning.of(self.tuned, (), counted)),
            *standards.departs(claim, refuted(claim, counted)),
            *standards.beaten(self._of(claim), claim, counted),
        ]
        because = tuple(reason.words for reason in reasons)
        text = "; ".join(filter(None, (gathered(counted) + cautions, apart, standards.in_words(reasons))))
        lacks = [f"not compared: {formatting.listing(missing)}"] if missing else []
        lacks += [f"some pairs {_why_not_counted(claim)}"] if rest and not claim.deepest else []
        lacks += [*filter(None, (self._without_shuffled_sources(sets), no_scratch)), *because]
        verdict = self._ruling(claim, counted, bool(missing or reasons))
        if missing:
            text = f"{text}; not compared: {formatting.listing(missing)}"
        more = self._differences(counted) if verdict != UNDECIDED and not claim.match else ""
        return ClaimVerdict(
            claim,
            verdict,
            f"{text}{more}.",
            "" if verdict != UNDECIDED else elsewhere if missing else self._step(claim, counted, reasons),
            strength=replace(strength(counted, lacks), gated=not ungated),
            p=decision_p(claim, counted) if verdict != UNDECIDED else math.nan,
            counted=tuple(counted),
            differs=more.removeprefix("; "),
            because=because,
        )

    def _step(self, claim: Claim, counted: Sequence[Contrast], reasons: Sequence[standards.Reason]) -> str:
        """Words for what would decide a claim: what it fails first, then what its tests need."""
        if all(reason.step for reason in reasons) and reasons:
            return "; ".join(reason.step for reason in reasons)
        step = remedy(self.tables, claim, counted)
        return step if step.startswith(HOPELESS) else "; ".join([step, *(r.step for r in reasons if r.step)])

    def _ruling(self, claim: Claim, counted: Sequence[Contrast], barred: bool) -> str:
        if barred:
            return UNDECIDED
        if all(bears_out(claim, contrast) for contrast in counted):
            return REPRODUCED
        return OPPOSITE if refuted(claim, counted) else UNDECIDED

    def _controls(self, claim: Claim, evidence: Sequence[Contrast]) -> tuple[list[Contrast], list[Contrast]]:
        """The contrasts that are controls, which count for no finding, and the others."""
        pairs = set() if claim.control else control_pairs()
        controls = [contrast for contrast in evidence if frozenset((contrast.first, contrast.second)) in pairs]
        return controls, [contrast for contrast in evidence if contrast not in controls]

    def _counted(self, claim: Claim, evidence: Sequence[Contrast]) -> list[Contrast]:
        """The contrasts that decide: at the greatest depth, or where something was learned, if the claim says so."""
        if claim.deepest:
            depths = {comparison.group.dataset: _most(comparison.group.runs, "depth") for comparison in self.first}
            greatest = max(depths[contrast.dataset] for contrast in evidence)
            return [contrast for contrast in evidence if not depths[contrast.dataset] < greatest]
        if claim.learned or claim.enough or claim.gated:  # to be equally bad is not enough
            known = self.trained if claim.gated else self.learned
            return [contrast for contrast in evidence if not contrast.flat and _sides(contrast) & known]
        return list(evidence)

    def _differences(self, evidence: Sequence[Contrast]) -> str:
        """The further conditions under which a contrast has another outcome."""
        first = {comparison.group.dataset: comparison.group for comparison in self.first}
        exploratory = (contrast.condition for contrast in self.tested.exploratory)
        conditions = dict.fromkeys(filter(None, exploratory))
        by_setting: dict[str, list[str]] = {}
        for contrast in evidence:
            for condition in conditions:
                for other in self.tested.under_condition(contrast, condition):
                    if outcome(other) not in ("unknown", outcome(contrast)) and not other.flat:
                        setting = f"{under(first[contrast.dataset].without_first(condition))} on {contrast.dataset}"
                        size = f" (difference {signed(other.difference)})" if outcome(other) == "open" else ""
                        by_setting.setdefault(setting, []).append(f"{phrase(other, 'clause')}{size}")
        return "".join(f"; different {setting}: {', '.join(texts)}" for setting, texts in by_setting.items())

    def _remembered(self, claim: Claim) -> ClaimVerdict:
        """A claim about stored bits, judged by the interval of every architecture at every size.

        What is stored is a lower bound on what could be: it can bear a claim out and not refute it.
        """
        borne_out = {point.above(claim.bits) for point in self.stored} == {"above"}
        values = [replace(point.bits, mean=point.bits.mean - claim.bits * point.trainable) for point in self.stored]
        return ClaimVerdict(
            claim,
            REPRODUCED if borne_out else UNDECIDED,
            " ".join(stored_bits.sentences(self.stored)),
            strength=Strength(
                () if all(point.bits.known for point in self.stored) else ("some sizes have no interval",),
                min((point.seeds for point in self.stored), default=0),
                len(self.stored),
            ),
            p=max(map(p_difference, values)) if borne_out else math.nan,
        )

    def _scored(self, claim: Claim) -> list[Comparison]:
        """The comparisons of a claim's kind that have its baseline."""
        return [
            comparison
            for comparison in self._of(claim)
            if not math.isnan(comparison.baselines.get(claim.over, math.nan))
        ]

    def _better(self, claim: Claim) -> ClaimVerdict:
        """A claim about a baseline, judged by the interval of every architecture."""
        label, scored = baseline_label(claim.over), self._scored(claim)
        if not scored:
            sets = formatting.listing(comparison.group.dataset for comparison in self._of(claim))
            return ClaimVerdict(claim, UNMET, f"Not scored: the {label} on {sets}.")
        cells = [(comparison, cell) for comparison in scored for cell in comparison.cells]
        counted = [(comparison, cell) for comparison, cell in cells if self._counts_against(claim, comparison, cell)]
        texts = [
            baseline_rows.standings(claim, comparison, [cell for at, cell in counted if at is comparison])
            for comparison in scored
        ]
        rest = [f"{cell.architecture} on {at.group.dataset}" for at, cell in cells if (at, cell) not in counted]
        apart = f"not counted ({_why_not_counted(claim)}): {formatting.listing(rest)}" if rest else ""
        if not counted:
            return ClaimVerdict(claim, UNMET, f"{capitalized(apart)}.")
        outcomes = {
            baseline_rows.against(comparison, cell, comparison.baselines[claim.over]) for comparison, cell in counted
        }
        claimed, against = ("behind", "ahead") if claim.under else ("ahead", "behind")
        groups = [comparison.group for comparison in scored]
        reasons = list(standards.baseline(claim, outcomes == {against}))
        if outcomes == {"behind"}:  # what is ahead of a baseline would be so with better rates
            reasons += standards.tuned(claim, tuning.of(self.tuned, groups, ()))
        because = tuple(reason.words for reason in reasons)
        decided = {claimed: REPRODUCED, against: OPPOSITE}
        verdict = decided.get(outcomes.pop(), UNDECIDED) if len(outcomes) == 1 and not reasons else UNDECIDED
        known = all(cell.interval.known for _, cell in counted)
        ungated = self._without_gates({comparison.group.dataset for comparison, _ in counted})
        lacks = (apart, ungated, "" if known else "some scores have no interval", *because)
        return ClaimVerdict(
            claim,
            verdict,
            f"Compared with the {label}: {'; '.join(filter(None, (*texts, apart, standards.in_words(reasons))))}.",
            "; ".join(reason.step for reason in reasons),
            strength=Strength(tuple(filter(None, lacks)), min(len(cell.values) for _, cell in counted), len(counted)),
            p=max(baseline_rows.p_against(claim, *entry) for entry in counted) if verdict != UNDECIDED else math.nan,
            because=because,
        )

    def _counts_against(self, claim: Claim, comparison: Comparison, cell: Cell) -> bool:
        """True if an architecture takes part in a claim about a baseline: one no better than a bigram may not.

        The gate is no condition here: its bar is itself a baseline, the one of the claim.
        """
        bigram = comparison.baselines.get("bigram", math.nan)
        return not claim.gated or not comparison.metric.gain(cell.interval.mean - bigram) <= 0

    def _without_gates(self, sets: Collection[str]) -> str:
        """On which of these data sets the gate of the task was not measured, in words; empty where it was on all."""
        unknown = [
            comparison.group.dataset
            for comparison in self.first
            if comparison.group.dataset in sets and not self._has_gate(comparison)
        ]
        labels = [name for name in sorted(sets) if standards.answers_repeat(self.tables, name)]
        texts = (
            (f"no {BAR} was scored on {formatting.listing(unknown)}" if unknown else ""),
            (
                f"one answer to everything was not scored on {formatting.listing(labels)}, where answers repeat"
                if labels
                else ""
            ),
        )
        return "; ".join(filter(None, texts))

    def _without_shuffled_sources(self, sets: Collection[str]) -> str:
        """On which of these data sets shuffled sources were not scored, in words; stored bits have no sources."""
        unknown = [
            comparison.group.dataset
            for comparison in self.first
            if comparison.group.dataset in sets
            and comparison.group.task not in ("classification", "memorization")
            and math.isnan(self.comparisons.gate(comparison.group, comparison.group.architectures[0]).source.mean)
        ]
        return f"shuffled sources were not scored on {formatting.listing(unknown)}" if unknown else ""

    def _has_gate(self, comparison: Comparison) -> bool:
        """True if the bar of the gate was measured; stored bits of random strings have no gate."""
        gate = self.comparisons.gate(comparison.group, comparison.group.architectures[0])
        measured = not (math.isnan(gate.ngram) and math.isnan(gate.constant))
        return measured or comparison.metric.name == stored_bits.METRIC

    def _caution(self, claim: Claim, evidence: Sequence[Contrast]) -> str:
        """The data sets on which no architecture is better than a classical method.

        Classical methods were fitted for the first condition, so that nothing is said of other starts and numbers of
        examples.
        """
        sets = {contrast.dataset for contrast in evidence}
        if any(Place.parse(name).start for pair in claim.ahead for name in pair):
            return ""
        below = [
            comparison.group.dataset
            for comparison in self.first
            if comparison.none_beats_baseline and comparison.group.dataset in sets
        ]
        return f" ({NONE_ABOVE_BASELINE} on {formatting.listing(below)})" if below else ""

    def _draws(self, claim: Claim, counted: Sequence[Contrast]) -> tuple[str, list[standards.Reason]]:
        """Over how many draws of few examples the sides of a claim are, in words; reasons where it is one."""
        sides = [side for pair in claim.ahead for side in pair]
        counts = {contrast.dataset: 1 for contrast in counted if contrast.dataset in self.limited}
        for comparison, side in product(self._of(claim), sides):
            if count := draws.draws(self.few_examples, self.comparisons.side(comparison, side)):
                name = comparison.group.dataset
                counts[name] = min(count, counts.get(name, count))
        over = [(draws.in_words(count, draws.noun(self.tables, name)), name) for name, count in counts.items()]
        once = [name for name, count in counts.items() if count == 1 and not claim.control]
        nouns = dict.fromkeys(draws.noun(self.tables, name) for name in once)
        words = f" ({formatting.grouped(over)})" if over else ""
        return words, list(standards.one_draw(nouns))

    def _beyond(self, claim: Claim) -> Iterator[str]:
        """Words for needs of the claim that no comparison from scratch at this scale can meet."""
        if claim.pretraining and not self.has_pretraining:
            yield "about models pretrained under equal budgets; this report has none"
        if claim.pretraining or claim.parameters >= GIANT:
            yield from _too_small(claim, self.first)

    def _unmet(self, claim: Claim) -> Iterator[str]:
        """Words for needs of the claim that this report does not meet."""
        comparisons = self._of(claim)
        if claim.several:
            yield f"requires comparisons at several {claim.several}"
        if not comparisons:
            of_text = " of natural text" if claim.natural else ""
            unread = (
                " that is read only once" if claim.once else " that every run has read in full" if claim.whole else ""
            )
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
        """The comparisons that a claim is about."""
        first = self._first_of(claim)
        if not claim.match:
            return first
        measures = {(comparison.group.dataset, comparison.metric) for comparison in first}
        others = [other for other in self.further if (other.group.dataset, other.metric) in measures]
        return [other for other in others if other.group.place.match == claim.match]

    def _first_of(self, claim: Claim) -> list[Comparison]:
        return [
            comparison
            for comparison in self.first
            if comparison.scored
            and (claim.effect or claim.miniature or _several(comparison))  # an effect is one architecture's
            and self._counts(claim, comparison.group)
        ]

    def _counts(self, claim: Claim, group: Group) -> bool:
        """True if a data set is of the kind that the claim is about."""
        facts = self._facts[group]
        return (
            group.task in claim.kind
            and not facts.checkpoints
            and (not claim.on or group.dataset in claim.on)
            and not (claim.natural and facts.generated)
            and not (claim.once and facts.repeated)
            and not (claim.whole and facts.partly)
        )

    @cached_property
    def _facts(self) -> dict[Group, _DataFacts]:
        """Facts about each data set, under its first condition, that claims depend on."""
        origins = self.tables["datasets"].dropna(subset=["dataset", "origin"]).groupby("dataset")["origin"].agg("".join)
        return {
            comparison.group: _DataFacts(
                generated=str(origins.get(comparison.group.dataset, "")).startswith("generated"),
                repeated=not _most(comparison.group.runs, "epochs") <= 1.0,
                partly=not _lowest(comparison.group.runs, "epochs") >= 1.0,
                checkpoints=bool(is_checkpoint_as_is(comparison.group.runs).all()),
            )
            for comparison in self.first
        }

    def _missing(self, claim: Claim) -> list[str]:
        """The pairs that no data set tests."""
        pairs = [
            f"{Place.parse(first).words} vs. {Place.parse(second).words}"
            for first, second in claim.ahead
            if not any(list(self._pair_tests(claim, comparison, (first, second))) for comparison in self._of(claim))
        ]
        effects = [claim.called for pair in claim.effect if not list(self._effects(claim, pair))]
        return pairs + effects

    def _effects(self, claim: Claim, pair: tuple[str, str]) -> Iterator[Contrast | Question]:
        """Tests of changes whose names match the pair's patterns, turned as it stands, on data of the claim's kind."""
        candidates: list[Contrast | Question] = [*self.changes, *self.untested]
        for candidate in candidates:
            names = (candidate.first, candidate.second) if isinstance(candidate, Contrast) else candidate.pair
            task = candidate.task if isinstance(candidate, Contrast) else candidate.group.task
            if task in claim.kind and _match(pair, names):
                yield candidate
            elif isinstance(candidate, Contrast) and task in claim.kind and _match(pair, names[::-1]):
                yield turned(candidate)

    def _pair_tests(self, claim: Claim, comparison: Comparison, pair: tuple[str, str]) -> Iterator[Contrast | Question]:
        """The primary contrast of a claim's pair on one data set, else a question; none where one is not there."""
        starts = [start for name in pair if (start := Place.parse(name).start)]
        if not all(self._has_text_of_preset(claim, start) for start in starts):
            return
        primary = [
            contrast
            for contrast in self.tested.primary_on(comparison)
            if {contrast.first, contrast.second} == set(pair) and not claim.match
        ]
        if primary:
            yield from (contrast if contrast.first == pair[0] else turned(contrast) for contrast in primary)
            return
        pair = self._with_usual_loss(comparison, pair)
        runs = [self._runs(comparison, side) for side in pair]
        if all(len(rows) for rows in runs) and set(runs[0]["run"]) != set(runs[1]["run"]):
            names = (Place.parse(pair[0]).words, Place.parse(pair[1]).words)
            group = comparison.group.of(dict(zip(names, runs, strict=True)))
            yield Question(group, comparison.metric, names)

    def _runs(self, comparison: Comparison, side: str) -> pd.DataFrame:
        """The runs of a side, with all seeds: under a further condition some may stand only under the first one."""
        runs = self.comparisons.side(comparison, side)
        firsts = (first for first in self.first if first.group.dataset == comparison.group.dataset)
        every = next((self.comparisons.side(first, side) for first in firsts), runs)
        return every if len(runs) and set(runs["run"]) < set(every["run"]) else runs

    def _has_text_of_preset(self, claim: Claim, start: str) -> bool:
        """True if a pretraining of this name reads the text that it reads in the claim's preset, as far as is known."""
        here, there = self.texts.get(start), _texts(claim.preset).get(start)
        return None in (here, there) or here == there

    def _with_usual_loss(self, comparison: Comparison, pair: tuple[str, str]) -> tuple[str, str]:
        """A pair "X|target supervision" and "X" where the first condition has the former: then X has its usual loss.

        That is a further condition, whose name begins with "native supervision".
        """
        first, second = pair
        if first != f"{second}|{TARGET}" or not self.comparisons.is_on_target_alone(comparison):
            return pair
        rows = self.comparisons.placed("compared")
        names = rows.loc[rows["dataset"] == comparison.group.dataset, "condition"].dropna().unique()
        usual = next((str(name) for name in names if str(name).startswith(NATIVE)), "")
        return (first, f"{second}|{usual}") if usual else pair


@cache
def _texts(preset: str) -> dict[str, str]:
    """The text of each pretraining of a preset, by name."""
    known = spec.preset(preset).pretraining if preset in spec.presets() else ()
    return {stage.name: str(stage.task.data) for stage in known}


def _match(patterns: tuple[str, str], names: tuple[str, str]) -> bool:
    return all(re.fullmatch(pattern, name) for pattern, name in zip(patterns, names, strict=True))


def _why_not_counted(claim: Claim) -> str:
    if claim.deepest:
        return "less deep"
    if claim.over:
        return "no better than a bigram model"
    return BELOW_GATE if claim.gated else "no better than an untrained model"


def _sides(contrast: Contrast) -> set[tuple[str, str]]:
    return {(contrast.dataset, contrast.first), (contrast.dataset, contrast.second)}


def _several(comparison: Comparison) -> bool:
    """True if two architectures or more came to an end: to scores, or to nothing, which divergence is."""
    runs = comparison.group.runs
    ended = runs["status"].isin(["done", "diverged"]).fillna(False)
    return runs.loc[ended, "architecture"].nunique() > 1


def _too_small(claim: Claim, comparisons: Sequence[Comparison]) -> Iterator[str]:
    """Words for the size that the claim was made for, where these models are smaller."""
    size = _least(comparisons, "parameters")
    if claim.parameters and not size >= claim.parameters:
        most = max((_most(comparison.group.runs, "parameters") for comparison in comparisons), default=math.nan)
        needed, here = formatting.number(claim.parameters), formatting.number(size)
        here += f" to {formatting.number(most)}" if most > size else ""
        yield f"claimed for at least {needed} parameters; these models have {here}"


def _most(runs: pd.DataFrame, column: str) -> float:
    return float(runs[column].astype(float).max()) if column in runs else math.nan


def _lowest(runs: pd.DataFrame, column: str) -> float:
    return float(runs[column].astype(float).min()) if column in runs else math.nan


def _least(comparisons: Sequence[Comparison], column: str) -> float:
    """The least value that any run has in a column; nan where none has one."""
    known = [comparison.group.runs[column].dropna() for comparison in comparisons if column in comparison.group.runs]
    return min((float(values.astype(float).min()) for values in known if len(values)), default=math.nan)
