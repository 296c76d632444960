"""What pretraining buys: the report shows the differences that were planted, with the right signs."""

import itertools
import json
import math
import re
from dataclasses import replace
from pathlib import Path

import figure_stores
import numpy as np
import pandas as pd
import pytest
import reference_pages
import synthetic
from matplotlib.figure import Figure as Canvas
from synthetic import SENTIMENT, SHAKESPEARE, Row

from archbench.reports.base import tables
from archbench.reports.base.formatting import listing
from archbench.reports.claims import claims
from archbench.reports.claims.ledger import OPPOSITE_DIRECTION, SAME_DIRECTION, UNDECIDED, UNMET, Claim
from archbench.reports.contrasts import verdicts
from archbench.reports.contrasts.phrase import first_sides
from archbench.reports.figures import figures
from archbench.reports.figures.figure import drawn
from archbench.reports.page import page, printed, summary
from archbench.reports.page.elements import bottom_line as bottom_line_module
from archbench.reports.page.elements import lede
from archbench.reports.page.elements.bottom_line import bottom_line
from archbench.reports.page.elements.matrix import matrix
from archbench.reports.page.sections import pretraining as started
from archbench.reports.page.sections import pretraining_runs
from archbench.reports.questions.gains import started_from
from archbench.reports.readings.adapted import adapted
from archbench.reports.readings.saved_labels import saved_labels
from archbench.reports.report import Report
from archbench.reports.results.place import Place
from archbench.runs.experiment.spec import FINETUNE, SCRATCH


def test_gains_are_differences_from_scratch_on_as_many_examples() -> None:
    entries = adapted(figure_stores.judged("pretraining"))
    assert len(entries) == (3 * 3 + 3) * len(figure_stores.FAMILIES)
    by_place = {(e.architecture, e.start, e.adapt, e.examples): e for e in entries}
    for (name, start, _, examples), entry in by_place.items():
        assert (entry.gain is None) == (start == SCRATCH or entry.is_prompted)
        assert entry.read == entry.examples or not entry.is_prompted
        if entry.gain is not None:
            base = by_place[name, SCRATCH, FINETUNE, examples]
            assert entry.gain.mean == pytest.approx(entry.score.mean - base.score.mean)
            assert entry.gain.lower < entry.gain.mean < entry.gain.upper
            planted = 0.2 * (20 / examples) ** 0.3 - 0.05 * (entry.adapt == "frozen")
            assert entry.gain.mean == pytest.approx(planted, abs=0.08)


def test_figure_and_table_say_the_same() -> None:
    judged = figure_stores.judged("pretraining")
    entries = adapted(judged)
    figure = next(entry for entry in figures.figures(judged) if entry.name == "pretraining")
    assert [panel.below for panel in figure.panels] == ["finetuned", "frozen under a head", "prompted"]
    saved = {
        saving.pretrained.architecture: saving.text
        for saving in saved_labels(judged)
        if (saving.pretrained.start, saving.pretrained.adapt, saving.pretrained.examples) == ("own", FINETUNE, 20)
    }
    words = [f"{name} {text}" for name, text in saved.items()]
    assert len(words) == len(figure_stores.FAMILIES)
    sentence = f"On sentiment, 20 examples after own give the score of this many from scratch: {listing(words)}."
    assert figure.takeaway == sentence
    assert len(figure.numbers) == len(entries)
    grid = printed.table(judged, "pretraining")
    assert [row[2].text for row in grid.rows][:5] == [
        *("after own, prompted", "after own, prompted"),
        *("from scratch, finetuned", "after own, finetuned", "after own, frozen under a head"),
    ]
    assert len(grid.rows) == 12
    trained = [row for row in grid.rows if "prompted" not in row[2].text]
    assert all(bool(cell.below) == ("after" in row[2].text) for row in trained for cell in row[3:])


