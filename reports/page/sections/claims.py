"""The claims that were tested, with their verdicts, and those that were not, with the reasons."""

from collections.abc import Iterator
from typing import Final

from markupsafe import Markup

from archbench.reports.base import declared
from archbench.reports.claims import ledger
from archbench.reports.claims.claims import UNTESTED, claim_verdicts
from archbench.reports.claims.evidence import ClaimVerdict
from archbench.reports.claims.ledger import Claim, successors
from archbench.reports.claims.next_steps import as_clause
from archbench.reports.contrasts.words import SHOWN
from archbench.reports.page.elements.grids import Column, GridCell
from archbench.reports.page.elements.parts import Note, Section, Table, when
from archbench.reports.report import Report


def _tested(report: Report) -> list[ClaimVerdict]:
    return [entry for entry in claim_verdicts(report) if entry.verdict not in UNTESTED]


def _untested(report: Report) -> list[ClaimVerdict]:
    return [entry for entry in claim_verdicts(report) if entry.verdict in UNTESTED]


def _statement(verdict: ClaimVerdict) -> str:
    return verdict.claim.statement


def _reading(claim: Claim) -> str:
    """Words for which of two readings of a statement a claim is, and for what its source did otherwise."""
    stricter = "by a stricter reading, which supersedes an earlier one" if claim.supersedes else ""
    which = "by a superseded reading, fixed before the first run" if claim.name in successors() else stricter
    return "; ".join(filter(None, (which, claim.recipe)))


def _to_decide(verdict: ClaimVerdict) -> str:
    """Words for what would decide a claim; for a number of seeds also for what they would show."""
    if not verdict.command:
        return ""
    shows = {contrast.needed_to_show for contrast in verdict.contrasts if contrast.outcome == "open"} - {""}
    kinds = " or ".join(words for shown, words in SHOWN.items() if shown in shows)
    by_seeds = "--seeds" in verdict.command or "seeds each" in verdict.command
    return as_clause(verdict.command, f", by {kinds}" if kinds and by_seeds else "")


def rows(report: Report) -> Iterator[dict[str, object]]:
    """Every claim with its verdict as a row of a table."""
    for verdict in claim_verdicts(report):
        yield {
            "claim": verdict.claim.name,
            "statement": verdict.claim.statement,
            "source": verdict.claim.source,
            "tested_as": verdict.claim.reading,
            "verdict": verdict.verdict,
            "evidence": verdict.evidence,
            "to_decide": verdict.command,
            "supersedes": verdict.claim.supersedes,
            "recipe": verdict.claim.recipe,
        }


def _hashes(report: Report) -> Markup:
    """The hashes of the parts of the ledger that were tested, and whether they were fixed before the runs."""
    recorded = declared.experiment(report.tables).get("ledger", "")
    parts = []
    for part in ledger.standing(recorded, {entry.claim.name for entry in _tested(report)}):
        when_fixed = "fixed before" if part.before else "written or changed after"
        known = Markup(f" ({when_fixed} the first of these runs)") if recorded else ""
        parts.append(Markup(f"<code>{part.sha256[:16]}</code>") + known)
    return Markup("; ").join(parts) + "."


TESTED: Final = Table[ClaimVerdict](
    "claims",
    "Claims and their verdicts",
    _tested,
    (
        Column("claim", _statement, text=True),
        Column("verdict", lambda entry: GridCell(entry.verdict, _reading(entry.claim), "text"), text=True),
        Column("evidence", lambda entry: GridCell(entry.evidence, _to_decide(entry), "text"), text=True),
        Column("tested as", lambda entry: GridCell(entry.claim.reading, entry.claim.source, "text"), text=True),
    ),
    holds="the claims that the comparison tests",
    lacks="a tested claim",
)
UNTESTED_CLAIMS: Final = Table[ClaimVerdict](
    "untested_claims",
    "Claims that this comparison does not test",
    _untested,
    (
        Column("claim", _statement, text=True),
        Column("verdict", lambda entry: entry.verdict, text=True),
        Column("reason", lambda entry: GridCell(entry.evidence, entry.command, "text"), text=True),
    ),
    folded=lambda report: f"{len(_untested(report))} readings of claims that this comparison does not test, and why",
)
SECTION: Final = Section(
    "Claims",
    name="claims",
    show=(
        Note(
            (
                "These claims come from the literature and from a primer on language models. Each is tested only on "
                "the results of this report. A claim about two architectures uses their primary contrast, if there is "
                "one; all other pairs that it compares are a family of tests of its own, corrected for their number "
                "(Holm). Claims about conditions, size or depth use the tests in the sections on these, with their "
                "correction. Claims about a baseline or about stored bits use 95% intervals, not corrected. The claims "
                "tested here are in parts whose tests have these SHA-256 hashes (first 16 digits):",
                _hashes,
                'All claims with sources: <a href="claims.csv">claims.csv</a>.',
            ),
            look="",
        ),
        TESTED,
        Note(when(lambda report: not _tested(report), "This comparison tests no claim."), look=""),
        UNTESTED_CLAIMS,
    ),
)
