"""What tuning tried, chose and cost is told from the records of its trials."""

import math
from pathlib import Path

import pandas as pd
import pytest
import synthetic
from synthetic import SENTIMENT, Further, single

from archbench.reports.base import tables
from archbench.reports.base.tables import Tables
from archbench.reports.figures import figures
from archbench.reports.figures.figure import drawn as drawn_figure
from archbench.reports.page import summary
from archbench.reports.page.elements.grids import grid
from archbench.reports.page.sections import tuning
from archbench.reports.report import Report
from archbench.reports.results import trials

LOSSES = {"decoder": {0.002: 0.9, 0.004: 0.8, 0.008: 0.85}, "encoder": {0.002: 0.7, 0.004: 0.75, 0.008: 0.8}}


def tables_of_trials(root: Path, **changes: float | str) -> Tables:
    task, no_dropout = single(SENTIMENT, truth=dict.fromkeys(LOSSES, 0.6), seeds=1), {"dropout": 0.0}
    further = [
        Further(
            task, name, name, 0.6, role="trial", changes={"learning_rate": rate, "validation_loss": loss} | no_dropout
        )
        for name, losses in LOSSES.items()
        for rate, loss in losses.items()
    ]
    runs = synthetic.write_store(root, [task], further=further)
    if changes:
        synthetic.change_record(root, runs[-1], **changes)
    return tables.collect(root)


def test_the_least_loss_is_chosen_and_an_edge_is_told(tmp_path: Path) -> None:
    chosen = {trial.architecture: trial for trial in trials.trials(tables_of_trials(tmp_path)) if trial.chosen}
    assert (chosen["decoder"].learning_rate, chosen["decoder"].edge) == (0.004, False)
    assert (chosen["encoder"].learning_rate, chosen["encoder"].edge) == (0.002, True)


def test_the_trials_of_a_condition_stand_apart(tmp_path: Path) -> None:
    task, no_dropout = single(SENTIMENT, truth={"decoder": 0.6}, seeds=1), {"dropout": 0.0}
    further = [
        Further(
            *(task, "decoder", "decoder", 0.6, "trial"),
            condition=condition,
            changes={"learning_rate": rate, "validation_loss": loss} | no_dropout,
        )
        for condition, losses in (("", LOSSES["decoder"]), ("AdamW, tuned", LOSSES["encoder"]))
        for rate, loss in losses.items()
    ]
    synthetic.write_store(tmp_path, [task], further=further)
    judged = Report(tables.collect(tmp_path))
    chosen = {trial.condition: trial for trial in trials.trials(judged.tables) if trial.chosen}
    assert {condition: (trial.learning_rate, trial.edge) for condition, trial in chosen.items()} == {
        "": (0.004, False),
        "AdamW, tuned": (0.002, True),
    }
    figures_by_name = {figure.name: figure for figure in figures.figures(judged)}
    assert [panel.below for panel in figures_by_name["tuning"].panels] == ["", "AdamW, tuned"]


def test_the_trials_of_another_axis_stand_apart_under_its_name(tmp_path: Path) -> None:
    rows = tables_of_trials(tmp_path)
    entries = rows["entries"]
    moved = (entries["role"] == "trial") & (entries["architecture"] == "encoder")
    entries.loc[moved, ["architecture", "match", "condition"]] = ["decoder", "flops-by-tokens", "tuned"]
    chosen = {trial.condition: trial.learning_rate for trial in trials.trials(rows) if trial.chosen}
    assert chosen == {"": 0.004, "equal size and equal training FLOPs; tuned": 0.002}


def test_a_trial_that_diverged_is_never_chosen(tmp_path: Path) -> None:
    last = trials.trials(tables_of_trials(tmp_path, status="diverged", validation_loss=0.0))[-1]
    assert math.isnan(last.loss)
    assert not last.chosen


def test_the_cost_of_tuning_is_counted(tmp_path: Path) -> None:
    rows = tables_of_trials(tmp_path)
    [cost] = trials.costs(rows)
    trial_runs = rows["entries"].loc[rows["entries"]["role"] == "trial", "run"]
    flops = rows["runs"].set_index("run")["train_flops"]
    assert cost.trials == 6
    assert cost.flops == pytest.approx(float(flops[trial_runs].sum()))
    assert cost.reported_flops == pytest.approx(float(flops.sum() - flops[trial_runs].sum()))
    assert summary.sentences(Report(rows))[-1].startswith("tuning: 6 trials took ")