def test_the_figure_of_gains_has_a_row_for_each_start_and_number_of_examples() -> None:
    judged = figure_stores.judged("pretraining")
    finetuned = [entry for entry in adapted(judged) if entry.gain and entry.adapt == FINETUNE]
    figure = next(entry for entry in figures.figures(judged) if entry.name == "pretraining_gains")
    axes = Canvas().add_subplot()
    [panel] = figure.panels
    panel.draw(axes)
    assert [tick.get_text() for tick in axes.get_yticklabels()] == [
        *("own, 20", "own, 100", "own, 500", "./gpt2, 20"),  # the budget ends after 500 of the 1,000
    ]
    marks = [line.get_xdata()[0] for line in axes.get_lines() if len(line.get_xdata()) == 1]
    assert sorted(marks) == pytest.approx(sorted(entry.gain.mean for entry in finetuned if entry.gain))
    assert len(figure.numbers) == len(finetuned)
    assert "decoder after own on sentiment with 20 examples +0." in figure.takeaway


def test_gains_lead_a_page_on_which_every_data_set_has_a_pretraining() -> None:
    judged = figure_stores.judged("pretraining")
    names = ("pretraining_gains", "headline")
    html = page.render(judged, [drawn(figure) for figure in figures.figures(judged) if figure.name in names])
    first_screen, _, rest = html.partition('<nav aria-label="sections"')
    assert '<figure id="figure-pretraining_gains"' in first_screen and '<figure id="figure-headline"' in rest
    assert '<figure id="figure-headline"' not in first_screen and '<figure id="figure-pretraining_gains"' not in rest


def test_an_adaptation_that_all_have_stands_in_the_heading() -> None:
    ways = ["from scratch, finetuned", "after own, finetuned"]
    alike = dict(zip(ways, ("from scratch", "after own"), strict=True)), "start (finetuned)"
    assert started.short_ways(ways) == alike
    ways.append("after own, frozen under a head")
    assert started.short_ways(ways) == ({way: way for way in ways}, "start and adaptation")


def test_a_change_of_the_pretraining_is_an_effect_and_one_from_scratch_a_gain(tmp_path: Path) -> None:
    assert figure_stores.judged("pretraining").tested["effect"] == ()
    task = replace(SENTIMENT, truth={"encoder-decoder": 0.6})
    setups = {"half": ("half", FINETUNE, 20), "all": ("full", FINETUNE, 100), "head": ("full", "head", 20)}
    further = [
        figure_stores.Further(
            task, *["encoder-decoder"] * 2, 0.7, "compared", condition=name, changes=figure_stores.started(*setup)
        )
        for name, setup in setups.items()
    ]
    for run in synthetic.write_store(tmp_path, [task], further=further)[: task.seeds]:
        synthetic.change_record(tmp_path, run, **figure_stores.started("full", FINETUNE, 20))
    effects = Report(tables.collect(tmp_path)).tested["effect"]
    assert [(effect.first, effect.second) for effect in effects] == [("encoder-decoder with half", "encoder-decoder")]


def test_the_fewest_examples_are_those_of_each_data_set(tmp_path: Path) -> None:
    examples = {"sentiment": 20, "shakespeare": 100}
    for run in synthetic.write_store(tmp_path, [SENTIMENT, SHAKESPEARE]):
        count = examples[run.split("-")[0]]
        synthetic.change_record(tmp_path, run, **figure_stores.started(SCRATCH, FINETUNE, count))
    judged = Report(tables.collect(tmp_path))
    for comparison in judged.first:
        runs = judged.comparisons.side(comparison, f"decoder{{{SCRATCH}, {FINETUNE}, fewest}}")
        assert [*runs["examples"]] == [examples[comparison.group.dataset]] * 3


