"""Trials, conditions and controls: what is planned, where it stands, and that every architecture is treated alike."""

import json
import math
import re
from collections import Counter
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import small_plans

from archbench.architectures.catalogue import catalogue, scaffold
from archbench.runs.execution import dry_run, work
from archbench.runs.execution.compare import grown_grids
from archbench.runs.experiment import spec
from archbench.runs.experiment.sections import TUNING_SEED, Training, Tuning
from archbench.runs.planning import tuning as trials
from archbench.runs.planning.matrix import Matrix
from archbench.runs.planning.task_runs import CONTROL_SEEDS
from archbench.runs.planning.tuning import Point, TrialLoss, added_points, best, grid
from archbench.runs.plans.placement import Placement
from archbench.runs.plans.plan import ExecutionSetting, Plan
from archbench.runs.store import store
from archbench.tasks.base.errors import InputError

TASK = {"kind": "classification", "name": "things", "data": "things.tsv"}
NAMES = ("decoder", "encoder", "encoder-decoder")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("data")
    small_plans.write_things(place)
    return place


def values(**changes: object) -> dict[str, object]:
    task = {"kind": "classification", "name": "things", "data": "things.tsv", "tokenizer": "word", "vocabulary": 64}
    settings = {
        "name": "tiny",
        "architectures": list(NAMES),
        "seeds": [0, 1],
        "budget": {"parameters": 20_000, "tokens": 6_000},
        "model": {"width": 32},
        "training": {"batch_tokens": 400, "learning_rate": 0.01, "precision": "float32"},
        "tasks": [{**task, "source_length": 8}],
    }
    return {**settings, **changes}


def planned(folder: Path, root: Path, **changes: object) -> Matrix:
    return small_plans.plan(values(**changes), folder, root)


def entries(matrix: Matrix, role: str) -> list[Placement]:
    return [entry for entry in matrix.entries if entry.role == role]


def plans(matrix: Matrix, role: str) -> dict[str, Plan]:
    names = {entry.run for entry in entries(matrix, role)}
    return {plan.run: plan for plan in matrix.plans if plan.run in names}


def finish(matrix: Matrix, root: Path, loss: dict[str, dict[float, float]]) -> None:
    """Write the records of all trials, each with the loss of its architecture and rate."""
    for plan in plans(matrix, "trial").values():
        value = loss[plan.architecture][plan.training.learning_rate]
        store.write_record(store.run_folder(root, plan.run), {**plan.row(), "status": "done", "validation_loss": value})


def test_runs_are_expected_to_be_as_fast_as_the_machine() -> None:
    slow, fast = (ExecutionSetting("cpu", False, 1, Path(), rate).speed for rate in (1e9, 2e9))
    assert 0 < slow < 1e9 and fast == 2 * slow


def test_a_run_is_trained_that_reads_any_tokens(folder: Path, tmp_path: Path) -> None:
    plan: Plan = planned(folder, tmp_path).plans[0]
    assert [replace(plan, tokens=tokens).is_trained for tokens in (0.0, 0.5, 1.0)] == [False, True, True]


def test_every_architecture_has_the_same_trials(folder: Path, tmp_path: Path) -> None:
    matrix = planned(folder, tmp_path, tuning={"learning_rate": [0.01, 0.02], "dropout": [0.0, 0.2], "seeds": [7, 8]})
    assert Counter(entry.architecture for entry in matrix.entries) == dict.fromkeys(NAMES, 8)
    assert {entry.role for entry in matrix.entries} == {"trial"}
    assert matrix.waiting_tasks == ("things",)
    assert {plan.seed for plan in matrix.plans} == {7, 8}
    assert {plan.tokens for plan in matrix.plans} == {6_000}


def test_the_reported_runs_take_what_validation_chose(folder: Path, tmp_path: Path) -> None:
    tuning = {"learning_rate": [0.005, 0.01, 0.02], "dropout": [0.0]}
    finish(
        planned(folder, tmp_path, tuning=tuning),
        tmp_path,
        {name: {0.005: 0.9, 0.01: 0.5 if name != "encoder" else 0.95, 0.02: 0.9} for name in NAMES}
        | {"encoder": {0.005: 0.9, 0.01: 0.3, 0.02: 0.9}},
    )
    matrix = planned(folder, tmp_path, tuning=tuning)
    assert matrix.waiting_tasks == ()
    assert {plan.training.learning_rate for plan in plans(matrix, "compared").values()} == {0.01}
    assert {plan.seed for plan in plans(matrix, "compared").values()} == {0, 1}


def test_architectures_may_choose_differently_and_dropout_reaches_the_model(folder: Path, tmp_path: Path) -> None:
    tuning = {"learning_rate": [0.005, 0.01, 0.02], "dropout": [0.0, 0.3, 0.4]}
    first = planned(folder, tmp_path, tuning=tuning)
    for plan in plans(first, "trial").values():
        best_setting = (0.01, 0.3) if plan.architecture == "encoder" else (0.01, 0.0)
        loss = 0.1 if (plan.training.learning_rate, plan.training.dropout) == best_setting else 0.5
        store.write_record(
            store.run_folder(tmp_path, plan.run), {**plan.row(), "status": "done", "validation_loss": loss}
        )
    chosen = plans(planned(folder, tmp_path, tuning=tuning), "compared").values()
    assert {(plan.architecture, plan.training.dropout, plan.size.dropout) for plan in chosen} == {
        ("decoder", 0.0, 0.0),
        ("encoder", 0.3, 0.3),
        ("encoder-decoder", 0.0, 0.0),
    }


