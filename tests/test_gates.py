"""A model that has hardly learned, or does not read its source, is below its gate: a label beside every outcome."""

import json
import math
import re
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
from archbench.reports.claims.evidence import ClaimVerdict
from archbench.reports.claims.ledger import OPPOSITE, REPRODUCED, UNDECIDED
from archbench.reports.contrasts.contrast import Contrast, row
from archbench.reports.contrasts.phrase import phrase
from archbench.reports.contrasts.verdicts import verdict
from archbench.reports.figures import plot
from archbench.reports.figures.figure import Figure, View
from archbench.reports.page.elements.bottom_line import bottom_line
from archbench.reports.page.elements.matrix import matrix
from archbench.reports.page.page import render
from archbench.reports.report import Report
from archbench.reports.results.gates import BAR, Gate
from archbench.tasks.baselines import ngram

EXAMPLES = 64


def with_ngram(task: Imagined, bits: float) -> Imagined:
    return replace(task, references=task.references | {"ngram": bits})


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


def test_a_loss_of_a_model_below_its_gate_is_printed_with_both(tmp_path: Path) -> None:
    before = outcomes(judged(tmp_path / "without", SHAKESPEARE))
    result = judged(tmp_path / "with", with_ngram(SHAKESPEARE, 3.0))
    after = outcomes(result)
    assert {pair: contrast.outcome for pair, contrast in after.items()} == {
        pair: contrast.outcome for pair, contrast in before.items()
    }
    assert {pair: contrast.p for pair, contrast in after.items()} == {
        pair: contrast.p for pair, contrast in before.items()
    }
    assert {pair for pair, contrast in after.items() if contrast.gate} == {pair for pair in after if "encoder" in pair}
    told = row(after["decoder", "encoder"])
    assert told["outcome"] == "ahead" and str(told["gate"]).startswith("encoder is below its gate: no better than a")
    sentence = phrase(after["decoder", "encoder"], "sentence")
    assert sentence.startswith("decoder is better than encoder by 0.5") and sentence.count("is below its gate") == 1
    assert "Encoder is below its gate: no better than a byte 5-gram (3.0" in sentence
    assert re.search(r" vs\. 3\.000 bits per byte; any-order bound 3\.\d+\)\.$", sentence), "the encoder has a bound"


@pytest.mark.parametrize("texts", [True, False])
def test_the_bar_of_a_classifier_is_the_best_label_on_the_test_split(tmp_path: Path, texts: bool) -> None:
    """Where texts are recorded; else it is the majority class of the training labels, here 0.59."""
    result = judged(tmp_path, replace(SENTIMENT, references=SENTIMENT.references | {"majority": 0.59}))
    answers = result.tables["predictions"]
    most = answers.groupby("run")["reference"].agg(lambda labels: labels.value_counts(normalize=True).max()).iloc[0]
    if not texts:
        result = Report({**result.tables, "predictions": answers.assign(reference=None)})
    gate = result.comparisons.gate(result.first[0].group, "decoder")
    assert gate.constant == pytest.approx(most if texts else 0.59) and gate.passed == texts
    if not texts:
        contrast = outcomes(result)["decoder", "encoder"]
        assert "decoder is below its gate: no better than one label for everything (0.5" in contrast.gate


def test_one_label_for_everything_is_below_the_gate_whatever_its_accuracy(tmp_path: Path) -> None:
    """Without texts, the accuracy of a rarer class than the test split's may exceed the majority row."""
    labels, share = 3, 0.45
    result = judged(tmp_path, SENTIMENT)
    frames = dict(result.tables)
    scores, majority = frames["scores"].copy(), frames["references"].iloc[:1].copy()
    runs = frames["runs"].loc[frames["runs"]["architecture"] == "decoder", "run"]
    for metric, value in (("accuracy", share), ("macro_f1", 2 * share / (1 + share) / labels)):
        scores.loc[scores["run"].isin(runs) & (scores["metric"] == metric), "value"] = value
    row_of = majority.assign(name="majority", split="test", metric="macro_f1", value=2 * 0.39 / 1.39 / labels)
    frames |= {
        "scores": scores,
        "references": pd.concat([frames["references"], row_of]),
        "predictions": frames["predictions"].assign(reference=None),
    }
    changed = Report(frames)
    gates = {name: changed.comparisons.gate(changed.first[0].group, name) for name in SENTIMENT.truth}
    assert gates["decoder"].accuracy > gates["decoder"].constant and not gates["decoder"].passed
    assert gates["decoder"].reason == "giving one label to everything (0.450 vs. 0.390 accuracy)"
    assert gates["encoder"].passed and gates["encoder-decoder"].passed


