"""The ledger over all reports in words: as Markdown, and as a page."""

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from archbench.reports.base import formatting
from archbench.reports.base.formatting import capitalized, portable
from archbench.reports.base.statistics import holm
from archbench.reports.claims import sides
from archbench.reports.claims.best_evidence import CONTROLS, DISAGREE, OVERALL, ClaimRecord, Evidence
from archbench.reports.claims.evidence import bears_out, outcome
from archbench.reports.claims.ledger import (
    DECIDED,
    MISSED,
    NOTICED,
    OPPOSITE,
    OPPOSITE_DIRECTION,
    OUT_OF_REACH,
    REPRODUCED,
    SAME_DIRECTION,
    SUPERSEDED,
    UNDECIDED,
    UNMET,
    Claim,
    chosen_readings,
    successors,
)
from archbench.reports.claims.next_steps import as_clause
from archbench.reports.contrasts.contrast import ALPHA, Contrast
from archbench.reports.contrasts.phrase import phrase
from archbench.reports.page.page import html

SHOWN: Final = 6  # contrasts of a claim that are all listed; of more, those that do not bear it out
UNITS: Final = {"axis": "", "loss": ""}  # these say what they are themselves
COMMAND: Final = "make reference ARGS=ledger"
TITLES: Final = {
    REPRODUCED: "Reproduced",
    OPPOSITE: "Opposite found",
    SAME_DIRECTION: "Same direction in miniature",
    OPPOSITE_DIRECTION: "Opposite direction in miniature",
    DISAGREE: "Reports disagree",
    UNDECIDED: "Undecided",
    NOTICED: "Controls noticed",
    MISSED: "Controls not noticed",
    UNMET: "Not tested by any report",
    OUT_OF_REACH: "Out of reach at this scale",
    SUPERSEDED: "Superseded readings",
}
INTRODUCTION: Final = (
    "Every claim of the ledger once, with the best evidence over all published reports. All results are about small "
    "models trained on a small budget, from scratch unless a claim says otherwise. A claim about pretrained models is "
    "judged in miniature: whether its direction is seen at this size. Statements are not quotations: most "
    "are paraphrases.",
    "A claim is decided only if every side passes its gate, whose bar was measured; if trials chose the rate of every "
    "side; if every side that was pretrained "
    "has a better mean than its own training from scratch on the same examples, where the report has that; if each "
    "seed drew its own examples, where models read a limited number of them; if a claim about data compares different "
    "amounts of distinct data; if a claim about amounts of training scores the weights of its last 2% of steps; if its "
    "baseline is the same for every tokenizer; and if its tests do not decide an earlier claim already. Nothing is "
    "refuted by models that are no better than the best simple baseline, or by a test that departs from the source. "
    "Else it is undecided, the reason is given, and its tests are printed. A claim about a baseline has no gate: its "
    "bar is a baseline itself. Where it was "
    "not measured whether shuffled sources do as well, the test is called incomplete: a model above its bar has "
    "learned, if not from its source. What the source of the claim did otherwise stands beside the verdict.",
    "The rule for the best evidence never looks at the direction of a result. (The results of the first reports were "
    "known when it was written.) Among the reports that test a claim, it takes the one whose sides pass their "
    "gates, then the one whose test is complete: every pair of the claim was compared and has an interval, and the "
    "conditions above were measured and met. Next it takes the one whose sides were tuned, in trials of which one "
    "passes the gate, then those tuned below it; then the one with the most seeds, then with the most training tokens "
    "per run, then with the most tests, then the first by name. Seeds and tokens are the fewest of any test or run.",
    "The overall verdict is that report's, with two restrictions. The p value of its decision is corrected for all "
    "reports that test the claim (Holm), and a decision that does not survive is undecided. If one report reproduces a "
    "claim and another finds the opposite, the reports disagree. Differences between the settings of two reports are "
    "named where their verdicts differ; they need not be the cause.",
)
DECIDED_COLUMNS: Final = (
    "tested as",
    "verdict",
    "best evidence",
    "tuning",
    "fixed before its runs",
    "survives Holm over all claims",
)
OF_PARTS: Final = (
    "A decided reading whose tests are only a part of those of an undecided claim, in the same report, is a part of "
    "it. It is marked, and not counted among the decided ones."
)
OF_CONTROLS: Final = (
    "Controls take away what a model cannot do without, or their objective asks for the outcome. A suite has to notice "
    "that, so they are no findings, are not counted, and have no gate: a model without its mask should fail."
)


