"""Alternatives of an architecture: trials choose what is compared under its name, and the page says so."""

import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import small_plans

from archbench.reports.page.sections import tuning
from archbench.reports.results import trials as analysis
from archbench.runs.base import store
from archbench.runs.base.plan import Plan
from archbench.runs.experiment import spec
from archbench.runs.planning.matrix import Matrix
from archbench.tasks.base import sealed
from archbench.tasks.base.errors import InputError

ALTERNATIVES = {"encoder": ["suffix-encoder", "next-cell-encoder"]}
LOSSES = {"decoder": 2.0, "encoder": 1.5, "suffix-encoder": 1.2, "next-cell-encoder": 1.4}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("data")
    rows = [f"{n} red houses by the sea\t{n} rote Häuser am Meer" for n in range(300)]
    (place / "pairs.tsv").write_text("\n".join(["source\ttarget", *rows]) + "\n")
    return place


def experiment(**changes: object) -> dict[str, Any]:
    task = {"kind": "translation", "name": "pairs", "data": "pairs.tsv", "tokenizer": "word", "vocabulary": 64}
    settings = {
        "name": "tiny",
        "architectures": ["decoder", "encoder"],
        "seeds": [0, 1],
        "budget": {"parameters": 20_000, "tokens": 6_000},
        "model": {"width": 32},
        "training": {"batch_tokens": 400, "precision": "float32"},
        "tuning": {"learning_rate": [0.005, 0.01, 0.02]},
        "alternatives": ALTERNATIVES,
        "tasks": [{**task, "source_length": 8, "target_length": 8}],
    }
    return {key: value for key, value in {**settings, **changes}.items() if value is not None}


def finish(plans: list[Plan], root: Path, losses: dict[str, float] = LOSSES) -> None:
    """Records and exact validation losses of trials; the middle rate is the best."""
    for plan in plans:
        loss = losses[plan.architecture] + (plan.training.learning_rate != 0.01)
        place = store.run_folder(root, plan.run)
        place.mkdir(parents=True, exist_ok=True)
        row = {"split": "validation", "metric": "nll_per_token", "value": loss}
        sealed.write_json(place / "scores.json", [row])
        store.write_record(place, {**plan.row(), "status": "done", "validation_loss": loss})


def compared(matrix: Matrix) -> set[tuple[str, str, float]]:
    """The names in the comparison, what was trained for each, and its learning rate."""
    plans = {plan.run: plan for plan in matrix.plans}
    entries = [entry for entry in matrix.entries if entry.role in ("compared", "share", "control")]
    runs = [(entry, plans[entry.run]) for entry in entries]
    return {(entry.architecture, plan.architecture, plan.training.learning_rate) for entry, plan in runs}


def test_every_candidate_has_the_same_trials(folder: Path, tmp_path: Path) -> None:
    matrix = small_plans.plan(experiment(), folder, tmp_path)
    assert {plan.architecture for plan in matrix.plans} == set(LOSSES)
    assert len(matrix.plans) == 3 * len(LOSSES)
    assert compared(matrix) == set()


def test_the_candidate_with_the_lowest_validation_loss_is_compared(folder: Path, tmp_path: Path) -> None:
    finish(list(small_plans.plan(experiment(), folder, tmp_path).plans), tmp_path)
    matrix = small_plans.plan(experiment(controls=True, conditions=[{"share": 0.5}]), folder, tmp_path)
    assert compared(matrix) == {
        ("decoder", "decoder", 0.01),
        ("encoder", "suffix-encoder", 0.01),
        ("decoder, again", "decoder", 0.01),
        ("decoder, half the budget", "decoder", 0.01),
    }


def test_nothing_is_compared_before_the_trials_of_all_candidates_have_ended(folder: Path, tmp_path: Path) -> None:
    first = small_plans.plan(experiment(), folder, tmp_path)
    finish([plan for plan in first.plans if plan.architecture != "next-cell-encoder"], tmp_path)
    assert compared(small_plans.plan(experiment(), folder, tmp_path)) == set()  # the grid may still grow, for all


def test_a_tie_is_for_the_architecture_itself(folder: Path, tmp_path: Path) -> None:
    finish(list(small_plans.plan(experiment(), folder, tmp_path).plans), tmp_path, dict.fromkeys(LOSSES, 1.0))
    entries = compared(small_plans.plan(experiment(), folder, tmp_path))
    assert ("encoder", "encoder", 0.01) in entries


def test_trials_that_diverged_are_not_chosen(folder: Path, tmp_path: Path) -> None:
    plans = list(small_plans.plan(experiment(), folder, tmp_path).plans)
    finish(plans, tmp_path)
    for plan in plans:
        if plan.architecture == "suffix-encoder":
            place = store.run_folder(tmp_path, plan.run)
            store.write_record(place, {**plan.row(), "status": "diverged", "validation_loss": 1.0})
    assert ("encoder", "next-cell-encoder", 0.01) in compared(small_plans.plan(experiment(), folder, tmp_path))