def test_the_bar_is_the_same_for_every_tokenizer(tmp_path: Path) -> None:
    """The bits per byte of a bigram over tokens depend on the tokens; the n-gram model reads bytes."""
    assert f"byte {ngram.ORDER}-gram" == BAR
    texts = [
        replace(with_ngram(SHAKESPEARE, 3.0), dataset=name, references=SHAKESPEARE.references | {"ngram": 3.0} | bigram)
        for name, bigram in (("by-byte", {"bigram": 3.7}), ("by-pairs", {"bigram": 2.4}))
    ]
    synthetic.write_store(tmp_path, texts)
    result = Report(tables.collect(tmp_path))
    gates = [[result.comparisons.gate(entry.group, name) for name in SHAKESPEARE.truth] for entry in result.first]
    assert [[gate.ngram for gate in row] for row in gates] == [[3.0] * 3] * 2
    assert [[gate.passed for gate in row] for row in gates] == [[True, False, True]] * 2


def test_a_model_that_does_not_read_its_source_is_below_its_gate(tmp_path: Path) -> None:
    saved = {"decoder": 0.0, "prefix-decoder": 0.4, "encoder": 0.1, "encoder-decoder": 0.9}
    contrasts = outcomes(judged(tmp_path, PHRASES, saved))
    assert {pair for pair, contrast in contrasts.items() if contrast.gate} == {
        pair for pair in contrasts if "decoder" in pair
    }
    assert "no better with the right sources than with shuffled ones" in contrasts["decoder", "encoder"].gate


@pytest.mark.parametrize("saved", [-0.2, 0.0, 0.0004])
def test_a_saving_within_its_error_is_none(tmp_path: Path, saved: float) -> None:
    every = {name: saved for name in PHRASES.truth}
    assert all(contrast.gate for contrast in outcomes(judged(tmp_path, PHRASES, every)).values())


def test_matrix_card_sentence_and_bold_mark_agree_on_who_wins(tmp_path: Path) -> None:
    """The encoder is below its gate and loses; the decoder wins against it too."""
    result = judged(tmp_path, with_ngram(SHAKESPEARE, 3.0))
    [comparison] = result.first
    kinds = [row[1].kind for row in matrix(result).rows if row[0].text in SHAKESPEARE.truth]
    assert kinds == ["text wins", "text loses", "text loses"]
    words = [row[1].text for row in matrix(result).rows]
    assert ["\N{DOUBLE DAGGER}" in word for word in words[:3]] == [False, True, False]
    assert [cell.architecture for cell in comparison.cells if cell.best] == ["decoder"]
    state = verdict(comparison, result.tested.primary).ranking
    assert (state.case, state.beaten, state.below) == ("wins", ("encoder", "encoder-decoder"), ("encoder",))
    assert "decoder wins on shakespeare (encoder below its gate)" in bottom_line(result)[0]


def figure(root: Path, name: str, *tasks: Imagined) -> Figure:
    synthetic.write_store(root, tasks)
    return plot.figure(View(Report(tables.collect(root))), name)


def test_a_mean_over_data_sets_has_all_and_names_who_is_below_its_gate(tmp_path: Path) -> None:
    all_pass, one_below = (
        figure(tmp_path / str(bits), "summary", with_ngram(SHAKESPEARE, bits), SENTIMENT) for bits in (5.0, 3.0)
    )
    for drawn in (all_pass, one_below):
        assert all(f"{name} " in drawn.takeaway.split(". ", 1)[0] for name in SENTIMENT.truth)
    assert "gate" not in all_pass.takeaway
    below = one_below.takeaway.split(". ", 1)[1]
    assert below.startswith("Below its gate: encoder on shakespeare, which is no better than a byte 5-gram (3.")


def test_the_frontier_of_cost_is_that_of_all_models(tmp_path: Path) -> None:
    passed, below = (figure(tmp_path / str(bits), "cost", with_ngram(SHAKESPEARE, bits)) for bits in (5.0, 2.4))
    assert list(passed.numbers["mean_on_frontier"]) == list(below.numbers["mean_on_frontier"])
    assert below.takeaway.startswith(passed.takeaway) and below.takeaway != passed.takeaway
    assert "Below its gate: decoder, encoder and encoder-decoder on shakespeare, which are no better" in below.takeaway