def test_at_the_edge_the_grid_grows_once_for_all(folder: Path, tmp_path: Path) -> None:
    tuning = {"learning_rate": [0.01, 0.02, 0.04], "dropout": [0.0]}
    losses = {0.005: 0.1, 0.01: 0.2, 0.02: 0.3, 0.04: 0.4}
    middle = {0.005: 0.5, 0.01: 0.2, 0.02: 0.1, 0.04: 0.2}
    first = planned(folder, tmp_path, tuning=tuning)
    finish(first, tmp_path, {n: losses if n == "decoder" else middle for n in NAMES})
    second = planned(folder, tmp_path, tuning=tuning)
    assert second.waiting_tasks == ("things",)
    (line,) = grown_grids(second, [entry.run for entry in entries(first, "trial")])
    assert line == "things: a best setting is at the edge of the grid; adding 3 more trials, learning rate 0.005"
    assert grown_grids(second, []) == grown_grids(second, [entry.run for entry in entries(second, "trial")]) == []
    assert Counter(entry.architecture for entry in entries(second, "trial")) == dict.fromkeys(NAMES, 4)
    finish(second, tmp_path, {n: losses if n == "decoder" else middle for n in NAMES})
    third = planned(folder, tmp_path, tuning=tuning)
    assert third.waiting_tasks == ()
    rates = {plan.architecture: plan.training.learning_rate for plan in plans(third, "compared").values()}
    assert rates == {"decoder": 0.005, "encoder": 0.02, "encoder-decoder": 0.02}


def shares_tried(folder: Path, root: Path, learns_from: dict[str, float], **tuning: object) -> list[float]:
    """The shares of the trials until runs are compared; a trial's loss is low from a share on, and else above ln 3."""
    keys = {"learning_rate": [0.005, 0.01, 0.02], "dropout": [0.0], "share": 0.25, **tuning}
    while True:
        matrix = planned(folder, root, tuning=keys)
        shares = {entry.run: entry.share for entry in entries(matrix, "trial")}
        counts = Counter((entry.architecture, entry.share) for entry in entries(matrix, "trial"))
        assert len(set(counts.values())) == 1 and {name for name, _ in counts} == set(NAMES)
        if entries(matrix, "compared"):
            assert matrix.waiting_tasks == ()
            return sorted(set(shares.values()))
        for plan in plans(matrix, "trial").values():
            loss = (0.5 if shares[plan.run] >= learns_from[plan.architecture] else 1.5) + (
                plan.training.learning_rate != 0.01
            )
            row = {**plan.row(), "status": "done", "validation_loss": loss}
            store.write_record(store.run_folder(root, plan.run), row)


@pytest.mark.parametrize(
    ("learns_from", "start", "shares"),
    [
        (0.25, 0.25, [0.25]),
        (0.5, 0.25, [0.25, 0.5]),
        (1.0, 0.25, [0.25, 0.5, 1.0]),
        (2.0, 0.25, [0.25, 0.5, 1.0]),
        (2.0, 0.7, [0.7, 1.0]),
        (2.0, 1.0, [1.0]),
    ],
)
def test_where_no_trial_of_an_architecture_learned_all_are_repeated_on_twice_the_tokens(
    folder: Path, tmp_path: Path, learns_from: float, start: float, shares: list[float]
) -> None:
    learning = {**dict.fromkeys(NAMES, 0.0), "encoder": learns_from}
    assert shares_tried(folder, tmp_path, learning, share=start) == pytest.approx(shares)
    tuning = {"learning_rate": [0.005, 0.01, 0.02], "dropout": [0.0], "share": start}
    matrix = planned(folder, tmp_path, tuning=tuning)
    expected = shares[-1] if shares[-1] < 1 else None
    compared_runs = plans(matrix, "compared").values()
    assert {(plan.training.learning_rate, plan.training.proxy_share) for plan in compared_runs} == {(0.01, expected)}
    assert {plan.tokens for plan in plans(matrix, "trial").values()} == {round(6_000 * share) for share in shares}


def test_trials_are_repeated_only_where_they_may_be(folder: Path, tmp_path: Path) -> None:
    shares = shares_tried(folder, tmp_path, dict.fromkeys(NAMES, 2.0), longer=False)
    assert shares == [1.0]  # places of such trials state no share, as published ones


def test_files_repeat_trials_by_default_and_older_records_do_not(folder: Path) -> None:
    grid = {"learning_rate": [0.01, 0.02]}
    part = spec.from_dict(values(tuning={**grid, "share": 0.5}), folder=folder)
    written = part.digestable()
    assert part.tasks[0].tuning is not None and part.tasks[0].tuning.longer
    assert spec.recorded(written, origin="here").tasks == part.tasks
    del written["tasks"][0]["tuning"]["longer"]
    older = spec.recorded(written, origin="here").tasks[0].tuning
    assert older is not None and not older.longer
    whole = spec.from_dict(values(tuning=grid), folder=folder)
    assert "longer" not in whole.digestable()["tasks"][0]["tuning"]


def test_no_run_is_compared_while_trials_may_be_repeated(folder: Path, tmp_path: Path) -> None:
    tuning = {"learning_rate": [0.005, 0.01, 0.02], "dropout": [0.0], "share": 0.25}
    first = planned(folder, tmp_path, tuning=tuning)
    for plan in plans(first, "trial").values():
        if plan.architecture != "encoder":
            loss = 0.5 + (plan.training.learning_rate != 0.01)
            row = {**plan.row(), "status": "done", "validation_loss": loss}
            store.write_record(store.run_folder(tmp_path, plan.run), row)
    assert entries(planned(folder, tmp_path, tuning=tuning), "compared") == []


