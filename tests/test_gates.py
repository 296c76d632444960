"""A model that has hardly learned, or does not read its source, gives no verdict."""

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import synthetic
from synthetic import PHRASES, SENTIMENT, SHAKESPEARE, Imagined

from archbench.reports.base import tables
from archbench.reports.base.statistics import Interval
from archbench.reports.claims.claims import claim_verdicts
from archbench.reports.claims.ledger import OPPOSITE, REPRODUCED
from archbench.reports.contrasts.contrast import Contrast
from archbench.reports.contrasts.phrase import phrase
from archbench.reports.contrasts.verdicts import verdict
from archbench.reports.figures import plot
from archbench.reports.figures.figure import Figure, View
from archbench.reports.page.bottom_line import bottom_line, limits
from archbench.reports.page.matrix import matrix
from archbench.reports.page.page import render
from archbench.reports.report import Report
from archbench.reports.results.gates import Gate

EXAMPLES = 64


def with_bigram(task: Imagined, bits: float) -> Imagined:
    return replace(task, references=task.references | {"bigram": bits})


def shuffle(root: Path, saved: Mapping[str, float]) -> None:
    """Gives every run a score with shuffled sources: worse than with its own by what its architecture saves."""
    for number, folder in enumerate(sorted((root / "runs").iterdir())):
        architecture = json.loads((folder / "record.json").read_text())["architecture"]
        answers = pd.read_parquet(folder / "predictions.parquet").head(EXAMPLES)
        bits = -answers["log_likelihood"].sum() / math.log(2) / answers["reference"].map(len).sum()
        value = bits + saved[architecture] + 0.001 * (number % 3 - 1)
        scores = json.loads((folder / "scores.json").read_text())
        row = {"split": "test", "metric": "bits_per_byte_shuffled", "value": value, "lower": value, "upper": value}
        synthetic.write_json(folder / "scores.json", [*scores, {**row, "n": EXAMPLES}])


def judged(root: Path, task: Imagined, saved: Mapping[str, float] | None = None) -> Report:
    synthetic.write_store(root, [task])
    if saved is not None:
        shuffle(root, saved)
    return Report(tables.collect(root))


def outcomes(judgement: Report) -> dict[tuple[str, str], Contrast]:
    return {(contrast.first, contrast.second): contrast for contrast in judgement.tested.primary}


def test_a_model_that_is_no_better_than_a_bigram_gives_no_verdict(tmp_path: Path) -> None:
    before = outcomes(judged(tmp_path / "without", SHAKESPEARE))
    after = outcomes(judged(tmp_path / "with", with_bigram(SHAKESPEARE, 3.0)))
    assert {contrast.outcome for contrast in before.values()} <= {"ahead", "behind"}
    for pair, contrast in after.items():
        assert contrast.outcome == ("untrained" if "encoder" in pair else before[pair].outcome)
        assert contrast.decided == ("encoder" not in pair) and (contrast.better == "") == ("encoder" in pair)
    sentence = phrase(after["decoder", "encoder"], "sentence")
    assert sentence.startswith("decoder vs. encoder: no verdict. encoder is no better than a bigram model (3.")
    assert sentence.endswith("vs. 3.000 bits per byte).")


def test_a_classifier_that_is_no_better_than_the_majority_class_gives_no_verdict(tmp_path: Path) -> None:
    between = replace(SENTIMENT, references=SENTIMENT.references | {"majority": 0.59})
    contrasts = outcomes(judged(tmp_path, between))
    assert {pair for pair, contrast in contrasts.items() if contrast.outcome == "untrained"} == {
        pair for pair in contrasts if "decoder" in pair
    }
    assert "decoder is no better than the majority class (0.5" in contrasts["decoder", "encoder"].untrained
    page = render(Report(tables.collect(tmp_path)), [])
    assert "decoder on sentiment, which is no better than the majority class" in page


