"""What tuning tried, chose and cost is told from the records of its trials."""

import math
from pathlib import Path

import pandas as pd
import pytest
import synthetic
from synthetic import SENTIMENT, Further, single

from archbench.reports.analysis import trials
from archbench.reports.analysis.judgement import judge
from archbench.reports.base import tables
from archbench.reports.base.tables import Tables
from archbench.reports.figures import figures
from archbench.reports.page import summary

LOSSES = {"decoder": {0.002: 0.9, 0.004: 0.8, 0.008: 0.85}, "encoder": {0.002: 0.7, 0.004: 0.75, 0.008: 0.8}}


def found(root: Path, **changes: float | str) -> Tables:
    task, calm = single(SENTIMENT, truth=dict.fromkeys(LOSSES, 0.6), seeds=1), {"dropout": 0.0}
    further = [
        Further(task, name, name, 0.6, role="trial", changes={"learning_rate": rate, "validation_loss": loss} | calm)
        for name, losses in LOSSES.items()
        for rate, loss in losses.items()
    ]
    runs = synthetic.write_store(root, [task], further=further)
    if changes:
        synthetic.change_record(root, runs[-1], **changes)
    return tables.collect(root)


def test_the_least_loss_is_chosen_and_an_edge_is_told(tmp_path: Path) -> None:
    chosen = {trial.architecture: trial for trial in trials.trials(found(tmp_path)) if trial.chosen}
    assert (chosen["decoder"].learning_rate, chosen["decoder"].edge) == (0.004, False)
    assert (chosen["encoder"].learning_rate, chosen["encoder"].edge) == (0.002, True)


def test_the_trials_of_a_condition_stand_apart(tmp_path: Path) -> None:
    task, calm = single(SENTIMENT, truth={"decoder": 0.6}, seeds=1), {"dropout": 0.0}
    further = [
        Further(
            *(task, "decoder", "decoder", 0.6, "trial"),
            condition=condition,
            changes={"learning_rate": rate, "validation_loss": loss} | calm,
        )
        for condition, losses in (("", LOSSES["decoder"]), ("AdamW, tuned", LOSSES["encoder"]))
        for rate, loss in losses.items()
    ]
    synthetic.write_store(tmp_path, [task], further=further)
    judged = judge(tables.collect(tmp_path))
    chosen = {one.condition: one for one in trials.trials(judged.comparisons.tables) if one.chosen}
    assert {said: (one.learning_rate, one.edge) for said, one in chosen.items()} == {
        "": (0.004, False),
        "AdamW, tuned": (0.002, True),
    }
    drawn = {figure.name: figure for figure in figures.figures(judged)}
    assert [panel.below for panel in drawn["tuning"].panels] == ["", "AdamW, tuned"]


def test_the_trials_of_another_axis_stand_apart_under_its_name(tmp_path: Path) -> None:
    rows = found(tmp_path)
    entries = rows["entries"]
    moved = (entries["role"] == "trial") & (entries["architecture"] == "encoder")
    entries.loc[moved, ["architecture", "match", "condition"]] = ["decoder", "flops-by-tokens", "tuned"]
    chosen = {one.condition: one.learning_rate for one in trials.trials(rows) if one.chosen}
    assert chosen == {"": 0.004, "equal size and equal training FLOPs; tuned": 0.002}


def test_a_trial_that_diverged_is_never_chosen(tmp_path: Path) -> None:
    last = trials.trials(found(tmp_path, status="diverged", validation_loss=0.0))[-1]
    assert math.isnan(last.loss)
    assert not last.chosen


def test_the_cost_of_tuning_is_counted(tmp_path: Path) -> None:
    rows = found(tmp_path)
    [cost] = trials.costs(rows)
    tried = rows["entries"].loc[rows["entries"]["role"] == "trial", "run"]
    flops = rows["runs"].set_index("run")["train_flops"]
    assert cost.trials == 6
    assert cost.flops == pytest.approx(float(flops[tried].sum()))
    assert cost.reported_flops == pytest.approx(float(flops.sum() - flops[tried].sum()))
    assert summary.sentences(judge(rows))[-1].startswith("tuning: 6 trials, ")


def test_a_trial_that_serves_two_conditions_is_paid_once(tmp_path: Path) -> None:
    rows = found(tmp_path)
    [once] = trials.costs(rows)
    tried = rows["entries"][rows["entries"]["role"] == "trial"]
    rows["entries"] = pd.concat([rows["entries"], tried.assign(condition="tuned")], ignore_index=True)
    assert trials.costs(rows) == [once]


def test_trials_are_drawn_and_are_no_part_of_the_scores(tmp_path: Path) -> None:
    judged = judge(found(tmp_path))
    assert all(cell.planned == 1 for cell in judged.first[0].cells)
    drawn = {figure.name: figure for figure in figures.figures(judged)}
    assert len(drawn["tuning"].numbers) == 6
    assert figures.write(drawn["tuning"], tmp_path / "report")