@dataclass(frozen=True)
class Line:
    """One report and what it says of a claim."""

    report: str
    text: str


@dataclass(frozen=True)
class ClaimText:
    """A claim in words: the best report's evidence, the other reports', and what would decide it."""

    claim: Claim
    verdict: str
    best: Line | None
    others: tuple[Line, ...]
    rest: str
    next_step: str
    verdict_words: str = ""
    tuning: str = ""
    fixed: bool = False
    stands: bool = False
    part_of: str = ""

    @property
    def heading(self) -> str:
        return self.claim.statement

    @property
    def short_verdict(self) -> str:
        return self.verdict.removesuffix(" here")

    @property
    def is_decided(self) -> bool:
        return self.verdict in (*DECIDED, DISAGREE) and not self.part_of

    @property
    def is_part(self) -> bool:
        return self.verdict in (*DECIDED, DISAGREE) and bool(self.part_of)

    @property
    def is_control(self) -> bool:
        return self.verdict in CONTROLS

    @property
    def judged(self) -> str:
        """The verdict, for whom and at which accounting it does not hold, and what the source did otherwise."""
        return "; ".join(filter(None, (self.verdict_words or self.short_verdict, self.claim.recipe)))

    @property
    def facts(self) -> tuple[str, ...]:
        """Cells beside the verdict in the table of decided claims, after the report."""
        return self.tuning, _yes(self.fixed), _yes(self.stands)


@dataclass(frozen=True)
class Section:
    """The claims with one verdict."""

    title: str
    claims: tuple[ClaimText, ...]


def sections(records: Sequence[ClaimRecord]) -> list[Section]:
    """The claims by verdict."""
    stand = standing_together(records)
    texts = [_text(record, record.claim.name in stand) for record in records]
    by_verdict = {verdict: tuple(text for text in texts if text.verdict == verdict) for verdict in OVERALL}
    return [Section(TITLES[verdict], claims) for verdict, claims in by_verdict.items() if claims]


def decided_somewhere(records: Sequence[ClaimRecord]) -> str:
    """How many claims some report decides, superseded readings and controls left out."""
    current = [record for record in records if record.verdict not in (SUPERSEDED, *CONTROLS)]
    decided = [record for record in current if any(entry.ruling.verdict in DECIDED for entry in record.tested)]
    overall = [record for record in current if record.verdict in (*DECIDED, DISAGREE)]
    whole = [record for record in overall if not _part_of(record)]
    fixed = sum(record.tested[0].fixed for record in whole)
    only, parts = sum(record.verdict == UNDECIDED for record in decided), len(overall) - len(whole)
    more = f" {only} more {'is' if only == 1 else 'are'} decided only by reports with weaker evidence." if only else ""
    some = (
        f" {parts} more {'is a part' if parts == 1 else 'are parts'} of undecided claims, and not counted."
        if parts
        else ""
    )
    later = len(whole) - fixed
    when = f" {fixed} of them by readings fixed before the first run of their best evidence, {later} by later ones."
    return f"{len(whole)} of {len(current)} claims are decided over all reports.{when if whole else ''}{some}{more}"


def _part_of(record: ClaimRecord) -> str:
    """The undecided claim of which a claim's tests are a part, by the report with the best evidence."""
    return record.best.ruling.part_of if record.best else ""


def standing_together(records: Sequence[ClaimRecord]) -> set[str]:
    """The claims whose decisions survive a correction for all that are tested (Holm)."""
    tested = [record for record in records if record.tested and record.verdict not in (SUPERSEDED, *CONTROLS)]
    together = holm([record.corrected[0] for record in tested])
    decided = [(p, record) for p, record in zip(together, tested, strict=True) if record.verdict in DECIDED]
    return {record.claim.name for p, record in decided if p <= ALPHA}


