"""A verdict that turns when something else is held equal, or other tokens have a loss, is not called decided."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import synthetic
from synthetic import SHAKESPEARE, Further, Imagined

from archbench.reports.base import tables
from archbench.reports.claims.claims import claim_verdicts
from archbench.reports.claims.evidence import ClaimVerdict
from archbench.reports.claims.ledger import UNDECIDED
from archbench.reports.claims.next_steps import HOPELESS
from archbench.reports.contrasts.contrast import Contrast
from archbench.reports.contrasts.phrase import phrase
from archbench.reports.contrasts.ranking import standing
from archbench.reports.contrasts.verdicts import verdict
from archbench.reports.contrasts.words import STANDINGS
from archbench.reports.page import printed
from archbench.reports.page.elements.bottom_line import bottom_line
from archbench.reports.page.page import render
from archbench.reports.report import Report

# decoder 2.58, encoder 3.11, encoder-decoder 2.66, all above the bar of their gate
TASK = replace(SHAKESPEARE, references={"ngram": 3.43}, tokens_per_parameter=8.0)
TURNED = {**TASK.truth, "encoder": 2.30}
TURNING = {("decoder", "encoder"), ("encoder", "encoder-decoder")}
RESOLVED: dict[str, Any] = {
    "name": TASK.dataset,
    "kind": TASK.kind,
    "supervision": "native",
    "condition": "",
    "share": 1.0,
    "architectures": list(TASK.truth),
    "seeds": [0, 1, 2],
    "budget": {"match": ["parameters"], "parameters": 250_000, "tokens": 2_000_000},
    "training": {"dropout": 0.0},
    "tuning": None,
    "retuned": False,
    "fixed": [],
}


def judged(
    root: Path,
    truth: dict[str, float],
    condition: str = "",
    match: str = "flops",
    task: Imagined = TASK,
    stated: dict[str, Any] | None = None,
) -> Report:
    """The task under its first condition, and with other true scores under a further one that is ``stated`` so."""
    changes = {"match": match}
    further = [
        Further(replace(task, truth=truth), name, name, truth[name], "compared", condition=condition, changes=changes)
        for name in truth
    ]
    synthetic.write_store(root, [TASK], further=further)
    if stated is not None:
        budget = RESOLVED["budget"] | {"match": [match]} | stated.pop("budget", {})
        synthetic.specify(root, "tasks", [RESOLVED])
        synthetic.specify(root, "conditions", [RESOLVED | {"condition": condition, "budget": budget} | stated])
    return Report(tables.collect(root))


def outcomes(judgement: Report) -> dict[tuple[str, str], Contrast]:
    return {(contrast.first, contrast.second): contrast for contrast in judgement.tested.primary}


def turning(judgement: Report) -> set[tuple[str, str]]:
    return {pair for pair, contrast in outcomes(judgement).items() if contrast.outcome == "accounting"}


def test_a_verdict_that_turns_on_another_axis_is_not_decided(tmp_path: Path) -> None:
    result = judged(tmp_path, TURNED)
    assert turning(result) == TURNING
    contrast = outcomes(result)["decoder", "encoder"]
    assert not contrast.decided and not contrast.better and not contrast.worse and not contrast.small
    assert contrast.ignoring_accounting.outcome == "ahead" and contrast.p < 0.05
    assert phrase(contrast, "sentence") == (
        "decoder vs. encoder: depends on the accounting. Decoder better than encoder by 0.518 under the first "
        "condition, but encoder better than decoder by 0.268 under equal training tokens and equal training FLOPs."
    )
    assert outcomes(result)["decoder", "encoder-decoder"].outcome == "ahead"
    assert verdict(result.first[0], result.tested.primary).mark == "1 of 3 pairs decided"
    assert not any(cell.best for cell in result.first[0].cells)


def test_the_page_and_the_matrix_show_it(tmp_path: Path) -> None:
    result = judged(tmp_path, TURNED)
    assert {name: standing(name, result.tested.primary) for name in TASK.truth} == {
        "decoder": "accounting",
        "encoder": "accounting",
        "encoder-decoder": "loses",
    }
    page = render(result, [])
    assert page.count("depends on the accounting</a>: decided under the first condition, but another outcome") == 1
    assert page.count("text accounting") == 2
    short = " ".join(bottom_line(result))
    assert "no family wins on shakespeare" in short
    assert "tokens have a loss): decoder vs. encoder and encoder vs. encoder-decoder on shakespeare." in short
    rows = {(row[1].text, row[1].below): row for row in printed.TABLES["contrasts"].grid(result).rows}
    cells = [(cell.text, cell.below) for cell in rows["decoder", "vs. encoder"]]
    assert (STANDINGS["accounting"].word, outcomes(result)["decoder", "encoder"].accounting) in cells
    [first, other] = printed.TABLES["conditions"].grid(result).rows
    assert first[2].below == "decoder better" and other[2].below == "encoder better (changed)"
    assert phrase(outcomes(result)["decoder", "encoder"], "mark") == "depends on the accounting"


def test_without_such_a_contrast_the_page_does_not_explain_it(tmp_path: Path) -> None:
    page = render(judged(tmp_path, TASK.truth), [])
    assert "epends on the accounting" not in page


@pytest.mark.usefixtures("any_rate_counts")
def test_a_claim_that_rests_on_it_is_undecided(tmp_path: Path) -> None:
    def verdicts(judgement: Report) -> dict[str, ClaimVerdict]:
        return {ruling.claim.name: ruling for ruling in claim_verdicts(judgement)}

    before, after = verdicts(judged(tmp_path / "agrees", TASK.truth)), verdicts(judged(tmp_path / "turns", TURNED))
    changed = {name for name in before if UNDECIDED != before[name].verdict != after[name].verdict}
    assert "decoder-generates-best" in changed
    for name in changed:
        assert after[name].verdict == UNDECIDED
        assert "depends on the accounting (decoder better than encoder by" in after[name].evidence
        assert after[name].command == f"{HOPELESS}: the outcome depends on the accounting on shakespeare"


def test_better_here_and_equal_there_turns(tmp_path: Path) -> None:
    level = replace(TASK, spread=0.0001, seeds=6, examples=3000)
    result = judged(tmp_path, {"decoder": 2.6, "encoder": 2.6, "encoder-decoder": 2.66}, task=level)
    contrast = outcomes(result)["decoder", "encoder"]
    assert contrast.accounting.endswith(
        "but decoder and encoder equal within the margin under equal training tokens and equal training FLOPs"
    )


def test_a_condition_that_agrees_changes_nothing(tmp_path: Path) -> None:
    result = judged(tmp_path, {**TASK.truth, "encoder": 2.9})
    assert not turning(result) and all(contrast.decided for contrast in result.tested.primary)
    assert all(contrast.ignoring_accounting is contrast for contrast in result.tested.primary)


def test_a_condition_that_decides_nothing_changes_nothing(tmp_path: Path) -> None:
    result = judged(tmp_path, TURNED, task=replace(TASK, spread=0.9))
    under = {contrast.outcome for contrast in result.tested.exploratory if contrast.condition}
    assert under == {"open"}
    assert not turning(result)


def test_what_is_not_decided_first_stays_so(tmp_path: Path) -> None:
    synthetic.write_store(tmp_path, [replace(TASK, truth=dict.fromkeys(TASK.truth, 2.6), spread=0.9)])
    assert not turning(Report(tables.collect(tmp_path)))


@pytest.mark.parametrize(
    ("match", "stated", "turns"),
    [
        ("parameters", {"supervision": "target"}, True),
        ("flops", {"supervision": "target"}, True),
        ("loss-tokens", {"supervision": "target", "seeds": [0], "tuning": {"seeds": [7]}, "retuned": True}, True),
        ("flops", {"retuned": True, "tuning": {"seeds": [7]}}, True),
        ("parameters", {"retuned": True, "tuning": {"seeds": [7]}}, False),
        ("parameters", {"supervision": "target", "training": {"dropout": 0.1}, "fixed": ["dropout"]}, False),
        ("flops", {"training": {"dropout": 0.1}}, False),
        ("flops", {"supervision": "target", "budget": {"parameters": 500_000}}, False),
        ("flops", {"supervision": "target", "budget": {"tokens": 4_000_000}}, False),
        ("flops", {"fixed": ["learning_rate"]}, False),
        ("flops", None, False),
    ],
)
def test_only_axis_and_supervision_are_accounting(
    tmp_path: Path, match: str, stated: dict[str, Any] | None, turns: bool
) -> None:
    result = judged(tmp_path, TURNED, "changed", match, stated=None if stated is None else dict(stated))
    assert turning(result) == (TURNING if turns else set())
    if turns:
        assert outcomes(result)["decoder", "encoder"].accounting.endswith("changed")


def test_the_same_runs_again_turn_nothing(tmp_path: Path) -> None:
    synthetic.write_store(tmp_path, [TASK])
    collected = tables.collect(tmp_path)
    again = collected["entries"].assign(match="flops")
    collected["entries"] = pd.concat([collected["entries"], again], ignore_index=True)
    assert not turning(Report(collected))