def test_a_model_that_does_not_read_its_source_gives_no_verdict(tmp_path: Path) -> None:
    saved = {"decoder": 0.0, "prefix-decoder": 0.4, "encoder": 0.1, "encoder-decoder": 0.9}
    contrasts = outcomes(judged(tmp_path, PHRASES, saved))
    assert {pair for pair, contrast in contrasts.items() if contrast.outcome == "untrained"} == {
        pair for pair in contrasts if "decoder" in pair
    }
    assert "no better with the right sources than with shuffled ones" in contrasts["decoder", "encoder"].untrained


@pytest.mark.parametrize("saved", [-0.2, 0.0, 0.0004])
def test_a_saving_within_its_error_is_none(tmp_path: Path, saved: float) -> None:
    every = {name: saved for name in PHRASES.truth}
    assert {contrast.outcome for contrast in outcomes(judged(tmp_path, PHRASES, every)).values()} == {"untrained"}


def test_matrix_card_sentence_and_bold_mark_agree_on_who_wins(tmp_path: Path) -> None:
    """The encoder is not trained enough and stands aside; the decoder beats the encoder-decoder."""
    result = judged(tmp_path, with_bigram(SHAKESPEARE, 3.0))
    [comparison] = result.first
    kinds = [row[1].kind for row in matrix(result).rows if row[0].text in SHAKESPEARE.truth]
    assert kinds == ["text wins", "text untrained", "text loses"]
    assert [cell.architecture for cell in comparison.cells if cell.best] == ["decoder"]
    state = verdict(comparison, result.tested.primary).ranking
    assert (state.case, state.leaders, state.aside) == ("wins", ("decoder",), ("encoder",))
    assert "decoder wins on shakespeare (encoder not trained enough)" in bottom_line(result)[0]


def figure(root: Path, name: str, *tasks: Imagined) -> Figure:
    synthetic.write_store(root, tasks)
    return plot.figure(View(Report(tables.collect(root))), name)


def test_means_over_data_sets_are_those_of_models_trained_enough_on_all(tmp_path: Path) -> None:
    [all_enough, one_aside, none] = (
        figure(tmp_path / str(bits), "summary", with_bigram(SHAKESPEARE, bits), SENTIMENT) for bits in (5.0, 3.0, 2.44)
    )
    assert all(f"{name} \N{MINUS SIGN}" in all_enough.takeaway for name in SENTIMENT.truth)
    assert "trained enough" not in all_enough.takeaway
    means, aside = one_aside.takeaway.split(". ", 1)
    assert "encoder-decoder \N{MINUS SIGN}" in means and "; encoder \N{MINUS SIGN}" not in means
    assert ", encoder " not in means and " and encoder " not in means
    reason = "Left out, as not trained enough: encoder on shakespeare, which is no better than a bigram model (3."
    assert aside.startswith(reason) and aside.endswith(" vs. 3.000 bits per byte).")
    assert none.takeaway.startswith("No architecture is trained enough on each of the 2 data sets. Left out, as not")


def test_the_frontier_of_cost_has_only_models_trained_enough(tmp_path: Path) -> None:
    """With a bigram model of 2.4 bits per byte none is trained enough; with 2.56 only the decoder is."""
    [everything, decoder, nothing] = (
        figure(tmp_path / str(bits), "cost", with_bigram(SHAKESPEARE, bits)) for bits in (5.0, 2.56, 2.4)
    )
    assert everything.numbers["mean_on_frontier"].any()
    costs = "training FLOPs, inference FLOPs per example and time per generated token"
    outcome, reason = decoder.takeaway.split(". ", 1)
    assert outcome == f"Pareto-optimal means, cheapest first: decoder (by {costs})"
    why = "encoder and encoder-decoder on shakespeare, which are no better than a bigram model"
    assert reason == f"Left out, as not trained enough: {why}."
    assert (
        nothing.takeaway.startswith("Left out, as not trained enough: decoder, encoder and encoder-decoder on")
        and not nothing.numbers["mean_on_frontier"].any()
        and len(nothing.panels) > 0
    )
    plot.drawn(View(Report(tables.collect(tmp_path / "2.4"))), "cost")


