"""The table of the primer's sentences names what there is, and every claim of the primer's."""

import re
from pathlib import Path

import pytest

from archbench.inspection.pages import claims as inside_claims
from archbench.inspection.pages.page import TEMPLATES
from archbench.reports.claims import ledger
from archbench.reports.page import page
from archbench.runs.experiment import spec

TABLE = Path(__file__).parents[1] / "docs" / "primer.md"
ROWS = [line.strip("| \n").split(" | ") for line in TABLE.read_text(encoding="utf-8").splitlines() if line[:1] == "|"]
COLUMNS, _, *SENTENCES = ROWS
SOURCES = [path for at in (page.TEMPLATES, TEMPLATES, page.TEMPLATES.parent / "sections") for path in at.iterdir()]
PAGES = "".join(path.read_text(encoding="utf-8") for path in SOURCES if path.is_file()).replace('"', "'")
PRESETS, CLAIMS = spec.presets(), {claim.name: claim for claim in ledger.ledger()}
INSIDE = {saying.name for saying in inside_claims.SAYINGS}
quoted = re.compile("`(.+?)`").findall


def test_every_row_says_where_at_what_and_which_claim() -> None:
    assert COLUMNS == ["sentence", "where", "what to look at", "claim"]
    assert all(len(row) == len(COLUMNS) and all(row) for row in SENTENCES)


@pytest.mark.parametrize("row", SENTENCES, ids=lambda row: row[0][:40])
def test_what_a_row_names_is_there(row: list[str]) -> None:
    _, where, what, claim = row
    figures = [name for part in re.findall("figures? (`[a-z_]+`(?: and `[a-z_]+`)?)", what) for name in quoted(part)]
    assert all(f"'{name}'" in PAGES for name in figures)
    assert set(quoted(what)) <= {*figures, *PRESETS}
    assert all(part in PAGES for part in re.findall('"(.+?)"', what))
    assert set(re.findall("--preset ([a-z-]+)", where)) <= set(PRESETS)
    assert claim == "—" or quoted(claim)
    assert set(quoted(claim)) <= {*CLAIMS, *INSIDE}
    assert not set(quoted(claim)) & INSIDE or "archbench inspect RUN" in where


def test_a_row_sends_to_the_preset_that_its_claims_need() -> None:
    for row in SENTENCES:
        needed = {CLAIMS[name].preset for name in quoted(row[3]) if name in CLAIMS} - {""}
        assert not needed or re.findall("--preset ([a-z-]+)", row[1])[0] in needed


def test_every_claim_of_the_primer_stands_in_the_table() -> None:
    of_primer = {name for name, claim in CLAIMS.items() if claim.source.startswith("the primer")}
    assert of_primer | INSIDE == {name for row in SENTENCES for name in quoted(row[3])}
