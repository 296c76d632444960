"""A learning rate from trials at another width: which trials are planned, and how the rate reaches each parameter."""

import csv
import io
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd
import pytest
import simulation_scripts
import small_plans
import torch
from torch import nn

from archbench.architectures.catalogue import catalogue
from archbench.architectures.families.size import Limits, Size
from archbench.reports.page.sections import tuning as tuning_section
from archbench.runs.budgets import budget
from archbench.runs.execution import work
from archbench.runs.experiment import spec
from archbench.runs.plans.plan import Plan
from archbench.runs.store import store
from archbench.runs.updates import optimizer as optimizers
from archbench.runs.updates.muon import hidden_matrices
from archbench.tasks.base.errors import InputError

NAMES = ("decoder", "encoder", "encoder-decoder")
LIMITS = Limits(vocabulary=40, source_length=6, target_length=6)
TUNING = {"learning_rate": [0.01, 0.02, 0.04], "width": 16}


@dataclass(frozen=True)
class FixedRecipe:
    optimizer: str = "muon"
    learning_rate: float = 0.01
    weight_decay: float = 0.1


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("data")
    small_plans.write_things(place)
    return place


def experiment(tuning: Mapping[str, Any] | None = TUNING, **changes: object) -> dict[str, Any]:
    task = {"kind": "classification", "name": "things", "data": "things.tsv", "tokenizer": "word", "vocabulary": 64}
    settings = {
        "name": "tiny",
        "architectures": list(NAMES),
        "seeds": [0],
        "budget": {"parameters": 20_000, "tokens": 6_000},
        "model": {"width": 32, "heads": 2},
        "training": {"batch_tokens": 400, "learning_rate": "transfer", "precision": "float32"},
        "tasks": [{**task, "source_length": 8}],
    }
    return {**settings, **({"tuning": dict(tuning)} if tuning else {}), **changes}


def finished(values: dict[str, Any], folder: Path, root: Path) -> tuple[list[Plan], list[Plan]]:
    """The trials, of which the middle rate is the best, and the runs that they lead to."""
    trials = list(small_plans.plan(values, folder, root).plans)
    for plan in trials:
        record = {**plan.row(), "status": "done", "validation_loss": abs(math.log2(plan.training.learning_rate / 0.02))}
        store.write_record(store.run_folder(root, plan.run), record)
    return trials, [plan for plan in small_plans.plan(values, folder, root).plans if not plan.trial]


def test_trials_are_narrow_and_the_reported_runs_are_not(folder: Path, tmp_path: Path) -> None:
    trials, runs = finished(experiment(), folder, tmp_path)
    fitted = {plan.architecture: plan.size for plan in runs}
    assert {plan.architecture for plan in trials} == set(NAMES) == set(fitted)
    for plan in trials:
        wide = fitted[plan.architecture]
        assert plan.size == budget.at_width(wide, 16)
        assert (plan.size.dim, plan.size.heads, plan.size.depth) == (16, 1, wide.depth)
        assert plan.size.hidden == pytest.approx(wide.hidden / 2, abs=0.5)
        assert plan.training.proxy_width is None
    assert {(plan.size.dim, plan.training.learning_rate, plan.training.proxy_width) for plan in runs} == {
        (32, 0.02, 16)
    }


def test_trials_may_read_a_part_of_the_tokens(folder: Path, tmp_path: Path) -> None:
    trials, runs = finished(experiment({**TUNING, "share": 0.25}), folder, tmp_path)
    assert {plan.tokens for plan in trials} == {1_500}
    assert {plan.training.proxy_share for plan in trials} == {None}
    assert {(plan.tokens, plan.training.proxy_share, plan.training.token_factor) for plan in runs} == {
        (6_000, 0.25, 0.5)
    }


def test_a_rate_is_scaled_from_the_tokens_of_the_trials_to_those_of_each_run(folder: Path, tmp_path: Path) -> None:
    conditions = [{"share": 0.25}, {"share": 4}, {"name": "fixed", "training": {"learning_rate": 0.005}}]
    _, runs = finished(experiment({**TUNING, "share": 0.25}, conditions=conditions), folder, tmp_path)
    scaled = {(plan.tokens, plan.training.learning_rate): plan.training.token_factor for plan in runs}
    assert scaled == {(6_000, 0.02): 0.5, (1_500, 0.02): 1.0, (24_000, 0.02): 0.25, (6_000, 0.005): 1.0}