def test_a_condition_repeats_its_trials_where_the_first_does(folder: Path, tmp_path: Path) -> None:
    tuning = {"learning_rate": [0.005, 0.01, 0.02], "dropout": [0.0], "share": 0.5}
    changes = {"tuning": tuning, "conditions": [{"supervision": "target", "tuning": tuning}]}
    first = planned(folder, tmp_path, **changes)
    for plan in plans(first, "trial").values():
        loss = (1.5 if plan.native and plan.architecture == "decoder" else 0.5) + 50 * abs(
            plan.training.learning_rate - 0.01
        )
        row = {**plan.row(), "status": "done", "validation_loss": loss}
        store.write_record(store.run_folder(tmp_path, plan.run), row)
    second = planned(folder, tmp_path, **changes)
    repeated = {(entry.architecture, entry.condition) for entry in entries(second, "trial") if entry.share == 1}
    assert repeated == {(entry.architecture, entry.condition) for entry in entries(first, "trial")}
    lines = grown_grids(second, [entry.run for entry in entries(first, "trial")])
    assert any("no trial of an architecture learned; repeating all on 1 of the tokens: " in line for line in lines)


def test_trials_that_fail_or_diverge_are_not_waited_for(folder: Path, tmp_path: Path) -> None:
    tuning = {"learning_rate": [0.005, 0.01, 0.02], "dropout": [0.0]}
    first = planned(folder, tmp_path, tuning=tuning)
    for plan in first.plans:
        status = {0.005: "failed", 0.01: "done", 0.02: "diverged"}[plan.training.learning_rate]
        record = {**plan.row(), "status": status, "validation_loss": 0.4}
        store.write_record(store.run_folder(tmp_path, plan.run), record)
    matrix = planned(folder, tmp_path, tuning=tuning)
    assert matrix.waiting_tasks == ()
    assert {plan.training.learning_rate for plan in plans(matrix, "compared").values()} == {0.01}


def test_a_trial_never_sees_the_test_split(folder: Path, tmp_path: Path) -> None:
    matrix = planned(folder, tmp_path, architectures=["decoder"], tuning={"learning_rate": [0.01, 0.02]})
    plan = matrix.plans[0]
    place = store.run_folder(tmp_path, plan.run)
    work.perform(plan, place, lambda progress: None, lambda: False)
    assert {row["split"] for row in json.loads((place / "scores.json").read_text())} == {"validation"}
    assert not (place / "predictions.parquet").exists()
    record = store.read_record(place)
    assert record is not None and record["status"] == "done" and record["validation_loss"] > 0


def test_dropout_is_tuned_where_the_data_repeat() -> None:
    tuning, training = Tuning(learning_rate=(0.02, 0.01)), Training()
    assert grid(tuning, training, epochs=4) == [Point(0.01, 0.0), Point(0.02, 0.0)]
    assert len(grid(tuning, training, epochs=4.1)) == 4
    assert {point.dropout for point in grid(tuning, training, epochs=9)} == {0.0, 0.1}


def test_dropout_is_tuned_where_any_architecture_reads_its_data_often(folder: Path, tmp_path: Path) -> None:
    budget = {"match": "flops-by-tokens", "parameters": 20_000, "tokens": 14_000}
    for names, dropouts in ((["decoder"], {0.0}), (["decoder", "encoder-decoder"], {0.0, 0.1})):
        matrix = planned(folder, tmp_path, architectures=names, budget=budget, tuning={"learning_rate": [0.01, 0.02]})
        assert {plan.training.dropout for plan in plans(matrix, "trial").values()} == dropouts


def test_growth_keeps_the_grids_ratio_on_either_side() -> None:
    points = [Point(rate, 0.0) for rate in (0.01, 0.02, 0.06)]
    assert added_points(points, [points[1]]) == []
    assert added_points(points, [points[0]]) == [Point(0.005, 0.0)]
    assert added_points(points, [points[0], points[2]]) == [Point(0.005, 0.0), Point(0.18, 0.0)]


def test_the_greatest_dropout_is_an_edge_and_none_is_not() -> None:
    points = [Point(rate, dropout) for rate in (0.01, 0.02, 0.04) for dropout in (0.0, 0.1)]
    assert added_points(points, [Point(0.02, 0.0)]) == []
    assert added_points(points, [Point(0.02, 0.1)]) == [Point(rate, 0.2) for rate in (0.01, 0.02, 0.04)]


def test_architectures_that_only_a_condition_names_are_tuned_as_well(folder: Path, tmp_path: Path) -> None:
    tuning = {"learning_rate": [0.005, 0.01, 0.02], "dropout": [0.0]}
    conditions = [{"architectures": ["prefix-decoder"]}]
    first = planned(folder, tmp_path, tuning=tuning, conditions=conditions)
    assert Counter(entry.architecture for entry in first.entries) == dict.fromkeys((*NAMES, "prefix-decoder"), 3)
    losses = {0.005: 0.9, 0.01: 0.1, 0.02: 0.9}
    finish(first, tmp_path, dict.fromkeys((*NAMES, "prefix-decoder"), losses))
    matrix = planned(folder, tmp_path, tuning=tuning, conditions=conditions)
    rates = {plan.training.learning_rate for plan in matrix.plans
             if not plan.trial}  # fmt: skip
    assert rates == {0.01}