def corrections(records: Sequence[ClaimRecord]) -> str:
    """Words for what p values are corrected for and what not, and for how many decisions were foretold."""
    tested = [record for record in records if record.tested and record.verdict not in (SUPERSEDED, *CONTROLS)]
    decided = [record for record in tested if record.verdict in DECIDED]
    stay = len(standing_together(records))
    fixed = sum(record.tested[0].fixed for record in decided)
    foretold = sum(record.tested[0].fixed for record in tested)
    chosen, withdrawn = chosen_readings()
    kept = sum(record.claim.name in chosen for record in decided)
    return (
        "The tests of one claim are one family, corrected for their number (Holm). A contrast that its report tests "
        "anyway keeps the correction of that family: primary contrasts, effects of conditions, steps in size or depth. "
        "The number, where it is not 1, stands beside each claim. That there are many claims is not corrected. "
        f"{foretold} of the {len(tested)} that are tested were fixed before the first run of their best evidence; at "
        f"5% each, at most {ALPHA * foretold:.1f} of these would be decided by chance if all effects were 0. For "
        f"readings that were written when results were known there is no such number: {len(chosen) + withdrawn} were "
        f"tried on published tables, {withdrawn} were withdrawn, and {kept} are decided, parts of undecided claims "
        "among them. "
        f"Corrected for all {len(tested)} tested claims (Holm), {stay} of the {len(decided)} decisions would stand. "
        f"{fixed} of the {len(decided)} are by readings that were fixed before the first run of their best evidence; "
        "the others were written when results were known: they sum up and foretell nothing."
    )


def markdown(records: Sequence[ClaimRecord], made_from: str) -> str:
    """The ledger as Markdown; reports are linked by their folders, since pages are not committed.

    ``made_from`` is the hash of what it was made from.
    """
    written = sections(records)
    decided = [text for section in written for text in section.claims if text.is_decided]
    parts = [
        "# The ledger of claims",
        f"<!-- Generated by `{COMMAND}` from tables and claims with SHA-256 {made_from}; do not edit. -->",
        INTRODUCTION[0],
        _table(("verdict", "claims"), ((section.title, str(len(section.claims))) for section in written)),
        decided_somewhere(records),
        _table(
            ("decided claim", *DECIDED_COLUMNS),
            ((_link(text), text.claim.reading, text.judged, _report(text), *text.facts) for text in decided),
        ),
        OF_PARTS,
        _table(
            ("part of an undecided claim", "of", *DECIDED_COLUMNS),
            (
                (_link(text), f"`{text.part_of}`", text.claim.reading, text.judged, _report(text), *text.facts)
                for section in written
                for text in section.claims
                if text.is_part
            ),
        ),
        OF_CONTROLS,
        _table(
            ("control", "tested as", "verdict", "best evidence"),
            (
                (_link(text), text.claim.reading, text.judged, _report(text))
                for section in written
                for text in section.claims
                if text.is_control
            ),
        ),
        *INTRODUCTION[1:],
        corrections(records),
        "`make reference` builds this page as `ledger.html`, with links to the reports' pages.",
    ]
    for section in written:
        parts += [f"## {section.title}", *(_markdown(text) for text in section.claims)]
    return "\n\n".join(parts) + "\n"


def page(records: Sequence[ClaimRecord], made_by: str) -> str:
    """The ledger as a page that links to the reports' pages."""
    context: dict[str, Any] = {
        "introduction": INTRODUCTION,
        "sections": sections(records),
        "decided": decided_somewhere(records),
        "columns": DECIDED_COLUMNS,
        "of_parts": OF_PARTS,
        "of_controls": OF_CONTROLS,
        "corrections": corrections(records),
        "made_by": made_by,
        "looks": {},
    }
    return html("ledger.html", [], **context)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _report(text: ClaimText) -> str:
    """A link to the report with the best evidence."""
    return f"[{text.best.report}]({text.best.report}/)" if text.best else ""


def _link(text: ClaimText) -> str:
    return f"[{text.heading}](#{_anchor(text.heading)})"