def test_curves_of_pretraining_leave_out_continued_ones_parts_and_bounds() -> None:
    judged = figure_stores.judged("pretrainings")
    figure = next(entry for entry in figures.figures(judged) if entry.name == "pretraining_curves")
    assert [panel.title for panel in figure.panels] == ["books"]
    assert figure.architectures == ("decoder", "encoder-decoder")  # the encoder has a bound here, no likelihood
    ends = figure.numbers.groupby("architecture")["value"].last()
    assert ends["decoder"] == pytest.approx(SHAKESPEARE.truth["decoder"], abs=0.05)  # not the part's 3.5
    assert figure.takeaway.startswith(f"Loss at the end, in nats per token: {ends['decoder']:.3f}")
    assert "(decoder) to " in figure.takeaway and figure.takeaway.endswith("(encoder-decoder) in books.")


def test_of_many_pretrainings_the_lowest_and_the_highest_loss_are_named() -> None:
    all_figures = figures.figures(reference_pages.judged("objectives"))
    figure = next(entry for entry in all_figures if entry.name == "pretraining_curves")
    ends = figure.numbers.groupby(["dataset", "architecture"])["value"].last()
    (low, first), (high, last) = ends.idxmin()[::-1], ends.idxmax()[::-1]
    ends_text = f"from {ends.min():.3f} ({low}) in {first} to about {ends.max():.3f} ({high}) in {last}."
    assert figure.takeaway == f"Loss at the end, in nats per token: {ends_text}"


def test_what_several_pretrainings_continue_is_one_row() -> None:
    reported = dict(figure_stores.judged("pretrainings").comparisons.tables)
    entries = reported["entries"]
    part = entries[(entries["condition"] == "0.5 of the tokens of switched").fillna(False)]
    reported["entries"] = pd.concat([entries, part.assign(condition="0.5 of the tokens of adapted")])
    names = [row[0].text for row in pretraining_runs.PRETRAININGS.grid(Report(reported)).rows]
    assert names == ["books"] * 3 + ["books, 0.5 of the tokens of switched and adapted", "switched"]


def test_the_line_above_many_gains_names_the_largest() -> None:
    judged = figure_stores.judged("starts")
    entries = adapted(judged)
    figure = next(entry for entry in figures.figures(judged) if entry.name == "pretraining_gains")
    clear = [e for e in entries if e.gain and e.gain.excludes_zero and e.adapt == FINETUNE and "+" not in e.start]
    top = max(clear, key=lambda e: e.gain.mean if e.gain else 0.0)
    assert len(clear) > 4 and top.gain
    assert f", such as {top.architecture} after {top.start} on sentiment" in figure.takeaway
    assert f": better in {len(clear)}" in figure.takeaway


def test_a_gain_is_answered_once_for_tables_figures_and_the_corrected_family() -> None:
    judged = figure_stores.judged("pretraining")
    shown = {
        (entry.architecture, entry.start): entry.against_scratch
        for entry in adapted(judged)
        if entry.adapt == FINETUNE and entry.examples == 20 and entry.against_scratch
    }
    tested = {(gain.first, gain.condition.removeprefix("after ")): gain for gain in judged.tested["gain"]}
    assert shown.keys() == tested.keys() and len(tested) > 3
    for key, gain in tested.items():
        assert gain.difference == shown[key].difference and gain.p >= shown[key].p


def test_a_report_without_pretraining_shows_none() -> None:
    judged = figure_stores.judged("families")
    assert adapted(judged) == ()
    with pytest.raises(ValueError, match="this table needs runs that start from a pretraining"):
        printed.table(judged, "pretraining")


def test_saved_labels_are_those_that_the_curve_from_scratch_needs() -> None:
    """Where scratch has scores s(n), a pretrained model with the score s(m) needs m examples from scratch.

    Only examples that were read count: 500 of the 1,000.
    """
    judged = figure_stores.judged("pretraining")
    entries = {
        (entry.architecture, entry.start, entry.adapt, entry.examples): entry.score.mean for entry in adapted(judged)
    }
    savings = saved_labels(judged)
    assert len(savings) == (2 * 3 + 3) * len(figure_stores.FAMILIES)
    for saving in savings:
        scratch = [entries[saving.pretrained.architecture, SCRATCH, FINETUNE, count] for count in (20, 100, 1000)]
        expected = np.exp(np.interp(saving.pretrained.score.mean, scratch, np.log([20, 100, 500])))
        assert saving.needed == pytest.approx(max(expected, 20))
        assert saving.lower <= saving.needed <= saving.upper
    more = [saving for saving in savings if saving.needed == pytest.approx(500)]
    assert more and all(saving.text.startswith("≥\N{NO-BREAK SPACE}500") for saving in more)