def test_a_condition_with_a_tuning_of_its_own_takes_what_its_own_trials_chose(folder: Path, tmp_path: Path) -> None:
    tuning = {"learning_rate": [0.005, 0.01, 0.02], "dropout": [0.0]}
    own_tuning = {"learning_rate": [0.001, 0.002, 0.004], "dropout": [0.0]}
    changes = {"tuning": tuning, "conditions": [{"training": {"optimizer": "adamw"}, "tuning": own_tuning}]}
    first = planned(folder, tmp_path, **changes)
    assert {entry.condition for entry in entries(first, "trial")} == {"", "AdamW, tuned"}
    assert not entries(first, "compared")
    middle = {0.005: 0.9, 0.01: 0.1, 0.02: 0.9, 0.001: 0.9, 0.002: 0.1, 0.004: 0.9}
    muon = {name: {rate: middle[rate] for rate in (0.005, 0.01, 0.02)} for name in NAMES}
    trials = plans(first, "trial")
    assert {plan.training.optimizer for plan in trials.values()} == {"muon", "adamw"}
    muon_trials = [plan for plan in trials.values() if plan.training.optimizer == "muon"]
    for plan in muon_trials:
        value = muon[plan.architecture][plan.training.learning_rate]
        store.write_record(
            store.run_folder(tmp_path, plan.run), {**plan.row(), "status": "done", "validation_loss": value}
        )
    second = planned(folder, tmp_path, **changes)
    assert {entry.condition for entry in entries(second, "compared")} == {""}
    assert {plan.training.optimizer for plan in second.later} == {"adamw"}
    finish(first, tmp_path, dict.fromkeys(NAMES, middle))
    third = planned(folder, tmp_path, **changes)
    chosen = {(plan.training.optimizer, plan.training.learning_rate) for plan in third.plans if not plan.trial}
    assert chosen == {("muon", 0.01), ("adamw", 0.002)}
    assert not third.later


def test_conditions_of_one_name_keep_their_trials_apart(folder: Path, tmp_path: Path) -> None:
    tunings = [
        {"learning_rate": [0.001, 0.002, 0.004], "dropout": [0.0]},
        {"learning_rate": [0.1, 0.2, 0.4], "dropout": [0.0]},
    ]
    conditions = [{"share": share, "tuning": tuning} for share, tuning in zip((0.25, 0.5), tunings, strict=True)]
    losses = {0.001: 0.9, 0.002: 0.1, 0.004: 0.9, 0.1: 0.9, 0.2: 0.1, 0.4: 0.9}
    finish(planned(folder, tmp_path, conditions=conditions), tmp_path, dict.fromkeys(NAMES, losses))
    matrix = planned(folder, tmp_path, conditions=conditions)
    runs = {plan.run: plan for plan in matrix.plans}
    chosen = {(entry.share, runs[entry.run].training.learning_rate) for entry in entries(matrix, "share")}
    assert chosen == {(0.25, 0.002), (0.5, 0.2)}


def test_what_a_condition_sets_of_the_recipe_is_all_that_changes(folder: Path, tmp_path: Path) -> None:
    task = {**values()["tasks"][0], "tuned": {"encoder": {"learning_rate": 0.03}}}  # type: ignore[index]
    conditions = [{"training": {"dropout": 0.3, "precision": "float32"}}]
    matrix = planned(folder, tmp_path, tasks=[task], conditions=conditions)
    runs = {plan.run: plan for plan in matrix.plans}
    [under] = {(runs[entry.run].training.learning_rate, runs[entry.run].size.dropout) for entry in matrix.entries
               if entry.architecture == "encoder" and entry.condition == "dropout 0.3, precision float32"}  # fmt: skip
    assert under == (0.03, 0.3)


def test_two_conditions_that_name_one_run_give_it_one_place(folder: Path, tmp_path: Path) -> None:
    conditions = [{"seeds": [0]}, {"share": 0.5, "seeds": [0]}, {"share": 0.5, "seeds": [0, 1]}]
    matrix = planned(folder, tmp_path, conditions=conditions)
    assert len(set(matrix.entries)) == len(matrix.entries)


def test_the_command_line_adds_nothing_to_conditions() -> None:
    conditions = [{"share": 0.5, "architectures": ["decoder"], "seeds": [0]}]
    base = spec.from_dict(values(conditions=conditions))
    assert spec.override(base, architectures=["encoder"]).conditions == ()
    assert [task.seeds for task in spec.override(base, seeds=5).conditions] == [(0,)]


def test_ties_go_to_the_smaller_rate() -> None:
    points = [Point(0.02, 0.0), Point(0.01, 0.0)]
    assert best({point: [TrialLoss(0.5)] for point in points}) == points[1]
    assert best({}) is None


def test_exact_likelihoods_decide_where_all_trials_have_them() -> None:
    low, high = Point(0.01, 0.0), Point(0.02, 0.0)
    assert best({low: [TrialLoss(0.5, 0.9)], high: [TrialLoss(0.6, 0.8)]}) == high
    assert best({low: [TrialLoss(0.5, 0.9)], high: [TrialLoss(0.6)]}) == low
    assert best({low: [TrialLoss(0.5, 0.9)], high: [TrialLoss(0.6, math.inf)]}) == low
    assert best({low: [TrialLoss(0.5, 0.9)], high: [TrialLoss(math.inf)]}) == low
    assert best({low: [TrialLoss(0.7, 0.8), TrialLoss(0.7, 0.8)], high: [TrialLoss(0.6, 0.9), TrialLoss(0.6)]}) == high