def _anchor(heading: str) -> str:
    """The fragment of a link to a Markdown heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def _markdown(text: ClaimText) -> str:
    head = f"`{text.claim.name}`. {capitalized(text.claim.source)}. Tested as: {text.claim.reading}."
    lines = [f"### {text.heading}", "", head, ""]
    if text.best:
        lines += [f"- **Best evidence, {_report(text)}:** {text.best.text}"]
    lines += [f"- [{line.report}]({line.report}/): {line.text}" for line in text.others]
    lines += [f"- {sentence}" for sentence in (text.rest, text.next_step) if sentence]
    return "\n".join(lines)


def _yes(fact: bool) -> str:
    return "yes" if fact else "no"


def _verdict_words(best: Evidence, verdict: str) -> str:
    """The verdict; what is held equal where that matters, what comes out otherwise, and for whom it fails."""
    ruling = best.ruling
    axis = best.settings.get("axis", "") if ruling.differs or ruling.claim.match else ""
    at = f" at {axis}" if axis else ""
    return "; ".join(filter(None, (f"{verdict}{at}", ruling.exceptions, ruling.differs)))


def _text(record: ClaimRecord, stands: bool = False) -> ClaimText:
    tested = record.tested if record.verdict == SUPERSEDED else record.tested[1:]
    best = None if record.verdict == SUPERSEDED else record.best
    corrected = dict(zip((entry.report for entry in record.tested), record.corrected, strict=True))
    return ClaimText(
        record.claim,
        record.verdict,
        Line(best.report, _best(record, best, corrected[best.report])) if best else None,
        tuple(Line(entry.report, _other(best, entry, corrected[entry.report])) for entry in tested),
        _untested(record),
        _next_step(record),
        _verdict_words(best, record.verdict.removesuffix(" here")) if best else "",
        best.tuning.words if best else "",
        best is not None and best.fixed,
        stands,
        _part_of(record) if best else "",
    )


def _best(record: ClaimRecord, best: Evidence, corrected: float) -> str:
    """The verdict of the best report, on what it rests, and what the correction for several reports makes of it."""
    test, count = best.ruling.strength, len(record.tested)
    lacks = [lack for lack in test.lacks if lack not in best.ruling.because]
    complete = f"incomplete test ({'; '.join(lacks)})" if lacks else "complete test"
    seeds, size, budget = (f"{best.settings[unit]} {unit}" for unit in ("seeds", "parameters", "tokens per run"))
    axis = "" if record.claim.effect or record.claim.bits else best.settings.get("axis", "")
    scale = best.ruling.scale or ", at ".join(filter(None, (f"{size}, {budget}", axis)))
    because = f", because {formatting.listing(best.ruling.because)}" if best.ruling.because else ""
    decided = best.ruling.verdict in DECIDED
    verdict = _verdict_words(best, _short(best)) if decided else f"{_short(best)}{because}"
    parts = [f"{verdict}; {complete}, {seeds}, {scale}, {best.tuning.words}.", *_key_sentences(best)]
    if decided and best.ruling.part_of:
        parts.append(f"A part of `{best.ruling.part_of}`, which is undecided.")
    if decided and (given := sides.in_words(best.ruling.counted)):
        parts.append(f"{capitalized(given)}.")
    if record.claim.recipe:
        parts.append(f"{capitalized(record.claim.recipe)}.")
    if count > 1 and not math.isnan(corrected):
        lost = ", so it is not decided over all reports" if corrected > ALPHA else ""
        parts.append(f"Decision corrected for the {count} reports that test the claim: {_p(corrected)}{lost}.")
    return " ".join(parts)


def _short(entry: Evidence) -> str:
    return entry.ruling.verdict.removesuffix(" here")


def _key_sentences(entry: Evidence) -> Iterator[str]:
    """The pairs, data sets, differences and p values that a verdict rests on."""
    counted = entry.ruling.counted
    if not counted:
        p = "" if math.isnan(entry.ruling.p) else f" (greatest {_p(entry.ruling.p)})"
        yield f"{capitalized(entry.ruling.evidence.removesuffix('.'))}{p}."
        return
    against = [contrast for contrast in counted if not bears_out(entry.ruling.claim, contrast)]
    listed = counted if len(counted) <= SHOWN else against
    if len(listed) < len(counted):
        borne_out = len(counted) - len(listed)
        yield f"{borne_out} of {len(counted)} tests bear the claim out{'; the others:' if listed else '.'}"
    if listed:
        yield f"{capitalized('; '.join(_by_dataset(listed)))}."
    families = dict.fromkeys(contrast.corrected_for for contrast in counted if contrast.corrected_for > 1)
    if families:
        yield f"Each p value is corrected for {' or '.join(map(str, families))} tests."


def _by_dataset(contrasts: Sequence[Contrast]) -> Iterator[str]:
    for name in dict.fromkeys(contrast.dataset for contrast in contrasts):
        tests = dict.fromkeys(_with_p(contrast) for contrast in contrasts if contrast.dataset == name)
        yield f"on {name}, {', '.join(tests)}"


def _with_p(contrast: Contrast) -> str:
    """A contrast's outcome, its difference where it is not decided, and its p value."""
    text, kind = phrase(contrast, "clause"), outcome(contrast)
    if kind == "open":
        gap = formatting.value(contrast.difference.mean, formatting.decimals(contrast.difference))
        return f"{text} (difference {gap}, {_p(contrast.p)})"
    return f"{text} ({_p(contrast.p_beyond if kind == 'equal' else contrast.p)})" if contrast.decided else text