def test_pretraining_costs_less_for_each_task_the_more_tasks_share_it() -> None:
    grid = printed.table(figure_stores.judged("pretraining"), "pretraining_cost")
    assert [row[0].text for row in grid.rows if row[0].text == "own"] == ["own"] * len(figure_stores.FAMILIES)
    for row in grid.rows:
        single, ten, hundred = (float(cell.text) for cell in row[-3:])
        assert single >= ten >= hundred >= 1


@pytest.mark.usefixtures("any_rate_counts")
@pytest.mark.parametrize(
    ("pair", "verdict"),
    [
        (("decoder{own, finetune, 1000}", "decoder{scratch, finetune, 1000}"), SAME_DIRECTION),
        (("decoder{scratch, finetune, 1000}", "decoder{own, finetune, 1000}"), OPPOSITE_DIRECTION),
        (("decoder{own, finetune, fewest}", "decoder{scratch, finetune, 20}"), UNDECIDED),  # below its gate
        (("decoder{own, finetune, 7}", "decoder{scratch, finetune, 20}"), UNMET),
    ],
)
def test_a_claim_in_miniature_says_the_direction_and_the_scale(
    pair: tuple[str, str], verdict: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim = Claim("helps", "It helps", "nobody", "better", ("classification",), (pair,), miniature=True)
    monkeypatch.setattr(claims, "ledger", lambda: (claim,))
    (ruling,) = claims.claim_verdicts(Report(figure_stores.judged("pretraining").tables))
    assert ruling.verdict == verdict
    if verdict != UNMET:
        assert ruling.evidence.replace("\N{NO-BREAK SPACE}", " ").endswith(
            "Seen at 0.25 M parameters after pretraining on 8 M tokens."
        )
        assert (
            "decoder (after own, finetuned on" in ruling.evidence
            and "decoder (from scratch, finetuned" in ruling.evidence
        )
        assert ruling.p < 0.05 or verdict == UNDECIDED


@pytest.mark.usefixtures("any_rate_counts")
@pytest.mark.parametrize(("text", "verdict"), [("phrases-text-en-de", SAME_DIRECTION), ("mine.txt", UNMET)])
def test_a_claim_is_tested_after_pretrainings_on_the_text_of_its_preset(
    text: str, verdict: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = ("decoder{phrases, finetune, 1000}", "decoder{scratch, finetune, 1000}")
    claim = Claim("h", "Helps", "x", "y", ("classification",), (pair,), miniature=True, preset="pretrained")
    frames = figure_stores.judged("pretraining").comparisons.tables
    declared = {"pretraining": [{"task": {"name": "phrases", "data": text}}]}
    experiment = pd.DataFrame({"key": ["specification"], "value": [json.dumps(declared)]})
    runs = frames["runs"].assign(start=frames["runs"]["start"].replace("own", "phrases"))
    monkeypatch.setattr(claims, "ledger", lambda: (claim,))
    (ruling,) = claims.claim_verdicts(Report({**frames, "runs": runs, "experiment": experiment}))
    assert ruling.verdict == verdict


@pytest.mark.usefixtures("any_rate_counts")
@pytest.mark.parametrize(
    ("pair", "verdict"),
    [
        (("decoder{own, finetune, 1000}", "decoder{scratch, finetune, 1000}"), SAME_DIRECTION),
        (("decoder{own, prompt, 0}", "encoder{own, prompt, 0}"), UNMET),
    ],
)
def test_to_be_equally_bad_is_no_direction(
    pair: tuple[str, str], verdict: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where it is enough not to be worse, one of the two has to be better than the majority class."""
    claim = Claim("equal", "No worse", "nobody", "equal", ("classification",), (pair,), miniature=True, enough=True)
    monkeypatch.setattr(claims, "ledger", lambda: (claim,))
    (ruling,) = claims.claim_verdicts(Report(figure_stores.judged("pretraining").tables))
    assert ruling.verdict == verdict


@pytest.mark.parametrize(("unfinished", "tokens"), [(slice(0, 1), "0.1 M tokens"), (slice(None), "unknown tokens")])
def test_a_claim_in_miniature_has_the_tokens_of_finished_runs(
    unfinished: slice, tokens: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim = Claim("ahead", "Better", "nobody", "better", ("classification",), (("decoder", "encoder"),), miniature=True)
    synthetic.write_store(tmp_path, [synthetic.SENTIMENT])
    collected = tables.collect(tmp_path)
    runs = collected["runs"].copy()
    runs["train_tokens"] = 100_000
    runs["train_tokens"] = runs["train_tokens"].astype("Int64")
    runs.loc[runs.index[unfinished], "train_tokens"] = pd.NA
    monkeypatch.setattr(claims, "ledger", lambda: (claim,))
    (verdict,) = claims.claim_verdicts(Report({**collected, "runs": runs}))
    assert verdict.evidence.replace("\N{NO-BREAK SPACE}", " ").endswith(f"{tokens}.")


def _with_gains(root: Path, planted: dict[str, float], start: str = "own", under: Row | None = None) -> Report:
    """A report in which pretraining adds ``planted`` to the accuracy of each architecture.

    ``under`` changes a further condition, from scratch, whose scores are 0.3 lower.
    """
    task = figure_stores.SENTIMENT
    setups = [(f"after {start}", planted, figure_stores.started(start, "finetune", 20))]
    if under is not None:
        lower = dict.fromkeys(figure_stores.FAMILIES, -0.3)
        setups.append(("another", lower, {**figure_stores.started("scratch", "finetune", 20), **under}))
    further = [
        figure_stores.Further(
            *(task, name, name, task.truth[name] + added[name], "compared"), condition=condition, changes=changes
        )
        for condition, added, changes in setups
        for name in figure_stores.FAMILIES
    ]
    runs = synthetic.write_store(root, [task], further=further)
    for run in runs[: task.seeds * len(task.truth)]:
        synthetic.change_record(root, run, **figure_stores.started("scratch", "finetune", 20))
    for place, run in enumerate(runs):
        synthetic.change_record(root, run, seed=place % task.seeds)  # equal before and after pretraining
    return Report(tables.collect(root))


def test_who_gains_more_is_the_one_to_which_more_was_added(tmp_path: Path) -> None:
    names = figure_stores.FAMILIES
    judged = _with_gains(tmp_path, dict(zip(names, (0.0, 0.15, -0.15), strict=True)))
    tested = {gain.first: gain for gain in judged.tested["gain"]}
    assert [tested[name].outcome for name in names] == ["open", "ahead", "behind"]
    pairs = {(gain.first, gain.second): gain for gain in judged.tested["gain difference"]}
    assert set(pairs) == set(itertools.combinations(names, 2)) and {gain.corrected_for for gain in pairs.values()} == {
        3
    }
    for (first, second), gain in pairs.items():
        assert gain.difference.mean == pytest.approx(tested[first].difference.mean - tested[second].difference.mean)
    assert pairs[names[1], names[2]].decided and pairs[names[1], names[2]].difference.mean > 0.2
    lines = bottom_line(judged)
    assert lines[0].startswith("From scratch, at equal size and equal training tokens")
    bought = next(line for line in lines if line.startswith("Pretraining, finetuned"))
    assert f"{names[1]} better and {names[2]} worse on sentiment (20 examples) after own" in bought
    assert bought.endswith("not decided: 1 of 3 effects.")
    more = next(line for line in lines if line.startswith("Gains by pretraining compared"))
    assert f"{names[1]} is better than {names[0]} and {names[2]} on sentiment" in more
    grid = printed.table(judged, "gain_differences")
    assert [row[3].text for row in grid.rows] == [f"{first} vs. {second}" for first, second in pairs]


def test_who_is_better_after_pretraining_is_the_one_to_which_more_was_added(tmp_path: Path) -> None:
    names = figure_stores.FAMILIES
    judged = _with_gains(tmp_path, dict(zip(names, (0.0, 0.15, -0.15), strict=True)))
    after = {(contrast.first, contrast.second): contrast for contrast in judged.tested["after pretraining"]}
    assert after.keys() == {(contrast.first, contrast.second) for contrast in judged.tested.primary}
    scores = {entry.architecture: entry.score.mean for entry in adapted(judged) if entry.start == "own"}
    for (first, second), contrast in after.items():
        assert contrast.difference.mean == pytest.approx(scores[first] - scores[second])
        assert contrast.corrected_for == len(after) and contrast.condition == "after own"
    best = names[1]
    assert [contrast.better for pair, contrast in after.items() if best in pair] == [best] * 2
    lines = [line for line in bottom_line(judged) if line.startswith("After the same pretraining, finetuned (p < 0.05")]
    assert len(lines) == 1 and f"{best} is better than" in lines[0] and "on sentiment after own" in lines[0]
    assert lines[0] in summary.sentences(judged)
    cells = {row[0].text: row[1].below for row in printed.table(judged, "verdicts").rows}
    assert all(cells[name].endswith(f"; {scores[name]:.3f} after own") for name in names)
    assert [row[1].text for row in printed.table(judged, "after_pretraining").rows] == ["after own"] * len(after)


def test_scores_after_many_pretrainings_do_not_crowd_the_first_table() -> None:
    judged = reference_pages.judged("objectives")
    starts = {entry.start for entry in adapted(judged)}
    assert len(starts) > 3 and not any("after" in cell.below for row in matrix(judged).rows for cell in row)


def test_pretrainings_with_the_same_outcome_are_named_together() -> None:
    tests = [gain for gain in figure_stores.judged("pretraining").tested["gain"] if gain.better]
    gains = [replace(tests[0], condition=f"after {start}") for start in ("own", "further")]
    words = bottom_line_module._found("Pretraining", first_sides, gains, "effects").partition(": ")[2]
    where = "sentiment (20 examples) after own and sentiment (20 examples) after further"
    assert words == f"{tests[0].first} better on {where}."


def test_another_condition_from_scratch_is_not_what_gains_are_measured_from(tmp_path: Path) -> None:
    planted = dict.fromkeys(figure_stores.FAMILIES, 0.15)
    measured = [
        [(gain.first, gain.difference) for gain in _with_gains(tmp_path / name, planted, under=under).tested["gain"]]
        for name, under in (("alone", None), ("beside", {"supervision": "target"}))
    ]
    assert measured[0] and measured[0] == measured[1]


def test_a_pretraining_may_have_a_name_that_begins_with_scratch(tmp_path: Path) -> None:
    judged = _with_gains(tmp_path, dict.fromkeys(figure_stores.FAMILIES, 0.15), start="scratch-two")
    assert {started_from(gain) for gain in judged.tested["gain"]} == {"scratch-two"} and judged.tested[
        "gain difference"
    ]
    assert lede.paragraph(judged.tables).count("from scratch and after pretraining") == 1


def test_the_page_says_which_weights_are_scored(tmp_path: Path) -> None:
    tables = _with_gains(tmp_path, dict.fromkeys(figure_stores.FAMILIES, 0.15)).tables
    kept = tables["runs"].assign(best_step=3, steps=4)
    best, last = "Scored: the checkpoint with the lowest validation loss", "the weights of the last step"
    assert best + ", after 75%" in lede.paragraph({**tables, "runs": kept})
    assert f"Scored: {last}, after" in lede.paragraph({**tables, "runs": kept.assign(keep="last")})
    kept.loc[kept["start"].eq("own"), ["keep", "pretrained_share"]] = ["last", 0.3]
    text = lede.paragraph({**tables, "runs": kept})
    assert f"{best} or {last}, after" in text and "begin with 0.3 of its weights" in text


@pytest.mark.parametrize(("name", "has_gains"), [("t5", False), ("late-switch", False), ("conversion", True)])
def test_the_heading_of_scores_by_start_mentions_gains_only_where_there_are_any(name: str, has_gains: bool) -> None:
    heading = summary.tables(reference_pages.judged(name))["pretraining"].above
    assert ("from scratch" in heading) == has_gains


@pytest.mark.parametrize(
    ("name", "begin"),
    [
        ("objectives", "Trained from scratch and after pretraining on 100 k to 1.00 M tokens: "),
        ("t5", "Trained after pretraining on 1.00 M tokens: "),
        ("conversion", "Trained from scratch and after pretraining on 1.00 M tokens: "),
        ("ablation-mask", "Trained from scratch: "),
    ],
)
def test_the_first_line_names_the_budget_of_the_pretrainings(name: str, begin: str) -> None:
    """Of a pretraining in two stages, the tokens of both."""
    line = lede.line(reference_pages.judged(name).comparisons.tables).replace("\N{NO-BREAK SPACE}", " ")
    assert line.startswith(begin) and ("training tokens per task, " in line) == ("after" in begin)


def test_classical_methods_are_compared_where_they_saw_as_many_examples(tmp_path: Path) -> None:
    task = replace(figure_stores.SENTIMENT, references={"majority": 0.5, "tfidf_logistic": 0.7})
    further = [
        figure_stores.Further(
            *(task, name, name, 0.8, "compared"),
            condition=f"{start}, {examples}",
            changes=figure_stores.started(start, "finetune", examples),
        )
        for start, examples in (("own", 20), ("scratch", 100))
        for name in figure_stores.FAMILIES
    ]
    runs = synthetic.write_store(tmp_path, [task], further=further)
    for run in runs[: task.seeds * len(task.truth)]:
        synthetic.change_record(tmp_path, run, **figure_stores.started("scratch", "finetune", 20))
    judged = Report(tables.collect(tmp_path))
    by_setup = {comparison.setup: comparison.baselines for comparison in (*judged.first, *judged.further)}
    assert {by_setup[Place(start=start, examples=20)]["tfidf_logistic"] for start in ("scratch", "own")} == {0.7}
    assert set(by_setup[Place(start="scratch", examples=100)]) == {"majority"}


def test_many_passes_over_few_examples_are_not_early_training(tmp_path: Path) -> None:
    runs = synthetic.write_store(tmp_path, [SENTIMENT])
    early = []
    for epochs in (2.0, 140.0):
        for run in runs:
            synthetic.change_record(tmp_path, run, train_tokens=1_000, parameters=100_000, epochs=epochs)
        early.append(Report(tables.collect(tmp_path)).first[0].early)
    assert early == [True, False]


def _with_checkpoints(root: Path, first: str, start: str) -> Report:
    """An architecture with a start, and the checkpoint "bert", finetuned on as many examples and on more."""
    task = replace(figure_stores.SENTIMENT, truth={first: 0.7})
    further = [
        figure_stores.Further(
            *(task, "bert", "bert", score, "compared"),
            condition=f"checkpoint ./bert, {examples}",
            changes=figure_stores.started("./bert", "finetune", examples),
        )
        for examples, score in ((20, 0.6), (100, 0.9))
    ]
    runs = synthetic.write_store(root, [task], further=further)
    for run in runs[: task.seeds]:
        few = {"train_tokens": 1_000, "parameters": 100_000, "epochs": 2.0}
        synthetic.change_record(root, run, **figure_stores.started(start, "finetune", 20), **few)
    return Report(tables.collect(root))


@pytest.mark.parametrize(
    ("first", "start", "case"), [("gpt2", "./gpt2", "checkpoint"), ("decoder", "scratch", "beside checkpoints")]
)
def test_finetuned_checkpoints_are_named_beside_the_only_architecture(
    tmp_path: Path, first: str, start: str, case: str
) -> None:
    """No sentence says that one alone has a score; the checkpoint's is that on as many examples."""
    judged = _with_checkpoints(tmp_path, first, start)
    outcome = verdicts.verdict(judged.first[0])
    assert (outcome.ranking.case, outcome.ranking.leaders, outcome.mark) == (case, (first,), "not tested")
    scores = map(float, re.findall(r"0\.\d+", outcome.sentence))
    assert list(scores) == pytest.approx([0.7, 0.6], abs=0.05) and "bert 0." in outcome.sentence
    assert outcome.sentence in summary.sentences(judged)[0]


def test_early_training_counts_a_pretraining_and_no_checkpoint(tmp_path: Path) -> None:
    (scratch,) = _with_checkpoints(tmp_path / "scratch", "decoder", "scratch").first
    assert scratch.early and scratch.tokens_per_parameter == 0.01
    (pretrained,) = _with_checkpoints(tmp_path / "pretrained", "decoder", "own").first
    assert not pretrained.early and pretrained.tokens_per_parameter == pytest.approx(80.01)
    assert verdicts.verdict(pretrained).notes[0].startswith("Training, with pretraining: 80.0")
    (checkpoint,) = _with_checkpoints(tmp_path / "checkpoint", "gpt2", "./gpt2").first
    assert not checkpoint.early and math.isnan(checkpoint.tokens_per_parameter)
    assert not any("tokens per parameter" in note for note in verdicts.verdict(checkpoint).notes)


def test_the_terminal_says_what_its_scores_are_of_and_lists_the_others() -> None:
    judged = figure_stores.judged("pretraining")
    printed_tables = summary.tables(judged)
    head, rows = printed_tables["scores"].rows[0], printed_tables["pretraining"].rows
    assert head[1].endswith("; from scratch, finetuned on 20 examples)")
    assert (
        len(rows) == 13
        and rows[0][:2] == ["data set", "examples"]
        and any("(+0." in cell for row in rows for cell in row)
    )


def test_a_start_of_another_size_is_named(tmp_path: Path) -> None:
    assert started.other_sizes(figure_stores.judged("pretraining")) == ""
    task = figure_stores.SENTIMENT
    setup = figure_stores.started("two-stacks", "finetune", 20)
    larger = figure_stores.Further(
        task, "encoder-decoder", "encoder-decoder", 0.7, "compared", condition="two-stacks", changes=setup
    )
    runs = synthetic.write_store(tmp_path, [task], further=[larger])
    for place, run in enumerate(runs):
        is_base = place < task.seeds * len(task.truth)
        synthetic.change_record(
            tmp_path, run, **(figure_stores.started("scratch", "finetune", 20) if is_base else {"parameters": 500_000})
        )
    sentence = started.other_sizes(Report(tables.collect(tmp_path))).replace("\N{NO-BREAK SPACE}", " ")
    assert sentence.startswith("Not of equal size: encoder-decoder after two-stacks has 500 k parameters, ")


def test_equal_gains_are_not_called_different(tmp_path: Path) -> None:
    judged = _with_gains(tmp_path, dict.fromkeys(figure_stores.FAMILIES, 0.15))
    assert all(gain.better for gain in judged.tested["gain"])
    assert not any(gain.better for gain in judged.tested["gain difference"])


def test_a_place_is_read_back_from_its_notation() -> None:
    prompted = Place.parse("decoder{own, prompt, 0}")
    assert (prompted.start, prompted.adapt, prompted.examples, prompted.share) == ("own", "prompt", 0, 1.0)
    assert prompted.words == "decoder (after own, prompted with 0 examples)"
    assert Place.parse("decoder@0.5") == Place("decoder", share=0.5)
    assert Place.parse("decoder|target supervision").words == "decoder with target supervision"