@pytest.mark.parametrize(("metric", "exact"), [("nll_per_token_sampled", 0.9), ("nll_per_token", math.nan)])
def test_trials_give_the_exact_likelihood_beside_an_estimate(tmp_path: Path, metric: str, exact: float) -> None:
    place = store.run_folder(tmp_path, "a")
    place.mkdir(parents=True)
    (place / "curves.csv").write_text(f"split,metric,value\ntrain,loss,0.7\nvalidation,{metric},0.5\n")
    scores = [{"split": "validation", "metric": "nll_per_token", "value": 0.9}]
    (place / "scores.json").write_text(json.dumps(scores))
    store.write_record(place, {"run": "a", "status": "done", "validation_loss": 0.5})
    (given,) = trials.losses(tmp_path, ["a"]) or ()
    assert given.loss == 0.5 and given.exact == pytest.approx(exact, nan_ok=True)
    assert trials.losses(tmp_path, ["a", "b"]) is None


def test_an_encoders_trial_records_exact_likelihoods(tmp_path: Path) -> None:
    text = "\n".join(f"the red house {n} by the sea" for n in range(300))
    (tmp_path / "text.txt").write_text(text)
    task = {"kind": "generation", "name": "text", "data": "text.txt", "context": 16, "source_length": 8}
    budget, tuning = {"parameters": 20_000, "tokens": 2_000}, {"learning_rate": [0.01, 0.02]}
    matrix = planned(tmp_path, tmp_path, architectures=["encoder"], tasks=[task], budget=budget, tuning=tuning)
    plan = matrix.plans[0]
    work.perform(plan, store.run_folder(tmp_path, plan.run), lambda progress: None, lambda: False)
    recorded = trials.losses(tmp_path, [plan.run])
    assert recorded is not None and math.isfinite(recorded[0].exact) and recorded[0].exact != recorded[0].loss


def test_from_four_rates_on_the_minimum_of_a_fit_is_taken(folder: Path, tmp_path: Path) -> None:
    tuning = {"learning_rate": [0.005, 0.01, 0.02, 0.04], "dropout": [0.0]}
    curve = {rate: (math.log2(rate / 0.01) - 0.5) ** 2 for rate in (0.005, 0.01, 0.02, 0.04)}
    finish(planned(folder, tmp_path, tuning=tuning), tmp_path, dict.fromkeys(NAMES, curve))
    matrix = planned(folder, tmp_path, tuning=tuning)
    assert {plan.training.learning_rate for plan in plans(matrix, "compared").values()} == {0.0141}


def test_what_a_condition_leaves_unchanged_keeps_its_rate(folder: Path, tmp_path: Path) -> None:
    """The decoder's grid grows under target supervision, where the encoder-decoder is best at the added rate."""
    tuning = {"learning_rate": [0.01, 0.02, 0.04], "dropout": [0.0]}
    changes = {
        "architectures": ["decoder", "encoder-decoder"],
        "tuning": tuning,
        "conditions": [{"supervision": "target", "tuning": tuning}],
    }
    middle = {0.005: 0.1, 0.01: 0.3, 0.02: 0.2, 0.04: 0.4}
    rising = {0.005: 0.1, 0.01: 0.2, 0.02: 0.3, 0.04: 0.4}
    for _ in range(2):
        matrix = planned(folder, tmp_path, **changes)
        for plan in plans(matrix, "trial").values():
            losses = rising if (plan.architecture, plan.supervision) == ("decoder", "target") else middle
            record = {**plan.row(), "status": "done", "validation_loss": losses[plan.training.learning_rate]}
            store.write_record(store.run_folder(tmp_path, plan.run), record)
    matrix = planned(folder, tmp_path, **changes)
    runs = {plan.run: plan for plan in matrix.plans}
    chosen_rates = {
        (entry.architecture, bool(entry.condition)): runs[entry.run].training.learning_rate
        for entry in entries(matrix, "compared")
    }
    rates = {runs[entry.run].training.learning_rate for entry in entries(matrix, "trial") if entry.condition}
    assert rates == {0.005, *tuning["learning_rate"]}
    assert chosen_rates == {
        ("decoder", False): 0.02,
        ("decoder", True): 0.005,
        ("encoder-decoder", False): 0.02,
        ("encoder-decoder", True): 0.02,
    }


def test_what_the_file_says_of_an_architecture_replaces_the_recipe(folder: Path, tmp_path: Path) -> None:
    task = {**values()["tasks"][0], "tuned": {"encoder": {"learning_rate": 0.03, "dropout": 0.2}}}  # type: ignore[index]
    compared = plans(planned(folder, tmp_path, tasks=[task]), "compared").values()
    recipes = {plan.architecture: (plan.training.learning_rate, plan.size.dropout) for plan in compared}
    assert recipes == {"decoder": (0.01, 0.0), "encoder": (0.03, 0.2), "encoder-decoder": (0.01, 0.0)}


def test_controls_repeat_the_first_architecture(folder: Path, tmp_path: Path) -> None:
    matrix = planned(folder, tmp_path, controls=True)
    runs = {plan.run: plan for plan in matrix.plans}
    compared = [runs[entry.run] for entry in entries(matrix, "compared") if entry.architecture == "decoder"]
    repeats = [runs[entry.run] for entry in entries(matrix, "control") if entry.architecture == "decoder, again"]
    half = [runs[entry.run] for entry in entries(matrix, "control") if entry.architecture == "decoder, half the budget"]
    assert {plan.seed for plan in repeats} == {CONTROL_SEEDS, CONTROL_SEEDS + 1}
    assert {plan.seed for plan in half} == {plan.seed for plan in compared}
    assert {(plan.size, plan.tokens) for plan in repeats} == {(plan.size, plan.tokens) for plan in compared}
    assert {(plan.size, plan.tokens) for plan in half} == {(plan.size, 3_000) for plan in compared}


