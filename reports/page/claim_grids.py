"""Grids of claims: those that were tested, with their verdicts, and those that were not, with the reasons."""

from collections.abc import Sequence

from archbench.reports.claims.claims import ClaimVerdict
from archbench.reports.claims.ledger import Claim, successors
from archbench.reports.claims.next_steps import as_clause
from archbench.reports.page.grids import Grid, GridCell, text_cell


def tested(verdicts: Sequence[ClaimVerdict]) -> Grid:
    """The claims that were tested, with their verdicts."""
    rows = [
        (
            GridCell(f"“{verdict.claim.statement}”", kind="text"),
            GridCell(verdict.verdict, _reading(verdict.claim), "text"),
            GridCell(verdict.evidence, _to_decide(verdict), "text"),
            GridCell(verdict.claim.reading, verdict.claim.source, "text"),
        )
        for verdict in verdicts
    ]
    return Grid(tuple(map(text_cell, ("claim", "verdict", "evidence", "tested as"))), tuple(rows))


def _reading(claim: Claim) -> str:
    """Whether a claim is one of two readings of the same statement."""
    if claim.name in successors():
        return "by a superseded reading, fixed before the first run"
    return "by a stricter reading, which supersedes an earlier one" if claim.supersedes else ""


def _to_decide(verdict: ClaimVerdict) -> str:
    """What would decide a claim; for a number of seeds also what they would show."""
    if not verdict.command:
        return ""
    shows = {contrast.needed_to_show for contrast in verdict.contrasts if contrast.outcome == "open"} - {""}
    words = {"difference": "a difference", "equality": "equality within the margin"}
    kinds = " or ".join(words[shown] for shown in words if shown in shows)
    by_seeds = "--seeds" in verdict.command or "seeds each" in verdict.command
    return as_clause(verdict.command, f", by {kinds}" if kinds and by_seeds else "")


def untested(verdicts: Sequence[ClaimVerdict]) -> Grid:
    """The claims that were not tested, and why."""
    rows = [
        (
            GridCell(f"“{verdict.claim.statement}”", kind="text"),
            text_cell(verdict.verdict),
            GridCell(verdict.evidence, verdict.command, "text"),
        )
        for verdict in verdicts
    ]
    return Grid(tuple(map(text_cell, ("claim", "verdict", "reason"))), tuple(rows))


def rows(verdicts: Sequence[ClaimVerdict]) -> list[dict[str, object]]:
    """Every claim with its verdict as a row of a table."""
    return [
        {
            "claim": verdict.claim.name,
            "statement": verdict.claim.statement,
            "source": verdict.claim.source,
            "tested_as": verdict.claim.reading,
            "verdict": verdict.verdict,
            "evidence": verdict.evidence,
            "to_decide": verdict.command,
            "supersedes": verdict.claim.supersedes,
        }
        for verdict in verdicts
    ]