def test_the_name_of_a_model_that_is_not_trained_enough_is_grey(tmp_path: Path) -> None:
    synthetic.write_store(tmp_path, [with_bigram(SHAKESPEARE, 3.0), SENTIMENT])
    [axes] = plot.drawn(View(Report(tables.collect(tmp_path))), "summary").axes
    colours = {label.get_text().partition("\n")[0]: label.get_color() for label in axes.get_yticklabels()}
    assert colours["encoder"] != colours["decoder"] == colours["encoder-decoder"]


def test_differences_are_from_the_best_of_the_models_trained_enough(tmp_path: Path) -> None:
    """The prefix-decoder has the best score, but does not read its source."""
    saved = {"decoder": 0.4, "prefix-decoder": 0.0, "encoder": 0.1, "encoder-decoder": 0.9}
    best = replace(PHRASES, truth=PHRASES.truth | {"prefix-decoder": 0.9})
    drawn = plot.figure(View(judged(tmp_path, best, saved)), "headline")
    against = "against encoder-decoder, the best mean of those trained enough"
    assert drawn.panels[1].below == f"{against}; corrected (Holm)"
    assert drawn.takeaway == "Best mean of those trained enough: encoder-decoder on phrases-en-de."
    gaps = drawn.numbers.set_index("name")["from_best"]
    assert gaps[["decoder", "encoder"]].lt(0).all() and gaps[["prefix-decoder", "encoder-decoder"]].isna().all()


@pytest.mark.parametrize(
    ("enough", "said"), [(("decoder",), "only decoder is trained enough"), ((), "no architecture is trained enough")]
)
def test_fewer_than_two_models_trained_enough_have_no_differences(
    tmp_path: Path, enough: tuple[str, ...], said: str
) -> None:
    drawn = figure(tmp_path, "headline", with_bigram(SHAKESPEARE, 2.56 if enough else 2.4))
    assert [panel.below for panel in drawn.panels] == [f"no differences: {said}"]
    assert drawn.takeaway == "On shakespeare, fewer than two architectures are trained enough."
    assert drawn.numbers["from_best"].isna().all()


@pytest.mark.parametrize("enough", [("decoder",), ()])
def test_a_verdict_names_no_leader_among_models_that_are_not_trained_enough(
    tmp_path: Path, enough: tuple[str, ...]
) -> None:
    result = judged(tmp_path, with_bigram(SHAKESPEARE, 2.56 if enough else 2.4))
    state = verdict(result.first[0], result.tested.primary).ranking
    assert (state.case, state.leaders) == ("leads" if enough else "untrained", enough)
    assert state.aside == tuple(name for name in SHAKESPEARE.truth if name not in enough)


@pytest.mark.parametrize("best", ["decoder", "encoder"])
def test_of_a_default_and_its_variants_only_the_default_can_win(tmp_path: Path, best: str) -> None:
    """A variant that beats the default is not tested against the other variants."""
    truth = SHAKESPEARE.truth | {best: 2.2, "prefix-decoder": 2.9}
    synthetic.write_store(tmp_path, [replace(SHAKESPEARE, truth=truth)])
    synthetic.specify(tmp_path, "contrasts", [[name, "decoder"] for name in truth if name != "decoder"])
    result = Report(tables.collect(tmp_path))
    [comparison] = result.first
    [sentence, *_], state = bottom_line(result), verdict(comparison, result.tested.primary).ranking
    cells = {row[0].text: row[1].text.partition(" ")[0] for row in matrix(result).rows}
    assert cells[best] == ("wins" if best == "decoder" else "better")
    assert [cell.architecture for cell in comparison.cells if cell.best] == (["decoder"] if best == "decoder" else [])
    assert (state.case, state.leaders) == ("wins" if best == "decoder" else "beats", (best,)) and not state.complete
    assert "is better than" in sentence and "win" not in sentence