def test_a_run_with_several_places_is_trained_once(folder: Path, tmp_path: Path) -> None:
    conditions = [{"share": 0.5, "architectures": ["decoder"]}, {"budget": {"match": "flops"}}]
    matrix = planned(folder, tmp_path, controls=True, conditions=conditions)
    places = Counter(entry.run for entry in matrix.entries)
    half = {entry.run for entry in entries(matrix, "share")}
    assert half <= {entry.run for entry in entries(matrix, "control")}
    assert len(matrix.plans) == len(places) < len(matrix.entries)
    reference = [plan for plan in matrix.plans if places[plan.run] == 2 and "flops" in plan.match.split(",")]
    assert {plan.architecture for plan in reference} == {"decoder"}


def test_a_condition_changes_what_it_says_and_nothing_else(folder: Path, tmp_path: Path) -> None:
    conditions = [{"supervision": "target", "seeds": [0]}, {"training": {"optimizer": "adamw"}, "seeds": [1]}]
    matrix = planned(folder, tmp_path, conditions=conditions)
    runs = {plan.run: plan for plan in matrix.plans}
    named = {entry.condition: runs[entry.run] for entry in matrix.entries if entry.architecture == "encoder"}
    assert set(named) == {"", "target supervision", "AdamW"}
    assert (named["target supervision"].supervision, named["target supervision"].seed) == ("target", 0)
    assert (named["AdamW"].training.optimizer, named["AdamW"].seed) == ("adamw", 1)
    assert len({plan.size for plan in named.values()}) == 1


def test_supervision_changes_nothing_for_what_has_no_loss_on_its_source(folder: Path, tmp_path: Path) -> None:
    matrix = planned(folder, tmp_path, architectures=[*NAMES, "prefix-decoder"], conditions=[{"supervision": "target"}])
    runs = {}
    for entry in entries(matrix, "compared"):
        runs.setdefault(entry.architecture, {}).setdefault(entry.condition, set()).add(entry.run)
    same = {name for name, under in runs.items() if under[""] == under["target supervision"]}
    assert same == {"encoder-decoder", "prefix-decoder"}
    assert all(not under[""] & under["target supervision"] for name, under in runs.items() if name not in same)


def test_conditions_keep_the_tasks_own_reference(folder: Path, tmp_path: Path) -> None:
    conditions = [{"budget": {"match": "flops"}, "architectures": ["encoder-decoder"]}]
    alone = planned(folder, tmp_path, conditions=conditions)
    whole = planned(folder, tmp_path, budget={"match": ["parameters", "flops"], "parameters": 20_000, "tokens": 6_000})
    expected = {plan.run for plan in whole.plans if plan.architecture == "encoder-decoder" and plan.match == "flops"}
    assert expected == {entry.run for entry in alone.entries if entry.match == "flops"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"conditions": [{"tasks": ["thing"]}]}, 'conditions[0].tasks: no task "thing"; did you mean "things"?'),
        (
            {"conditions": [{"training": {"learning_rate": 0.1}, "tuning": {"learning_rate": [0.1, 0.2]}}]},
            "conditions (things): training.learning_rate and tuning are given; keep only one",
        ),
        (
            {"conditions": [{"seeds": [5], "tuning": {"learning_rate": [0.1, 0.2], "seeds": [5]}}]},
            "tuning.seeds: 5 is a seed of the reported runs of things",
        ),
        ({"conditions": [{}]}, "conditions: a condition changes nothing on things"),
        ({"conditions": [{"share": 65}]}, "conditions[0].share: 65: expected at most 64"),
        ({"conditions": [{"sead": [1]}]}, 'conditions[0].sead: unknown key; did you mean "seeds"?'),
        ({"margins": {"acuracy": 0.1}}, 'margins.acuracy: unknown metric; did you mean "accuracy"?'),
        ({"tuning": {"learning_rate": [0.01]}}, "tuning.learning_rate: expected at least 2 values"),
        ({"contrasts": [["decodr", "encoder"]]}, 'contrasts[0]: no architecture "decodr"; did you mean "decoder"?'),
        ({"tuning": {"learning_rate": [0.1, 0.2], "seeds": [1]}}, "tuning.seeds: 1 is a seed of the reported runs"),
        ({"tasks": [{**TASK, "tuned": {"encoder": {"rat": 1}}}]}, "tasks[0].tuned.encoder.rat: unknown key"),
        ({"tasks": [{**TASK, "tuned": {"encodr": {"learning_rate": 1}}}]}, 'did you mean "encoder"?'),
        (
            {"conditions": {"share": 0.5}},
            "conditions: is one table; expected a list of them, each under [[conditions]]",
        ),
        ({"controls": "yes"}, 'controls: "yes": expected true, false or a list of tasks'),
        (
            {"contrasts": [["decoder", "encoder"], ["encoder", "decoder"]]},
            'the pair "decoder", "encoder" is given twice',
        ),
        ({"contrasts": [["decoder", "decoder"]]}, 'contrasts[0]: "decoder" is given twice'),
    ],
)
def test_mistakes_are_named(changes: dict[str, object], message: str) -> None:
    with pytest.raises(InputError) as error:
        spec.from_dict(values(**changes))
    assert message in str(error.value)