def test_a_head_whose_trials_failed_has_the_rate_of_heads_and_none_is_scaled(folder: Path, tmp_path: Path) -> None:
    settings = experiment({"learning_rate": [0.01, 0.02], "share": 0.25}, architectures=["encoder"])
    values = settings | {"training": {"batch_tokens": 400, "learning_rate": 0.01, "precision": "float32"}}
    values["tasks"] = [{**task, "adapt": "frozen"} for task in settings["tasks"]]
    for plan in small_plans.plan(values, folder, tmp_path).plans:
        store.write_record(store.run_folder(tmp_path, plan.run), {**plan.row(), "status": "failed"})
    [head] = [plan for plan in small_plans.plan(values, folder, tmp_path).plans if not plan.trial]
    assert head.training.learning_rate == pytest.approx(0.1)
    assert head.training.proxy_share is None


def test_a_scaled_rate_trains_the_same_weights_as_that_rate(folder: Path, tmp_path: Path) -> None:
    plan = next(iter(small_plans.plan(experiment(None, training={"precision": "float32"}), folder, tmp_path).plans))

    def curve(**recipe: float) -> list[tuple[str, str, str]]:
        changed = replace(plan, training=plan.training.model_copy(update=recipe), tokens=800)
        place = store.run_folder(tmp_path, changed.run)
        work.perform(changed, place, lambda progress: None, lambda: False)
        rows = csv.DictReader(io.StringIO((place / "curves.csv").read_text(encoding="utf-8")))
        return [(row["step"], row["metric"], row["value"]) for row in rows]

    scaled = curve(learning_rate=0.04, proxy_share=0.25)
    assert scaled == curve(learning_rate=0.02)
    assert scaled != curve(learning_rate=0.04)


def test_only_scaled_rates_are_in_a_runs_identity(folder: Path, tmp_path: Path) -> None:
    """So that trials and other runs keep the names that they had before rates could be scaled."""
    trials, runs = finished(experiment(), folder, tmp_path)
    assert all("proxy_width" not in plan.identity()["training"] for plan in trials)
    assert {plan.identity()["training"]["proxy_width"] for plan in runs} == {16}


def test_one_set_of_trials_serves_every_size(folder: Path, tmp_path: Path) -> None:
    condition = {"name": "larger", "budget": {"parameters": 60_000}, "model": {"width": 48, "heads": 3}}
    trials, runs = finished(experiment(conditions=[condition]), folder, tmp_path)
    assert len(trials) == 3 * len(NAMES)
    assert {(plan.size.dim, plan.training.learning_rate, plan.training.proxy_width) for plan in runs} == {
        (32, 0.02, 16),
        (48, 0.02, 16),
    }


def test_a_condition_with_a_rate_of_its_own_is_not_scaled(folder: Path, tmp_path: Path) -> None:
    condition = {"name": "fixed", "training": {"learning_rate": 0.005}}
    _, runs = finished(experiment(conditions=[condition]), folder, tmp_path)
    rates = {(plan.training.learning_rate, plan.training.proxy_width) for plan in runs}
    assert rates == {(0.02, 16), (0.005, None)}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tuning": None}, "needs trials at a smaller width; give tuning.width and tuning.learning_rate"),
        ({"tuning": {"learning_rate": [0.01, 0.02]}}, "give tuning.width"),
        ({"training": {"learning_rate": 0.01}}, 'tuning.width: 16: .*learning_rate = "transfer"; add that'),
        ({"training": {"learning_rate": "transfers"}}, '"transfers": expected a number or "transfer"'),
        ({"training": {"learning_rate": 0}}, "training.learning_rate: 0: expected more than 0"),
        ({"training": {"learning_rate": True}}, "training.learning_rate: true: expected a number"),
        ({"training": {"proxy_width": 16}}, "training.proxy_width: unknown key"),
        ({"tuning": {**TUNING, "share": 2}}, "tuning.share: 2: expected at most 1"),
    ],
)
def test_what_is_wrong_is_one_line(folder: Path, changes: dict[str, Any], message: str) -> None:
    values = {key: value for key, value in experiment(**changes).items() if value is not None}
    with pytest.raises(InputError, match=message) as raised:
        spec.from_dict(values, folder=folder)
    assert "\n" not in str(raised.value)


def test_trials_have_a_smaller_width_and_a_batch(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"tasks\.things\.tuning\.width: 32: expected less than the width 32"):
        small_plans.plan(experiment({**TUNING, "width": 32}), folder, tmp_path)
    with pytest.raises(InputError, match=r"trials of 300 tokens are less than one batch; expected at least 0\.067"):
        spec.from_dict(experiment({**TUNING, "share": 0.05}), folder=folder)


def _moved(optimizer: str, ratio: float, *, gradient: bool) -> dict[str, torch.Tensor]:
    """By how much a step moves each parameter of a decoder."""
    torch.manual_seed(0)
    model: nn.Module = catalogue.find("decoder").build(Size(16, 2, 1, 24), LIMITS)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_()
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    for parameter in model.parameters():
        parameter.grad = torch.randn_like(parameter) if gradient else torch.zeros_like(parameter)
    recipe = FixedRecipe(optimizer, weight_decay=0.0 if gradient else 0.1)
    trained = optimizers.build(model, recipe, ratio)
    optimizers.set_rate(trained, 0.5)
    trained.step()
    return {name: parameter.detach() - before[name] for name, parameter in model.named_parameters()}