def _other(best: Evidence | None, entry: Evidence, corrected: float) -> str:
    """The verdict of another report, and what differs there under other conditions.

    If the verdict is not the best report's: what came out, and how their tests differ.
    """
    ruling, verdict = entry.ruling, _short(entry)
    if ruling.verdict in DECIDED and not math.isnan(corrected):
        lost = "; not decided after this correction" if corrected > ALPHA else ""
        verdict += f" ({_p(corrected)}, corrected for all reports{lost})"
    if best is None or ruling.verdict == best.ruling.verdict:
        return " ".join(f"{sentence}." for sentence in (verdict, capitalized(ruling.differs)) if sentence)
    sentences = (verdict, _deviation(entry), capitalized("; ".join(_differences(best, entry))))
    return " ".join(f"{sentence}." for sentence in sentences if sentence)


def _deviation(entry: Evidence) -> str:
    """Words for what does not bear the claim out in a report's test; empty where all of that is what the test lacks."""
    ruling = entry.ruling
    if not ruling.counted:
        return capitalized(ruling.evidence.removesuffix("."))
    others = [contrast for contrast in ruling.counted if not bears_out(ruling.claim, contrast)]
    shown = [contrast for contrast in others if outcome(contrast) != "unknown"]
    if len(shown) > SHOWN:
        count = len(ruling.counted)
        return f"{count - len(others)} of {count} tests bear the claim out"
    return capitalized("; ".join(_by_dataset(shown)))


def _differences(best: Evidence, entry: Evidence) -> list[str]:
    """How the test of a report differs from that of the best one."""
    lacks = list(entry.ruling.strength.lacks)
    return lacks + [
        f"{entry.settings[unit]} instead of {value} {UNITS.get(unit, unit)}".rstrip()
        for unit, value in best.settings.items()
        if value and entry.settings[unit] not in ("", value)
    ]


def _untested(record: ClaimRecord) -> str:
    count = len(record.untested)
    if record.verdict in (UNMET, OUT_OF_REACH):
        return f"{capitalized(_needs(record.claim))}."
    if record.verdict == SUPERSEDED:
        later = successors()[record.claim.name]
        return f"Superseded by the reading: {later.reading}."
    return f"Not tested by {count} other report{'s' * (count != 1)}: they lack what it compares." if count else ""


def _needs(claim: Claim) -> str:
    """Words for what a comparison needs to test a claim."""
    size = f"of at least {formatting.count(claim.parameters)} parameters" if claim.parameters else ""
    if claim.pretraining:
        return f"needs models pretrained under equal budgets{f', {size}' if size else ''}"
    data = f"{'natural text' if claim.natural else 'data'} for {formatting.listing(claim.kind)}"
    data += ", all of which every model reads" if claim.whole else ""
    data += ", which no model reads more than once" if claim.once else ""
    data += f", read at least {claim.epochs:g} times" if claim.epochs else ""
    several = f"a test over several {claim.several}" if claim.several else ""
    return f"needs {formatting.listing(filter(None, (several, f'models {size}' if size else '', data)))}"


def _next_step(record: ClaimRecord) -> str:
    """Words for what would decide an open claim; commands without where and how fast they ran."""
    if record.verdict == UNMET:
        preset = record.claim.preset
        return f"To test it: `archbench compare --preset {preset}`." if preset else "No preset tests it."
    if record.verdict not in (UNDECIDED, DISAGREE) or not record.best:
        return ""
    command = portable(record.best.ruling.command)
    if not command:
        pairs = any(text.startswith("not compared") for text in record.best.ruling.strength.lacks)
        return f"To decide it: {'a comparison of all its pairs' if pairs else 'more seeds or a larger budget'}."
    clause = as_clause(f"`{command}`" if command.startswith("archbench") else command)
    return f"{clause[0].upper()}{clause[1:]}."


def _p(value: float) -> str:
    return formatting.p_text(value).replace(" ", "\N{NO-BREAK SPACE}")