def test_contrasts_and_rates_name_a_variant_file_as_results_do(tmp_path: Path) -> None:
    path = scaffold.write("my_variant", "decoder", tmp_path)
    name = catalogue.find(str(path)).name
    listed = {"architectures": ["decoder", str(path)], "contrasts": [["decoder", name]]}
    experiment = spec.from_dict(values(**listed, tasks=[{**TASK, "tuned": {name: {"learning_rate": 0.1}}}]))
    assert name == "my-variant" and experiment.contrasts == (("decoder", name),) and name in experiment.tasks[0].tuned
    with pytest.raises(InputError, match='no architecture "my_variant"; did you mean "my-variant"'):
        spec.from_dict(values(**listed | {"contrasts": [["decoder", "my_variant"]]}))


def test_trials_have_seeds_that_reported_runs_do_not_have_by_default() -> None:
    assert Tuning(learning_rate=(0.1, 0.2)).seeds == (TUNING_SEED,)
    assert TUNING_SEED not in range(100)


def test_what_makes_the_headline_comes_first(folder: Path, tmp_path: Path) -> None:
    budget = {"match": ["parameters", "flops"], "parameters": 20_000, "tokens": 6_000}
    matrix = planned(folder, tmp_path, budget=budget, controls=True, conditions=[{"supervision": "target"}])
    early = {plan.run for plan in matrix.plans if plan.stage == 0}
    head = [entry for entry in entries(matrix, "compared") if not entry.condition and entry.match == "parameters"]
    assert early == {entry.run for entry in head}
    assert len(early) == 6 < len(matrix.plans)


def test_a_variant_that_is_added_later_moves_no_one_elses_grid(folder: Path, tmp_path: Path) -> None:
    tuning = {"learning_rate": [0.005, 0.01, 0.02], "dropout": [0.0]}
    middle, edge = {0.005: 0.9, 0.01: 0.1, 0.02: 0.9}, {0.005: 0.1, 0.01: 0.2, 0.02: 0.3}
    finish(planned(folder, tmp_path, tuning=tuning), tmp_path, dict.fromkeys(NAMES, middle))
    before = plans(planned(folder, tmp_path, tuning=tuning), "compared")
    added = {"tuning": tuning, "architectures": [*NAMES, "prefix-decoder"]}
    waiting = planned(folder, tmp_path, **added)
    assert waiting.waiting_tasks == ("things",)
    assert set(before) == set(plans(waiting, "compared"))  # what is finished stays on the page meanwhile
    assert {plan.architecture for plan in waiting.later} == {"prefix-decoder"}
    finish(waiting, tmp_path, {**dict.fromkeys(NAMES, middle), "prefix-decoder": edge})
    after = planned(folder, tmp_path, **added)
    assert after.waiting_tasks == ()
    assert set(before) < set(plans(after, "compared"))


def test_what_the_file_says_was_found_replaces_trials(folder: Path, tmp_path: Path) -> None:
    task = {**values()["tasks"][0], "tuned": {"encoder": {"learning_rate": 0.03}}}  # type: ignore[index]
    matrix = planned(folder, tmp_path, tasks=[task], tuning={"learning_rate": [0.01, 0.02]})
    assert matrix.waiting_tasks == () and not entries(matrix, "trial")


def test_conditions_without_seeds_of_their_own_follow_the_command_line() -> None:
    base = spec.from_dict(values(conditions=[{"share": 0.5}, {"supervision": "target", "seeds": [0]}]))
    assert [task.seeds for task in spec.override(base, seeds=4).conditions] == [(0, 1, 2, 3), (0,)]


def test_no_run_reads_its_data_more_often_than_the_budget_allows(folder: Path, tmp_path: Path) -> None:
    short = {"parameters": 20_000, "tokens": 6_000}
    free = planned(folder, tmp_path)
    with pytest.raises(InputError, match=r"tasks\.things\.budget\.epochs: 0\.5: decoder would read") as error:
        planned(folder, tmp_path, budget={**short, "epochs": 0.5})
    assert "\n" not in str(error.value)
    times = re.search(r"([0-9.]+) times", str(error.value))
    assert times
    allowed = planned(folder, tmp_path, budget={**short, "epochs": float(times[1]) + 0.05})
    assert allowed.entries == free.entries


def test_a_condition_with_more_tokens_is_held_to_the_epochs_too(folder: Path, tmp_path: Path) -> None:
    longer = [{"budget": {"match": "flops-by-tokens"}, "seeds": [0]}]
    within = {"parameters": 20_000, "tokens": 6_000, "epochs": 1.6}
    planned(folder, tmp_path, budget=within)
    with pytest.raises(InputError, match=": encoder would read"):
        planned(folder, tmp_path, budget=within, conditions=longer)


def test_controls_are_entered_on_the_tasks_that_are_named(folder: Path, tmp_path: Path) -> None:
    task = values()["tasks"][0]  # type: ignore[index]
    tasks = [task, {**task, "name": "others"}]
    for controls, names in ((True, {"things", "others"}), (["others"], {"others"}), (False, set())):
        matrix = planned(folder, tmp_path, tasks=tasks, controls=controls)
        assert {entry.dataset for entry in entries(matrix, "control")} == names