def test_a_trial_that_serves_two_conditions_is_paid_once(tmp_path: Path) -> None:
    rows = tables_of_trials(tmp_path)
    [once] = trials.costs(rows)
    trial_entries = rows["entries"][rows["entries"]["role"] == "trial"]
    rows["entries"] = pd.concat([rows["entries"], trial_entries.assign(condition="tuned")], ignore_index=True)
    assert trials.costs(rows) == [once]


def test_trials_are_drawn_and_are_no_part_of_the_scores(tmp_path: Path) -> None:
    judged = Report(tables_of_trials(tmp_path))
    assert all(cell.planned == 1 for cell in judged.first[0].cells)
    figures_by_name = {figure.name: figure for figure in figures.figures(judged)}
    assert len(figures_by_name["tuning"].numbers) == 6
    assert drawn_figure(figures_by_name["tuning"]).save(tmp_path / "report")


def grown(root: Path, **changes: float | str) -> Tables:
    """Five rates of two seeds for the encoder, on a parabola whose minimum lies between the second and the third."""
    task, no_dropout = single(SENTIMENT, truth={"encoder": 0.6}, seeds=2), {"dropout": 0.0}
    curve = {0.001 * 2**step: 1 + 0.05 * (step - 1.5) ** 2 for step in range(5)}
    further = [
        Further(task, "encoder", "encoder", 0.6, role="trial", changes={"learning_rate": rate, "validation_loss": loss})
        for rate, loss in curve.items()
    ]
    runs = synthetic.write_store(root, [task], further=further)
    for number, run in enumerate(runs):
        synthetic.change_record(root, run, **no_dropout)
        if number < 2:
            synthetic.change_record(root, run, learning_rate=0.00283, validation_loss=1 + 0.02 * number, **changes)
    return tables.collect(root)


def test_a_rate_between_two_points_is_shown_with_its_regret(tmp_path: Path) -> None:
    rows = grown(tmp_path)
    [setting] = trials.settings(rows)
    assert (setting.learning_rate, setting.fitted, setting.trials, setting.edge) == (0.00283, True, 10, False)
    assert setting.loss == pytest.approx(1.0)
    assert math.isnan(setting.now)
    assert setting.regret is not None and 0 < setting.regret.expected <= setting.regret.upper
    assert not any(trial.chosen for trial in trials.trials(rows))
    numbers = trials.numbers(trials.trials(rows), trials.settings(rows))
    assert set(numbers["chosen_rate"]) == {0.00283}
    assert set(numbers["expected_regret"]) == {setting.regret.expected}
    [row] = grid([setting], tuning.TUNING.columns).rows
    assert row[3].text == "0.00283" and row[3].below == "from the parabola"
    assert "The largest expected regret is " in tuning.regrets([setting])
    assert "parabola" in " ".join(tuning.selection([setting]))
    figures_by_name = {figure.name: figure for figure in figures.figures(Report(rows))}
    assert drawn_figure(figures_by_name["tuning"]).save(tmp_path / "report")


def test_a_rate_that_these_trials_do_not_choose_is_marked(tmp_path: Path) -> None:
    rows = grown(tmp_path)
    rows["runs"]["learning_rate"] = rows["runs"]["learning_rate"].replace(0.00283, 0.002)
    [setting] = trials.settings(rows)
    assert (setting.learning_rate, setting.now, setting.kept) == (0.002, 0.00283, False)
    [row] = grid([setting], tuning.TUNING.columns).rows
    assert (row[-1].text, row[-1].below) == ("chosen by another rule", "these trials give 0.00283")
    assert "chose another rate in 1 of 1 settings" in " ".join(tuning.selection([setting]))


def test_the_rate_of_reported_runs_is_shown_where_trials_read_fewer_tokens(tmp_path: Path) -> None:
    rows = grown(tmp_path)
    reported = rows["runs"]["learning_rate"] == 0.00283
    rows["runs"]["proxy_share"] = reported.map({True: 0.25, False: math.nan})
    [setting] = trials.settings(rows)
    shown = grid([setting], tuning.TUNING.columns)
    cells = dict(zip([cell.text for cell in shown.head], shown.rows[0], strict=True))
    assert (cells["learning rate"].text, cells["in the reported runs"].text) == ("0.00283", "0.00142")
    figures_by_name = {figure.name: figure for figure in figures.figures(Report(rows))}
    assert "train at 0.5 times that rate" in figures_by_name["tuning"].caption


