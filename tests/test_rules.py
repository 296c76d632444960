"""The rules of the tests have a version, which is recorded before the first run and changes with every rule."""

from pathlib import Path
from typing import Any

import pytest
import synthetic

from archbench.reports.base import statistics, tables
from archbench.reports.claims import ledger
from archbench.reports.page import page
from archbench.reports.report import Report
from archbench.runs.store import store
from archbench.tasks.base import sealed

OUTCOMES: dict[int, dict[tuple[str, str, str], tuple[str, float]]] = {
    1: {
        ("phrases-en-de", "decoder", "encoder"): ("ahead", 3.951e-06),
        ("phrases-en-de", "decoder", "encoder-decoder"): ("behind", 3.232e-08),
        ("phrases-en-de", "encoder", "encoder-decoder"): ("behind", 1.209e-10),
        ("sentiment", "decoder", "encoder"): ("open", 0.3076),
        ("sentiment", "decoder", "encoder-decoder"): ("open", 0.1752),
        ("sentiment", "encoder", "encoder-decoder"): ("open", 0.4464),
        ("shakespeare", "decoder", "encoder"): ("ahead", 3.605e-05),
        ("shakespeare", "decoder", "encoder-decoder"): ("open", 0.05951),
        ("shakespeare", "encoder", "encoder-decoder"): ("behind", 3.605e-05),
    }
}
"""Outcome and p value of every primary contrast, by version of the rules."""


def recorded(tmp_path: Path, **declared: str) -> dict[str, Any]:
    store.write_experiment(
        tmp_path, name="tiny", command="", version="", experiment={}, rows={}, entries=[], declared=declared
    )
    return store.read_experiment(tmp_path)


def test_what_was_declared_first_stays(tmp_path: Path) -> None:
    first = recorded(tmp_path, ledger="a", rules="1")
    assert (first["ledger"], first["rules"]) == ("a", "1")
    again = recorded(tmp_path, ledger="b", rules="2")
    assert (again["ledger"], again["rules"]) == ("a", "1")


def test_what_was_not_declared_before_the_first_run_is_not_declared_later(tmp_path: Path) -> None:
    recorded(tmp_path)
    again = recorded(tmp_path, rules="2")
    assert not again["rules"]


def test_a_comparison_declares_ledger_and_rules() -> None:
    assert ledger.declaration() == {"ledger": " ".join(ledger.digests().values()), "rules": str(statistics.RULES)}


def page_of(folder: Path, **declared: str) -> str:
    synthetic.write_store(folder, [synthetic.SHAKESPEARE])
    head = sealed.read_json(folder / "experiment.json") | declared
    synthetic.write_json(folder / "experiment.json", head)
    return page.render(Report(tables.collect(folder)), [])


def test_the_page_says_whether_the_rules_are_those_of_the_plan(tmp_path: Path) -> None:
    same, earlier = (
        f"(version {statistics.RULES}) were fixed before the first",
        "planned under version 0 of the test rules",
    )
    planned = page_of(tmp_path / "planned", rules=str(statistics.RULES))
    assert same in planned and earlier not in planned
    changed = page_of(tmp_path / "changed", rules="0")
    assert earlier in changed and same not in changed
    unknown = page_of(tmp_path / "unknown")
    assert same not in unknown and "of the test rules" not in unknown


def test_a_version_of_the_rules_judges_the_same_scores_alike(tmp_path: Path) -> None:
    """If it fails because a rule changed: raise `RULES`, describe it in docs/statistics.md, and add outcomes here."""
    synthetic.write_store(tmp_path, [synthetic.PHRASES, synthetic.SENTIMENT, synthetic.SHAKESPEARE])
    outcomes = {
        (contrast.dataset, contrast.first, contrast.second): (contrast.outcome, contrast.p)
        for contrast in Report(tables.collect(tmp_path)).tested.primary
    }
    expected = OUTCOMES[statistics.RULES]
    assert {key: outcome for key, (outcome, _) in outcomes.items()} == {
        key: outcome for key, (outcome, _) in expected.items()
    }
    for key, (_, p) in outcomes.items():
        assert p == pytest.approx(expected[key][1], rel=0.02, abs=1e-6), key