def test_the_name_of_a_model_that_is_below_its_gate_is_grey(tmp_path: Path) -> None:
    synthetic.write_store(tmp_path, [with_ngram(SHAKESPEARE, 3.0), SENTIMENT])
    [axes] = plot.drawn(View(Report(tables.collect(tmp_path))), "summary").axes
    colours = {label.get_text().partition("\n")[0]: label.get_color() for label in axes.get_yticklabels()}
    assert colours["encoder"] != colours["decoder"] == colours["encoder-decoder"]


def test_differences_are_from_the_best_mean_and_drawn_for_all(tmp_path: Path) -> None:
    """The prefix-decoder has the best score, but does not read its source: it is the best mean with a label."""
    saved = {"decoder": 0.4, "prefix-decoder": 0.0, "encoder": 0.1, "encoder-decoder": 0.9}
    best = replace(PHRASES, truth=PHRASES.truth | {"prefix-decoder": 0.9})
    drawn = plot.figure(View(judged(tmp_path, best, saved)), "headline")
    assert drawn.panels[1].below == "against prefix-decoder, the best mean"
    rows = drawn.numbers[drawn.numbers["kind"] == "architecture"].set_index("name")
    assert rows["from_best"].drop("prefix-decoder").lt(0).all() and math.isnan(rows["from_best"]["prefix-decoder"])
    assert list(rows.index[rows["gate"] != ""]) == ["prefix-decoder"]


@pytest.mark.parametrize("bits", [5.0, 2.4])
def test_a_winner_wins_whoever_is_below_its_gate(tmp_path: Path, bits: float) -> None:
    result = judged(tmp_path, with_ngram(SHAKESPEARE, bits))
    state = verdict(result.first[0], result.tested.primary)
    assert (state.ranking.case, state.ranking.leaders) == ("wins", ("decoder",))
    assert ("Below its gate: decoder, encoder and encoder-decoder." in state.sentence) == (bits == 2.4)


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


def test_an_ablation_below_its_gate_is_labelled_too(tmp_path: Path) -> None:
    names = ["decoder", "decoder-no-norm"]
    truth = dict(zip(names, (2.2, 3.5), strict=True))
    synthetic.write_store(tmp_path, [with_ngram(replace(SHAKESPEARE, truth=truth), 3.0)])
    synthetic.specify(tmp_path, "contrasts", [names])
    [contrast] = outcomes(Report(tables.collect(tmp_path))).values()
    assert contrast.outcome == "ahead" and contrast.gate.startswith("decoder-no-norm is below its gate")


@pytest.mark.usefixtures("any_rate_counts")
def test_a_claim_about_a_model_below_its_gate_is_not_decided(tmp_path: Path) -> None:
    def rulings(judgement: Report) -> dict[str, ClaimVerdict]:
        return {ruling.claim.name: ruling for ruling in claim_verdicts(judgement)}

    before = rulings(judged(tmp_path / "without", SHAKESPEARE))
    after = rulings(judged(tmp_path / "with", with_ngram(SHAKESPEARE, 3.0)))
    changed = {name for name in before if before[name].verdict != after[name].verdict}
    lost = changed - {"decoder-over-two-stacks"}  # the first claim that its contrast now decides
    assert lost == {"decoder-generates-best", "encoder-generates-poorly"}
    for name in lost:
        assert before[name].verdict in (REPRODUCED, OPPOSITE) and after[name].verdict == UNDECIDED
        assert "undecided, because encoder is below its gate on shakespeare" in after[name].evidence
        assert after[name].command.startswith("a larger budget; encoder is no better than a byte 5-gram")


def test_changes_of_one_architecture_have_a_gate_too(tmp_path: Path) -> None:
    task = replace(with_ngram(SHAKESPEARE, 2.0), seeds=4)
    synthetic.write_store(tmp_path, [task], further=synthetic.controls(task, 0.4))
    controls = Report(tables.collect(tmp_path)).tested["control"]
    assert controls and all(control.outcome != "unknown" and control.gate for control in controls)


def test_the_page_shows_the_gates_beside_the_outcomes(tmp_path: Path) -> None:
    page = render(judged(tmp_path, with_ngram(SHAKESPEARE, 3.0)), [])
    assert "below its gate: encoder on shakespeare, which is no better than a byte 5-gram" in page
    assert "encoder is below its gate: no better than a byte 5-gram" in page and "decoder better" in page
    without = render(judged(tmp_path / "without", SHAKESPEARE), [])
    assert "is below its gate:" not in without


@pytest.mark.parametrize(("saved", "blind"), [(-0.1, True), (0.0, True), (0.1, False)])
def test_with_one_seed_the_mean_decides(saved: float, blind: bool) -> None:
    assert Gate("decoder", source=Interval(saved)).source_blind == blind
    assert Gate("decoder", source=Interval(saved)).passed != blind