def test_trials_that_never_improved_choose_nothing(folder: Path, tmp_path: Path) -> None:
    """Their losses are those of the untrained model: equal, so that ties would choose the lowest rate."""
    plans = list(small_plans.plan(experiment(alternatives={}), folder, tmp_path).plans)
    for plan in plans:
        loss, learned = 4.0 + (plan.training.learning_rate != 0.01), plan.architecture == "decoder"
        row = {**plan.row(), "status": "done", "validation_loss": loss, "best_step": int(learned)}
        store.write_record(store.run_folder(tmp_path, plan.run), row)
    matrix = small_plans.plan(experiment(alternatives={}), folder, tmp_path)
    assert ("encoder", "encoder", 0.003) in compared(matrix)  # the recipe's, and the grid has not grown for it
    tables = {
        "runs": pd.DataFrame([{**plan.row(), "status": "done", "best_step": 0} for plan in matrix.plans]),
        "entries": pd.DataFrame([vars(entry) for entry in matrix.entries]),
        "curves": pd.DataFrame({"run": [], "split": [], "metric": []}),
        "scores": pd.DataFrame({"run": [], "split": [], "metric": [], "value": [], "n": []}),
        "references": pd.DataFrame({"dataset": [], "split": [], "name": [], "metric": [], "value": []}),
    }
    tables["runs"]["validation_loss"] = 4.0
    assert [(one.architecture, one.bar) for one in analysis.without_tuning(tables)] == [
        ("decoder", math.inf),
        ("encoder", math.inf),
    ]
    assert "no trial learned for decoder, pairs (no loss below the untrained model's); encoder, pairs (" in (
        tuning.without_tuning(tables)
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"alternatives": {"encodr": ["suffix-encoder"]}}, 'alternatives.encodr: no architecture .* mean "encoder"'),
        ({"alternatives": {"encoder": ["encoder"]}}, '"encoder" is compared anyway'),
        ({"alternatives": {"encoder": []}}, "alternatives.encoder: is empty"),
        ({"tuning": None}, "alternatives.encoder: trials choose .* the task .* has no trials"),
    ],
)
def test_what_is_wrong_is_one_line(folder: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        spec.from_dict(experiment(**changes), folder=folder)


def test_a_task_has_alternatives_of_its_own(folder: Path) -> None:
    values = experiment()
    [task] = values["tasks"]
    own_alternatives = {"encoder": ["pooled-encoder"]}
    values["tasks"] = [
        task,
        {**task, "name": "own", "alternatives": own_alternatives},
        {**task, "name": "none", "alternatives": {}},
    ]
    resolved = spec.from_dict(values, folder=folder)
    assert [task["alternatives"] for task in resolved.digestable()["tasks"]] == [ALTERNATIVES, own_alternatives, {}]
    with pytest.raises(InputError, match=r'tasks\[0\]\.alternatives\.encodr: no architecture .* mean "encoder"'):
        spec.from_dict({**values, "tasks": [{**task, "alternatives": {"encodr": ["encoder"]}}]}, folder=folder)


def test_an_alternative_of_another_family_is_an_error(folder: Path, tmp_path: Path) -> None:
    values = experiment(alternatives={"encoder": ["prefix-decoder"]})
    with pytest.raises(InputError, match=r"alternatives\.encoder: prefix-decoder is of the family decoder; expected"):
        small_plans.plan(values, folder, tmp_path)


def test_the_page_names_what_was_chosen_and_why(folder: Path, tmp_path: Path) -> None:
    trials = list(small_plans.plan(experiment(), folder, tmp_path).plans)
    finish(trials, tmp_path)
    matrix = small_plans.plan(experiment(), folder, tmp_path)
    runs = pd.DataFrame([{**plan.row(), "status": "done", "dropout": 0.0} for plan in matrix.plans])
    losses = {plan.run: LOSSES[plan.architecture] + (plan.training.learning_rate != 0.01) for plan in trials}
    scores = [
        {"run": run, "split": "validation", "metric": "nll_per_token", "value": loss} for run, loss in losses.items()
    ]
    resolved = spec.from_dict(experiment(), folder=folder).model_dump_json()
    tables = {
        "runs": runs,
        "entries": pd.DataFrame([vars(entry) for entry in matrix.entries]),
        "scores": pd.DataFrame(scores),
        "experiment": pd.DataFrame({"key": ["specification"], "value": [resolved]}),
    }
    chosen = analysis.chosen_variants(tables)
    candidate_losses = {name: LOSSES[name] for name in ("encoder", "suffix-encoder", "next-cell-encoder")}
    assert chosen == [analysis.ChosenVariant("pairs", "", "encoder", "suffix-encoder", candidate_losses)]
    assert list(tuning.variants(chosen)) == [
        "On pairs, encoder is the variant suffix-encoder. Losses of the variants' best settings (the parabola's "
        "minimum where there is one): encoder (1.500), suffix-encoder (1.200) and next-cell-encoder (1.400) nats per "
        "target token."
    ]


def test_a_condition_whose_trials_choose_another_variant_is_named() -> None:
    usual = analysis.ChosenVariant("pairs", "", "encoder", "suffix-encoder", {})
    same, other = (
        analysis.ChosenVariant("pairs", "native supervision, tuned", "encoder", variant, {})
        for variant in ("suffix-encoder", "encoder")
    )
    assert tuning.changed_variants([usual, same]) == ""
    assert tuning.changed_variants([usual, other]) == (
        "Trials of a condition may choose another variant: for encoder on pairs, the variant encoder under “native "
        "supervision, tuned” but the variant suffix-encoder under the first condition. The differences include both "
        "changes."
    )
