"""Differences to a default are drawn as they were tested, with a sentence for each; so is what a change does."""

import csv
import dataclasses
import json
import math
import re
from html import escape
from pathlib import Path

import pandas as pd
import pytest
import synthetic
from synthetic import PHRASES, SENTIMENT, SHAKESPEARE, Further, Imagined, single

from archbench import reports
from archbench.reports.base import tables
from archbench.reports.base.statistics import Interval, difference_interval, p_beyond, p_difference, pool
from archbench.reports.contrasts.contrast import Contrast
from archbench.reports.contrasts.phrase import phrase
from archbench.reports.contrasts.verdicts import changed as changes
from archbench.reports.contrasts.verdicts import verdict
from archbench.reports.figures import figures
from archbench.reports.figures.figure import Figure
from archbench.reports.figures.figure import drawn as drawn_figure
from archbench.reports.figures.kinds import forest
from archbench.reports.figures.kinds.forest import forests
from archbench.reports.page import printed, summary
from archbench.reports.page.elements import matrix
from archbench.reports.page.elements.bottom_line import bottom_line
from archbench.reports.report import Report
from archbench.tasks.metrics.builtin import BUILTIN

PARTS = {"decoder": 0.60, "decoder-alibi": 0.60, "decoder-no-norm": 0.30, "decoder-one-head": 0.45}
PAIRS = [[name, "decoder"] for name in list(PARTS)[1:]]
ABLATED = single(PHRASES, truth=PARTS, spread=0.005)


def read(root: Path) -> Report:
    return Report(tables.collect(root))


def figures_by_name(judged: Report) -> dict[str, Figure]:
    return {figure.name: figure for figure in figures.figures(judged)}


def contrast(mean: float, error: float, diverged: str = "") -> Contrast:
    gap = Interval(mean, mean - 2 * error, mean + 2 * error, error, 30)
    facts = ("set", "classification", "", BUILTIN["accuracy"], "decoder-alibi", "decoder", gap, p_difference(gap))
    return Contrast(*facts, p_beyond(gap, 0.02), 0.02, 3 * error, 4, 3, 1, diverged)