def test_trials_whose_losses_are_nearly_equal_choose_nothing_that_a_reader_may_trust(tmp_path: Path) -> None:
    rows = grown(tmp_path)
    runs = rows["runs"]
    [before] = trials.settings(rows)
    assert not before.flat and tuning.undetermined([before]) == ""
    runs["validation_loss"] = 0.69 + 0.0001 * runs["validation_loss"].astype(float)
    [setting] = trials.settings(rows)
    assert setting.flat and tuning.regrets([setting]) == ""
    assert grid([setting], tuning.TUNING.columns).rows[0][-1].text == "trials do not distinguish the rates"
    assert "do not determine the rate" in tuning.undetermined([setting])


def repeated_trials(root: Path, bar: float) -> Tables:
    """Trials of an encoder on a quarter and on half of the tokens, beside the loss ``bar`` of a classical method."""
    task, no_dropout = single(SENTIMENT, truth={"encoder": 0.6}, seeds=1), {"dropout": 0.0}
    further = [
        Further(
            *(task, "encoder", "encoder", 0.6, "trial", share),
            changes={"learning_rate": rate, "validation_loss": loss} | no_dropout,
        )
        for share, losses in ((0.25, (5.0, 4.9, 5.1)), (0.5, (4.87, 4.5, 4.6)))
        for rate, loss in zip((0.002, 0.004, 0.008), losses, strict=True)
    ]
    synthetic.write_store(root, [task], further=further)
    rows = tables.collect(root)
    row = {"dataset": task.dataset, "split": "validation", "name": "ngram", "metric": "nll_per_token", "value": bar}
    rows["references"] = pd.concat([rows["references"], pd.DataFrame([row])], ignore_index=True)
    return rows


@pytest.mark.parametrize("bar", [3.37, 4.8])
def test_only_the_last_trials_count_and_an_architecture_that_never_learned_is_not_tuned(
    tmp_path: Path, bar: float
) -> None:
    rows = repeated_trials(tmp_path, bar)
    [setting] = trials.settings(rows)
    assert (setting.trials, setting.lowest, setting.learned) == (3, 4.5, bar > 4.5)
    assert [trial.loss for trial in trials.trials(rows)] == [4.87, 4.5, 4.6]
    assert trials.costs(rows)[0].trials == 6
    assert f"repeated: {setting.dataset} on 0.5 of the tokens" in tuning.repetitions(rows)
    remarks = grid([setting], tuning.TUNING.columns).rows[0][-1]
    words = "No tuning: no trial learned for encoder, sentiment (best 4.50 nats per token, 5-gram 3.37)."
    if bar < 4.5:
        assert words.replace("sentiment", setting.dataset) in tuning.without_tuning(rows)
        assert (remarks.text, remarks.below) == ("no tuning", "no trial learned")
    else:
        assert tuning.without_tuning(rows) == "" and remarks.text != "no tuning"


def test_trials_of_published_comparisons_are_as_they_were(tmp_path: Path) -> None:
    rows = tables_of_trials(tmp_path)
    assert tuning.repetitions(rows) == tuning.without_tuning(rows) == ""
    assert all(setting.learned for setting in trials.settings(rows))


def test_exact_likelihoods_stand_in_for_an_estimate_where_all_trials_have_them(tmp_path: Path) -> None:
    rows = tables_of_trials(tmp_path)
    trial_runs = rows["entries"].query("role == 'trial' and architecture == 'encoder'")["run"]
    curves, scores = rows["curves"], rows["scores"]
    point = {"split": "validation", "metric": "nll_per_token_sampled", "value": 0.7, "step": 0}
    rows["curves"] = pd.concat([curves, pd.DataFrame([{"run": run, **point} for run in trial_runs])], ignore_index=True)
    exact = [
        {"run": run, "split": "validation", "metric": "nll_per_token", "value": value, "n": 32}
        for run, value in zip(trial_runs, (0.9, 0.8, 0.85), strict=True)
    ]
    rows["scores"] = pd.concat([scores, pd.DataFrame(exact)], ignore_index=True)
    chosen = {setting.architecture: setting for setting in trials.settings(rows)}
    assert (chosen["encoder"].learning_rate, chosen["encoder"].loss, chosen["encoder"].examples) == (0.004, 0.8, 32)
    assert chosen["decoder"].examples == 0
    assert "this loss is that of 32 validation examples" in " ".join(tuning.selection(list(chosen.values())))
    rows["scores"] = pd.concat([scores, pd.DataFrame(exact[:2])], ignore_index=True)
    chosen = {setting.architecture: setting for setting in trials.settings(rows)}
    assert (chosen["encoder"].learning_rate, chosen["encoder"].loss, chosen["encoder"].examples) == (0.002, 0.7, 0)