def test_in_an_ablation_only_the_whole_architecture_has_to_pass(tmp_path: Path) -> None:
    """A decoder may fail for what it lacks; an encoder-decoder is no encoder without a part."""
    names = ["decoder", "decoder-no-norm", "encoder", "encoder-decoder"]
    truth = dict(zip(names, (2.2, 3.5, 2.4, 3.4), strict=True))
    families = dict(zip(names, ("decoder", "decoder", "encoder", "encoder-decoder"), strict=True))
    synthetic.write_store(tmp_path, [with_bigram(replace(SHAKESPEARE, truth=truth), 3.0)])
    for path in (tmp_path / "runs").glob("*/record.json"):
        record = json.loads(path.read_text())
        synthetic.write_json(path, record | {"family": families[record["architecture"]]})
    synthetic.specify(tmp_path, "contrasts", [["decoder", "decoder-no-norm"], ["encoder", "encoder-decoder"]])
    contrasts = outcomes(Report(tables.collect(tmp_path)))
    assert contrasts["decoder", "decoder-no-norm"].outcome == "ahead"
    assert contrasts["encoder", "encoder-decoder"].outcome == "untrained"


def test_an_architecture_is_not_blamed_for_an_untrained_opponent(tmp_path: Path) -> None:
    pair = replace(SHAKESPEARE, truth={name: SHAKESPEARE.truth[name] for name in ("decoder", "encoder")})
    [decoder, encoder, *_] = matrix(judged(tmp_path, with_bigram(pair, 3.0))).rows
    assert decoder[1].text.startswith("no verdict") and encoder[1].text.startswith("not trained enough")


def test_a_claim_about_an_untrained_model_is_not_decided_by_it(tmp_path: Path) -> None:
    def decided(judgement: Report) -> set[str]:
        return {
            verdict.claim.name for verdict in claim_verdicts(judgement) if verdict.verdict in (REPRODUCED, OPPOSITE)
        }

    before = decided(judged(tmp_path / "without", SHAKESPEARE))
    after = decided(judged(tmp_path / "with", with_bigram(SHAKESPEARE, 2.0)))
    assert before - after == {"decoder-generates-best", "encoder-generates-poorly"}


def test_changes_of_one_architecture_are_not_gated(tmp_path: Path) -> None:
    task = replace(with_bigram(SHAKESPEARE, 2.0), seeds=4)
    synthetic.write_store(tmp_path, [task], further=synthetic.controls(task, 0.4))
    controls = Report(tables.collect(tmp_path)).tested["control"]
    assert controls and all(control.outcome != "untrained" for control in controls)


def test_the_page_shows_the_gates_and_what_they_exclude(tmp_path: Path) -> None:
    page = render(judged(tmp_path, with_bigram(SHAKESPEARE, 3.0)), [])
    assert "Trained enough to compare?" in page and page.count("not trained enough") >= 2
    assert "not trained enough to be compared: encoder on shakespeare, which is no better than a bigram model" in page
    many = limits(judged(tmp_path / "many", with_bigram(SHAKESPEARE, 2.0)))
    assert "decoder, encoder and encoder-decoder on shakespeare, which are no better than a bigram model" in many
    without = render(judged(tmp_path / "without", SHAKESPEARE), [])
    assert "rained enough to compare" not in without and "not trained enough" not in without


@pytest.mark.parametrize(("saved", "blind"), [(-0.1, True), (0.0, True), (0.1, False)])
def test_with_one_seed_the_mean_decides(saved: float, blind: bool) -> None:
    assert Gate("decoder", source=Interval(saved)).source_blind == blind
    assert Gate("decoder", source=Interval(saved)).passed != blind