@pytest.mark.parametrize("optimizer", ["muon", "adamw"])
def test_a_step_of_the_hidden_matrices_is_scaled_and_no_other(optimizer: str) -> None:
    usual, scaled = (_moved(optimizer, ratio, gradient=True) for ratio in (1.0, 4.0))
    hidden = hidden_matrices(catalogue.find("decoder").build(Size(16, 2, 1, 24), LIMITS))
    assert 0 < len(hidden) < len(usual)
    for name, change in usual.items():
        factor = {"muon": 1 / 2, "adamw": 1 / 4}[optimizer] if name in hidden else 1.0
        assert torch.allclose(scaled[name], factor * change, rtol=1e-3, atol=2e-7), name


@pytest.mark.parametrize("optimizer", ["muon", "adamw"])
def test_weight_decay_is_the_same_at_every_width(optimizer: str) -> None:
    usual, scaled = (_moved(optimizer, ratio, gradient=False) for ratio in (1.0, 4.0))
    assert any(change.abs().max() > 0 for change in usual.values())
    assert all(torch.allclose(scaled[name], usual[name], rtol=1e-4, atol=1e-7) for name in usual)


@pytest.mark.parametrize(("width", "heads"), [(16, 1), (32, 2), (48, 3), (64, 4), (24, 2), (128, 8)])
def test_a_size_of_another_width_keeps_its_proportions(width: int, heads: int) -> None:
    size = budget.at_width(Size(32, 2, 3, 40, 0.1), width)
    assert (size.dim, size.depth, size.dropout) == (width, 3, 0.1)
    assert size.heads == heads
    assert size.hidden == round(40 * width / 32)
    assert size.dim % (2 * size.heads) == 0


def test_the_page_says_how_trials_differ_from_the_reported_runs(folder: Path) -> None:
    def setup(tuning: dict[str, Any], **changes: object) -> str:
        resolved = spec.from_dict(experiment(tuning, **changes), folder=folder).digestable()
        rows = pd.DataFrame({"key": ["specification"], "value": [json.dumps(resolved)]})
        return tuning_section.setup({"experiment": rows})

    fixed = {"training": {"batch_tokens": 400}}
    assert setup({"learning_rate": [0.01, 0.02]}, **fixed) == "Trials are at the reported size and budget."
    assert setup(TUNING) == "Trials: models of width 16; rates scaled to the width of each run."
    assert setup({"learning_rate": [0.01, 0.02], "share": 0.25}, **fixed) == (
        "Trials: 25% of the training tokens; rates scaled by the square root of the tokens."
    )


@pytest.fixture(scope="module")
def simulation() -> ModuleType:
    return simulation_scripts.load("width_transfer")


@pytest.mark.parametrize("name", NAMES)
def test_in_the_committed_runs_the_best_rate_of_a_narrow_model_serves_wide_ones(
    simulation: ModuleType, name: str
) -> None:
    """It stays within one step of a factor of two; with one rate for all parameters it moves further."""
    points = simulation.points()
    moved = {
        rule: [simulation.moved(points, rule, name, width) for width in (64, 128, 256)] for rule in simulation.RULES
    }
    assert max(map(abs, moved["transfer"])) <= 1
    assert max(map(abs, moved["one rate"])) > max(map(abs, moved["transfer"]))


@pytest.mark.parametrize("name", NAMES)
def test_in_the_committed_runs_the_best_rate_on_half_of_the_tokens_serves_all(
    simulation: ModuleType, name: str
) -> None:
    """It stays within one step of a factor of two; on an eighth, only where it falls with the root of the tokens."""
    points, all_tokens = simulation.token_points(), simulation.TOKENS[-1]
    moved = {tokens: simulation.moved_by_tokens(points, name, tokens) for tokens in simulation.TOKENS[:-1]}
    assert abs(moved[all_tokens // 2]) <= 1
    assert all(abs(steps + math.log2(all_tokens / tokens) / 2) <= 1 for tokens, steps in moved.items())


@pytest.mark.slow
def test_a_committed_run_trained_again_has_its_loss(simulation: ModuleType, tmp_path: Path) -> None:
    plan = simulation.plans(tmp_path)["transfer", "decoder", 64, 0.04]
    work.perform(plan, store.run_folder(tmp_path, plan.run), lambda progress: None, lambda: False)
    committed = {(point.rule, point.family, point.width, point.rate): point.loss for point in simulation.points()}
    loss = simulation._loss(tmp_path, plan.run)
    assert loss == pytest.approx(committed["transfer", "decoder", 64, 0.04], rel=0.1)