@pytest.fixture(scope="module")
def ablation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ablation of three parts on one data set; all runs of the decoder without norms diverged."""
    root = tmp_path_factory.mktemp("ablation")
    runs = synthetic.write_store(root, [ABLATED])
    synthetic.specify(root, "contrasts", PAIRS)
    for run in runs:
        if "no-norm" in run:
            synthetic.fail(root, run, "diverged", "the loss is nan")
    reports.build(root)
    return root


@pytest.mark.parametrize(
    ("mean", "error", "expected"),
    [
        (0.05, 0.01, "better"),
        (-0.05, 0.01, "worse"),
        (-0.008, 0.002, "worse (small)"),
        (0.001, 0.003, "equal"),
        (0.01, 0.02, "not decided"),
        (math.nan, math.nan, "not tested"),
    ],
)
def test_every_outcome_has_its_word(mean: float, error: float, expected: str) -> None:
    assert phrase(contrast(mean, error), "mark") == expected
    assert phrase(contrast(math.nan, math.nan, "3 of 3 runs of decoder-alibi"), "mark") == "diverged"


def test_numbers_of_the_figure_are_what_was_tested(ablation: Path, tmp_path: Path) -> None:
    judged = read(ablation)
    figure = figures_by_name(judged)["differences"]
    [panel] = figure.panels
    assert (panel.title, panel.below) == ("phrases-en-de", "against decoder")
    [path] = [path for path in drawn_figure(figure).save(tmp_path) if path.suffix == ".csv"]
    with path.open(newline="") as file:
        rows = {row["name"]: row for row in csv.DictReader(file)}
    assert list(rows) == [name for name, _ in PAIRS]
    for pair in judged.tested.primary:
        row = rows[pair.first]
        assert (row["against"], row["metric"], row["outcome"]) == ("decoder", "exact_match", phrase(pair, "mark"))
        values = [float(row[key]) if row[key] else math.nan for key in ("difference", "lower", "upper", "p", "margin")]
        gap = pair.difference
        assert values == pytest.approx([gap.mean, gap.lower, gap.upper, pair.p, 0.02], nan_ok=True)
    [comparison] = judged.first
    means = {cell.architecture: cell.interval.mean for cell in comparison.scored}
    assert float(rows["decoder-one-head"]["difference"]) == pytest.approx(means["decoder-one-head"] - means["decoder"])
    assert rows["decoder-one-head"]["outcome"] == "worse"
    assert (rows["decoder-no-norm"]["outcome"], rows["decoder-no-norm"]["difference"]) == ("diverged", "")
    assert rows["decoder-no-norm"]["diverged"] == "all 5 runs of decoder-no-norm"


@pytest.mark.parametrize(("mean", "error"), [(0.05, 0.01), (0.001, 0.003), (0.01, 0.02), (0.0, 0.0)])
def test_whatever_is_decided_the_sentence_tells_what_diverged(mean: float, error: float) -> None:
    sentence = phrase(contrast(mean, error), "sentence")
    with_diverged = phrase(contrast(mean, error, "1 of 3 runs of decoder-alibi"), "sentence")
    assert with_diverged == f"{sentence} 1 of 3 runs of decoder-alibi diverged."


def test_a_sentence_stands_for_every_row(ablation: Path) -> None:
    html = (ablation / "report" / "index.html").read_text(encoding="utf-8")
    assert 'id="figure-differences"' in html
    rows = re.findall(r'<tr><th scope="row".*?</tr>', html[html.index('id="tests"') :], re.DOTALL)
    texts = [" ".join(re.sub("<[^>]*>", " ", row).split()) for row in rows]
    assert any("decoder-no-norm vs. decoder" in text and "diverged" in text for text in texts)
    assert any("decoder-one-head vs. decoder" in text and "decoder better" in text for text in texts)
    assert "decoder-alibi" in html


def test_the_terminal_tells_what_diverged(ablation: Path) -> None:
    assert "all 5 runs of decoder-no-norm diverged." in summary.sentences(read(ablation))[0]


def test_tables_alone_give_the_same_bytes(ablation: Path, tmp_path: Path) -> None:
    (tmp_path / "tables").mkdir()
    for path in (ablation / "tables").glob("*.parquet"):
        (tmp_path / "tables" / path.name).write_bytes(path.read_bytes())
    reports.build(tmp_path)
    names = sorted(path.name for path in (ablation / "report").iterdir())
    assert {"contrasts.csv", "differences.svg", "differences.png", "differences.csv"} <= set(names)
    for name in names:
        assert (tmp_path / "report" / name).read_bytes() == (ablation / "report" / name).read_bytes(), name


def test_without_declared_contrasts_there_is_no_forest(tmp_path: Path) -> None:
    synthetic.write_store(tmp_path, [SENTIMENT])
    assert not {"differences", "effects"} & set(figures_by_name(read(tmp_path)))


def test_each_default_has_a_panel_of_its_own() -> None:
    base = contrast(0.05, 0.01)
    other = [dataclasses.replace(base, first=f"encoder-{name}", second="encoder") for name in ("alibi", "sinusoidal")]
    panels = forests([base, *other, dataclasses.replace(base, dataset="other")])
    assert [(panel.title, panel.against, len(panel.rows)) for panel in panels] == [
        ("set", "decoder", 1),
        ("set", "encoder", 2),
        ("other", "decoder", 1),
    ]


@pytest.mark.parametrize(
    ("first", "second", "short"),
    [
        ("decoder-alibi", "decoder", "alibi"),
        ("encoder-decoder", "encoder", "encoder-decoder"),
        ("prefix-decoder", "decoder", "prefix-decoder"),
        ("decoder with dropout 0.1", "decoder", "dropout 0.1"),
        ("decoder on phrases-char", "decoder on phrases-bpe", "phrases-char"),
    ],
)
def test_rows_are_named_by_what_changes(first: str, second: str, short: str) -> None:
    assert forest._short(dataclasses.replace(contrast(0.1, 0.01), first=first, second=second)) == short


def test_a_cheat_is_said_to_be_one(ablation: Path, tmp_path: Path) -> None:
    runs = synthetic.write_store(tmp_path, [single(SHAKESPEARE, truth={"decoder": 2.5, "decoder-no-mask": 0.1})])
    for run in runs:
        if "no-mask" in run:
            synthetic.change_record(tmp_path, run, breaks="no_look_ahead")
    judged = read(tmp_path)
    [outcome] = [verdict(comparison, judged.tested.primary) for comparison in judged.first]
    cheat_note = "decoder-no-mask fails checks of archbench on purpose (no_look_ahead)"
    assert any(note.startswith(cheat_note) for note in outcome.notes)
    assert not any("fails checks" in note for note in verdict(read(ablation).first[0]).notes)
    captions = [
        {figure.name: figure.caption for figure in figures.figures(judgement)}["curves_tokens"]
        for judgement in (judged, read(ablation))
    ]
    assert ["decoder-no-mask: the loss is not comparable" in caption for caption in captions] == [
        True,
        False,
    ]


@pytest.mark.parametrize(
    ("loss", "score", "noted"),
    [(0.001, 0.0, True), (0.9, 0.0, False), (0.001, 0.9, False)],
    ids=["cheats", "not", "better"],
)
def test_what_looking_ahead_did_is_told_where_loss_and_answers_disagree(
    tmp_path: Path, loss: float, score: float, noted: bool
) -> None:
    truth = {"encoder": 0.6, "decoder": 0.6, "decoder-no-mask": score}  # one of another family stands first
    for run in synthetic.write_store(tmp_path, [single(PHRASES, truth=truth, spread=0.001)]):
        cheat = "no-mask" in run
        facts = {"breaks": "no_look_ahead, likelihood_sums_to_one", "family": "decoder"} if cheat else {"breaks": ""}
        synthetic.change_record(tmp_path, run, validation_loss=loss if cheat else 0.5, **facts)
    judged = read(tmp_path)
    [note] = [note for note in verdict(judged.first[0]).notes if "fails checks" in note]
    means = {cell.architecture: cell.interval.mean for cell in judged.first[0].cells}
    expected = (
        " Its validation loss is lower than that of decoder (0.0010 and 0.5000 nats per token), but its answers are "
        f"worse: exact match {means['decoder-no-mask']:.3f} and {means['decoder']:.3f}."
    )
    assert note.endswith(expected) == noted
    assert ("validation loss" in note) == noted


# What a change does.


def changed(task: Imagined, condition: str, by: float) -> list[Further]:
    truth = task.truth.items()
    return [Further(task, name, name, value + by, role="compared", condition=condition) for name, value in truth]


def test_a_condition_is_held_against_the_first(tmp_path: Path) -> None:
    task = single(SENTIMENT, truth={"decoder": 0.55, "encoder": 0.60}, spread=0.005)
    synthetic.write_store(tmp_path, [task], further=changed(task, "dropout 0.1", 0.1))
    synthetic.specify(tmp_path, "contrasts", [])
    judged = read(tmp_path)
    assert not judged.tested.primary
    effects = judged.tested["effect"]
    assert [(effect.first, effect.second) for effect in effects] == [
        ("decoder with dropout 0.1", "decoder"),
        ("encoder with dropout 0.1", "encoder"),
    ]
    assert all(effect.outcome == "ahead" and effect.corrected_for == 2 for effect in effects)
    means = [
        {cell.architecture: cell.interval.mean for cell in comparison.scored}
        for comparison in (*judged.first, *judged.further)
    ]
    for effect in effects:
        assert effect.difference.mean == pytest.approx(means[1][effect.second] - means[0][effect.second])
    assert summary.sentences(judged)[-1] == phrase(effects[-1], "sentence")
    short = bottom_line(judged)[0]
    assert "decoder with dropout 0.1 is better than decoder" in short
    html = reports.build(tmp_path)[0].read_text(encoding="utf-8")
    assert 'id="figure-effects"' in html and all(escape(f"{effect.first} better") in html for effect in effects)
    with (tmp_path / "report" / "effects.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["difference"]) for row in rows] == pytest.approx([effect.difference.mean for effect in effects])
    tested = pd.read_csv(tmp_path / "report" / "contrasts.csv")
    assert list(tested.loc[tested["role"] == "effect", "first"]) == [effect.first for effect in effects]


def test_a_condition_without_scores_is_not_drawn_and_keeps_the_metric(tmp_path: Path) -> None:
    runs = synthetic.write_store(tmp_path, [SENTIMENT], further=changed(SENTIMENT, "dropout 0.1", 0.1))
    for run in runs[-SENTIMENT.seeds * len(SENTIMENT.truth) :]:
        synthetic.fail(tmp_path, run)
        (tmp_path / "runs" / run / "scores.json").unlink(missing_ok=True)
    judged = read(tmp_path)
    assert {(effect.outcome, effect.metric.name) for effect in judged.tested["effect"]} == {("unknown", "accuracy")}
    assert "effects" not in [figure.name for figure in figures.figures(judged)]


def test_a_verdict_that_a_condition_turns_round_is_told(tmp_path: Path) -> None:
    task = single(SENTIMENT, truth={"decoder": 0.6, "encoder": 0.5}, spread=0.003, examples=4000)
    other = single(task, truth={"decoder": 0.5, "encoder": 0.6})
    synthetic.write_store(tmp_path, [task], further=changed(other, "AdamW", 0.0))
    judged = read(tmp_path)
    first, other = ([cell.below for cell in row[2:]] for row in printed.TABLES["conditions"].grid(judged).rows)
    assert (first, other) == (["decoder better"], ["encoder better (changed)"])
    outcome = "encoder better than decoder by 0.092 on sentiment."
    sentence = f"Under the condition “AdamW” the outcome changes (not corrected): {outcome}"
    assert sentence in bottom_line(judged)
    short_sentence = sentence.replace(" on sentiment.", ".")
    assert any(short_sentence in line for line in summary.sentences(judged))
    [first_condition] = judged.first
    outcome = verdict(
        first_condition, judged.tested.primary_on(first_condition), changes(first_condition, judged.tested)
    )
    assert outcome.ranking.state == "decided" and short_sentence in outcome.notes
    [decoder] = [row[1] for row in matrix.matrix(judged).rows if row[0].text == "decoder"]
    assert "different under the condition “AdamW”" in decoder.below


def test_a_condition_on_another_axis_is_no_change_of_the_recipe(tmp_path: Path) -> None:
    synthetic.write_store(tmp_path, [SENTIMENT], matches=("parameters", "flops"))
    assert not read(tmp_path).tested["effect"]


def test_a_task_is_held_against_its_baseline(tmp_path: Path) -> None:
    base = single(SHAKESPEARE, dataset="by-char", truth={"decoder": 2.5, "encoder": 3.1}, spread=0.005)
    other = single(SHAKESPEARE, dataset="by-bpe", truth={"decoder": 2.3, "encoder-decoder": 2.7}, spread=0.005)
    synthetic.write_store(tmp_path, [base, other])
    synthetic.specify(tmp_path, "contrasts", [])
    tasks = [{"name": "by-char", "baseline": ""}, {"name": "by-bpe", "baseline": "by-char"}]
    synthetic.specify(tmp_path, "tasks", tasks)
    [effect] = read(tmp_path).tested["effect"]
    assert (effect.first, effect.second, effect.dataset) == ("decoder on by-bpe", "decoder on by-char", "by-char")
    assert effect.metric.name == "bits_per_byte" and effect.outcome == "ahead"
    assert effect.difference.mean == pytest.approx(0.2, abs=0.1)
    assert "decoder on by-bpe is better than decoder on by-char." in bottom_line(read(tmp_path))[0]


def test_a_change_that_changed_no_score_is_none(tmp_path: Path) -> None:
    task = single(SENTIMENT, truth={"decoder": 0.55, "encoder": 0.60})
    runs = synthetic.write_store(tmp_path, [task], further=changed(task, "target supervision", 0.1))
    head = json.loads((tmp_path / "experiment.json").read_text())
    for entry in head["entries"]:  # the encoder stands in the condition with the runs that it has
        if entry["condition"] and entry["architecture"] == "encoder":
            seed = json.loads((tmp_path / "runs" / entry["run"] / "record.json").read_text())["seed"] % 1000
            entry["run"] = next(run for run in runs if f"encoder-s{seed}" in run)
    synthetic.write_json(tmp_path / "experiment.json", head)
    judged = read(tmp_path)
    assert [cell.architecture for cell in judged.further[0].cells] == ["decoder", "encoder"]
    assert [effect.first for effect in judged.tested["effect"]] == ["decoder with target supervision"]


@pytest.mark.parametrize(
    ("fixed", "supervision", "expected"),
    [
        ([], "native", []),  # its trials chose another rate, and that is all
        ([], "target", ["decoder with target supervision", "encoder with target supervision"]),
        (["dropout"], "native", ["decoder with target supervision", "encoder with target supervision"]),
    ],
)
def test_another_choice_of_trials_is_no_change(
    tmp_path: Path, fixed: list[str], supervision: str, expected: list[str]
) -> None:
    setting = {"supervision": supervision, "optimizer": "muon", "planned_tokens": 1, "parameters": 1}
    setting |= {"embedding_parameters": 1, "depth": 1, "width": 8, "heads": 1, "hidden": 8, "batch_tokens": 64}
    task = single(SENTIMENT, truth={"decoder": 0.55, "encoder": 0.60})
    runs = synthetic.write_store(tmp_path, [task], further=changed(task, "target supervision", 0.1))
    first = len(runs) // 2
    for place, run in enumerate(runs):
        fields = setting if place >= first else setting | {"supervision": "native"}
        synthetic.change_record(tmp_path, run, **fields)
    condition = {"name": "sentiment", "condition": "target supervision", "retuned": True, "fixed": fixed}
    synthetic.specify(tmp_path, "conditions", [condition])
    assert [effect.first for effect in read(tmp_path).tested["effect"]] == expected


def test_what_is_not_decided_is_smaller_than_what_would_have_been_found(tmp_path: Path) -> None:
    task = single(SENTIMENT, truth={"decoder": 0.55, "encoder": 0.60, "encoder-decoder": 0.57}, spread=0.02)
    further = [entry for by in (0.01, 0.03, 0.05, 0.2) for entry in changed(task, f"change {by}", by)]
    synthetic.write_store(tmp_path, [task], further=further)
    tested = read(tmp_path).tested
    contrasts = [*tested["effect"], *tested.primary]
    assert {pair.corrected_for for pair in contrasts} == {12, 3}
    assert {effect.outcome for effect in tested["effect"]} >= {"open", "ahead"}
    assert all(abs(pair.difference.mean) < pair.detectable for pair in contrasts if pair.outcome == "open")


def test_two_settings_share_the_variance_of_all_that_was_trained_in_them(tmp_path: Path) -> None:
    task = single(SENTIMENT, truth={"decoder": 0.55, "encoder": 0.6}, spread=0.02)
    further = [*changed(task, "dropout 0.1", 0.02), *changed(task, "dropout 0.3", -0.02)]
    synthetic.write_store(tmp_path, [task], further=further)
    judged = read(tmp_path)
    groups = [comparison.group for comparison in (*judged.first, *judged.further)]
    samples = [judged.comparisons.samples(group, "accuracy") for group in groups]
    pooled = pool([sample for group in samples[:2] for sample in group.values()])
    expected = difference_interval(samples[1]["decoder"], samples[0]["decoder"], pooled)
    difference = judged.tested["effect"][0].difference
    assert (difference.mean, difference.standard_error) == pytest.approx((expected.mean, expected.standard_error))


def test_a_broken_specification_has_no_baselines(tmp_path: Path) -> None:
    synthetic.write_store(tmp_path, [SENTIMENT])
    for tasks in (None, [3], {"name": "x"}, [{"baseline": "sentiment"}]):
        path = tmp_path / "experiment.json"
        head = json.loads(path.read_text())
        synthetic.write_json(path, head | {"experiment": head["experiment"] | {"tasks": tasks}})
        assert not read(tmp_path).tested["effect"]