@pytest.mark.parametrize("controls", [["thing"], [], "things", 1, ["things", "things"], [3]])
def test_wrong_controls_are_one_line(folder: Path, tmp_path: Path, controls: object) -> None:
    with pytest.raises(InputError, match="controls") as error:
        planned(folder, tmp_path, controls=controls)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"budget": {"match": "loss-tokens", "parameters": 20_000, "tokens": 6_000}}, "tasks[0]"),
        ({"conditions": [{"budget": {"match": "loss-tokens"}}]}, "conditions (things)"),
    ],
)
def test_labels_need_target_supervision_for_equal_tokens_with_a_loss(changes: dict[str, object], place: str) -> None:
    message = f'{place}.budget.match: "loss-tokens" on classification needs a loss on labels alone; set supervision = '
    with pytest.raises(InputError) as error:
        spec.from_dict(values(**changes))
    assert message in str(error.value) and "\n" not in str(error.value)
    with pytest.raises(InputError, match=r"tasks\.things\.budget\.match: "):
        spec.override(spec.from_dict(values()), match="loss-tokens")
    allowed = spec.override(spec.from_dict(values(supervision="target")), match="loss-tokens")
    assert allowed.tasks[0].budget.match == ("loss-tokens",)


def test_axes_and_supervision_cross(folder: Path, tmp_path: Path) -> None:
    crossed = [{"budget": {"match": axis}, "supervision": "target"} for axis in ("flops", "loss-tokens")]
    matrix = planned(folder, tmp_path, seeds=[0], conditions=[{"supervision": "target"}, *crossed])
    by_run = {plan.run: plan for plan in matrix.plans}
    runs = {(entry.match, entry.condition, entry.architecture): by_run[entry.run] for entry in matrix.entries}
    assert {key[:2] for key in runs} == {
        ("parameters", ""),
        *((axis, "target supervision") for axis in ("parameters", "flops", "loss-tokens")),
    }
    for name in NAMES:
        size, cost, loss = (runs[axis, "target supervision", name] for axis in ("parameters", "flops", "loss-tokens"))
        first = runs["flops", "target supervision", "decoder"]
        assert cost.flops == pytest.approx(first.flops, rel=0.02) and cost.tokens == pytest.approx(
            first.tokens, rel=0.02
        )
        assert loss.run == size.run  # every example has one label
        assert loss.supervision == ("native" if name == "encoder-decoder" else "target")
        assert loss.loss_tokens == pytest.approx(first.loss_tokens, rel=1e-9)


def test_a_further_axis_renames_no_run(folder: Path, tmp_path: Path) -> None:
    lines = [f"house {n} by the sea\tthe sea by {n}{' again' * (n % 4)}" for n in range(600)]
    (folder / "pairs.tsv").write_text("\n".join(["source\ttarget", *lines]) + "\n")
    pairs: dict[str, object] = {
        "kind": "translation",
        "name": "pairs",
        "data": "pairs.tsv",
        "tokenizer": "word",
        "vocabulary": 64,
    }
    pairs |= {"source_length": 8, "target_length": 8}
    axes = ["parameters", "flops", "flops-by-tokens"]
    before, after = (
        planned(folder, tmp_path, tasks=[pairs], budget={"match": match, "parameters": 20_000, "tokens": 6_000})
        for match in (axes, [*axes, "loss-tokens"])
    )
    old = {(entry.match, entry.architecture): entry.run for entry in before.entries}
    new = {(entry.match, entry.architecture): entry.run for entry in after.entries}
    assert old.items() <= new.items()
    assert new["loss-tokens", "decoder"] == new["parameters", "decoder"]
    assert len({new["loss-tokens", name] for name in NAMES} - set(old.values())) == 2
    assert not any("loss" in key for key in after.plans[0].identity())
    assert ["with loss" in dry_run._table(matrix)[0] for matrix in (before, after)] == [False, True]


def test_what_a_token_uses_is_held_equal(folder: Path, tmp_path: Path) -> None:
    names = ["decoder", "decoder-experts"]
    budget = {"match": ["parameters", "active-parameters"], "parameters": 20_000, "tokens": 6_000}
    matrix = planned(folder, tmp_path, architectures=names, budget=budget)
    rows = {plan.run: plan.row() for plan in matrix.plans}
    runs = {(entry.match, entry.architecture): rows[entry.run] for entry in matrix.entries}
    wanted = runs["parameters", "decoder"]["parameters"]
    experts = runs["active-parameters", "decoder-experts"]
    assert experts["active_parameters"] == pytest.approx(wanted, rel=0.01) and experts["parameters"] > 1.5 * wanted
    assert runs["active-parameters", "decoder"]["run"] == runs["parameters", "decoder"]["run"]
    assert runs["parameters", "decoder-experts"]["parameters"] == pytest.approx(wanted, rel=0.01)


def test_a_dry_run_names_the_depths_that_differ_within_a_family() -> None:
    depths = {("decoder", "decoder-only"): 4, ("experts", "decoder-only"): 2, ("llama", "decoder-only"): 4}
    depths |= {("encoder", "encoder-only"): 3, ("t5", "encoder-decoder"): 1}
    rows = [
        {"run": f"{data}-{name}", "dataset": data, "architecture": name, "family": family, "depth": depth}
        for data in ("things", "pairs")
        for (name, family), depth in depths.items()
    ]
    runs = [SimpleNamespace(run=row["run"], row=partial(dict, row, match="parameters")) for row in rows]
    places = [
        Placement(row["run"], row["dataset"], "", "parameters", "compared", row["architecture"])
        for row in rows
        for _ in range(2)
    ]
    assert dry_run._depths(SimpleNamespace(plans=runs, entries=places)) == [
        "experts has depth 2 where decoder has 4 (things, pairs), to match parameters; "
        "model.depth = 4 makes the depths equal"
    ]
