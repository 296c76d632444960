"""The first sentences: what they say of one seed, of the floor of a scale, and of what training costs."""

from dataclasses import replace
from pathlib import Path

import figure_stores
import pytest
import synthetic
from synthetic import PHRASES, SENTIMENT, SHAKESPEARE, single

from archbench.reports.base import tables
from archbench.reports.base.formatting import number
from archbench.reports.claims import ledger
from archbench.reports.claims.evidence import ClaimVerdict
from archbench.reports.claims.next_steps import remedy
from archbench.reports.contrasts.verdicts import verdict
from archbench.reports.page.elements import task_lines
from archbench.reports.page.elements.bottom_line import bottom_line, limits
from archbench.reports.page.elements.matrix import matrix
from archbench.reports.page.page import render
from archbench.reports.report import Report

FAMILIES = {"decoder": 0.55, "encoder": 0.60, "encoder-decoder": 0.57}


def judged(root: Path, *tasks: synthetic.Imagined) -> Report:
    synthetic.write_store(root, tasks)
    return Report(tables.collect(root))


def test_one_seed_is_told_first(tmp_path: Path) -> None:
    short = bottom_line(judged(tmp_path, single(SENTIMENT, truth=FAMILIES, seeds=1)))
    assert short[0].startswith("Nothing is tested: a test needs two seeds")


def test_two_seeds_are_tested(tmp_path: Path) -> None:
    short = bottom_line(judged(tmp_path, single(SENTIMENT, truth=FAMILIES, seeds=2)))
    assert not any("needs two seeds" in sentence for sentence in short)


@pytest.mark.parametrize(("level", "expected"), [(-2.0, True), (0.3, False)])
def test_the_floor_of_a_scale_is_told(tmp_path: Path, level: float, expected: bool) -> None:
    task = single(PHRASES, truth=dict.fromkeys(FAMILIES, level), spread=0.0)
    [comparison] = judged(tmp_path, task).first
    assert any("Floor effect" in note for note in verdict(comparison).notes) == expected


def test_a_scale_without_a_worst_end_has_no_floor(tmp_path: Path) -> None:
    [comparison] = judged(tmp_path, single(SHAKESPEARE, truth=dict.fromkeys(FAMILIES, 2.5))).first
    assert not comparison.at_the_floor


def test_limits_say_how_far_training_and_depth_differ(tmp_path: Path) -> None:
    """An encoder-decoder has two stacks; the encoder has a loss on half of the tokens."""
    task = single(SENTIMENT, truth=FAMILIES, seeds=3)
    for run in synthetic.write_store(tmp_path, [task]):
        if "encoder-decoder" in run:
            synthetic.change_record(tmp_path, run, depth=2)
    result = Report(tables.collect(tmp_path))
    flops = result.first[0].group.runs.groupby("architecture")["train_flops"].mean()
    ratio = number(flops.max() / flops.min())
    layers = "up to 1.25 times as many layers and up to 2.00 times as many tokens with a loss"
    assert f"up to {ratio} times as many training FLOPs, {layers}" in limits(result)
    one_family = limits(judged(tmp_path / "one", replace(task, truth={"decoder": 0.5, "decoder-post-norm": 0.6})))
    assert "times as many" not in one_family


@pytest.mark.parametrize(("level", "best", "full"), [(0.6, 0.6, False), (0.6, 2.0, False), (2.0, 2.0, True)])
def test_a_ceiling_is_named_and_more_training_is_not_asked_of_a_perfect_score(
    tmp_path: Path, level: float, best: float, full: bool
) -> None:
    truth = {"decoder": level, "encoder": level, "encoder-decoder": best}
    result = judged(tmp_path, single(SENTIMENT, truth=truth, seeds=3, spread=0.0))
    card = render(result, []).partition('<article class="card')[2].partition("</article>")[0].lower()
    assert card.count("early training") == limits(result).count("Early training") == (best < 1)
    assert card.count("every architecture is at the maximum") == full
    assert ("every architecture is at the maximum of the scale on sentiment" in limits(result)) == full


@pytest.mark.parametrize("perfect", range(4))
def test_two_models_at_the_end_of_a_scale_may_hide_a_difference(tmp_path: Path, perfect: int) -> None:
    truth = {name: 2.0 if place < perfect else 0.6 for place, name in enumerate(FAMILIES)}
    [comparison] = judged(tmp_path, single(SENTIMENT, truth=truth, spread=0.0)).first
    notes = " ".join(verdict(comparison).notes)
    assert ("near the end of the scale" in notes, "is at the maximum" in notes) == (perfect == 2, perfect == 3)


def test_a_reason_is_given_once(tmp_path: Path) -> None:
    """Two data sets, on each of which several models are no better than a byte 5-gram."""
    weak = [replace(SHAKESPEARE, dataset=name, references={"ngram": 2.6}) for name in ("plays", "poems")]
    result = judged(tmp_path, *weak)
    failed = [gate for contrast in result.tested.primary for gate in contrast.failed_gates]
    assert len({(gate.architecture, gate.reason) for gate in failed}) == 4
    claim = next(claim for claim in ledger.ledger() if claim.ahead)
    step = remedy(result.comparisons.tables, claim, result.tested.primary)
    assert step.startswith("a larger budget; ") and step.count("no better than a byte 5-gram") == 1
    assert limits(result).count("no better than a byte 5-gram") == 1


def test_equal_cost_is_not_told(tmp_path: Path) -> None:
    truth = {"decoder": 0.55, "encoder": 0.60}
    assert "FLOPs" not in limits(judged(tmp_path, single(SENTIMENT, truth=truth, seeds=3)))


def test_where_none_wins_the_decided_pairs_are_named(tmp_path: Path) -> None:
    truth = {"decoder": 0.8, "encoder": 0.3, "encoder-decoder": 0.8}
    result = judged(tmp_path, single(PHRASES, truth=truth, seeds=3, spread=0.02))
    first, second, *_ = bottom_line(result)
    assert (
        "no family wins on phrases-en-de; decoder and encoder-decoder are better than encoder on phrases-en-de" in first
    )
    assert second == "Not decided: decoder vs. encoder-decoder on phrases-en-de."
    head, *rows = matrix(result).head, *matrix(result).rows
    cells = {row[0].text: row[1].below for row in rows}
    assert cells["decoder"].endswith("; beats encoder; not decided vs. encoder-decoder")
    assert ";" not in cells["encoder"] and head[1].text == "phrases-en-de"


def test_a_data_set_without_any_decision_is_named_once(tmp_path: Path) -> None:
    short = bottom_line(judged(tmp_path, single(SENTIMENT, truth=dict.fromkeys(FAMILIES, 0.6), seeds=3, spread=0.08)))
    assert "Not decided: every pair on sentiment." in short


def test_claims_decided_in_miniature_are_named_last() -> None:
    reported = figure_stores.judged("families")
    claims = [claim for claim in ledger.ledger() if claim.miniature][:6]
    words = [ledger.SAME_DIRECTION] * 4 + [ledger.OPPOSITE_DIRECTION, ledger.UNDECIDED]
    scale = "0.5 M parameters, 1 M tokens"
    verdicts = [ClaimVerdict(claim, word, "", scale=scale) for claim, word in zip(claims, words, strict=True)]
    lines = bottom_line(reported, verdicts)
    named = lines[len(bottom_line(reported))]
    assert named.startswith(
        f"Claims about larger models, tested in miniature ({scale}). Same direction: {claims[0].statement}; "
    )
    assert named.endswith(f"; 1 more. Opposite direction: {claims[4].statement}.")
    assert claims[5].statement not in named and lines[-1] == named


def test_a_condition_whose_name_has_on_in_it_keeps_its_data_set(tmp_path: Path) -> None:
    task = single(SENTIMENT, truth={"decoder": 0.8}, seeds=3, spread=0.01)
    half = synthetic.Further(task, "decoder", "decoder", 0.5, role="compared", condition="trained on half")
    synthetic.write_store(tmp_path, [task], further=(half,))
    short = bottom_line(Report(tables.collect(tmp_path)))
    assert any("decoder is better than decoder with trained on half on sentiment" in line for line in short), short


@pytest.mark.parametrize(("mean", "words"), [(1.0, "100%"), (0.996, "99.6%"), (0.994, "99%"), (0.0, "0%")])
def test_only_a_perfect_share_is_100_percent(mean: float, words: str) -> None:
    assert task_lines._share(mean) == words


def test_a_line_says_who_wins_and_that_a_difference_is_below_the_margin(tmp_path: Path) -> None:
    result = judged(tmp_path, single(SENTIMENT, truth={"decoder": 0.7, "encoder": 0.5}, seeds=5))
    [line], [contrast] = task_lines.task_lines(result), result.tested.primary
    assert "decoder 70%" in line.scores and "(wins)" in line.scores and line.scores.endswith("encoder 50%")
    assert not task_lines._within_margin(contrast)
    assert task_lines._within_margin(replace(contrast, margin=0.9))
    assert task_lines._outcome(contrast) == "worse by less than the margin"
