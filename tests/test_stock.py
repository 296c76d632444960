"""Stock models of ``transformers`` as architectures: the function, the size, the cost and the training of ours.

That they hold the contract is tested where every name in the catalogue is, in ``test_contract``.
"""

import json
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from interop_cases import assert_close, randomised
from torch import Tensor

from archbench.architectures.catalogue import catalogue
from archbench.architectures.contract import LIMITS, sequences
from archbench.architectures.conversion.convert import from_transformers
from archbench.architectures.families.size import Limits, Size, count, layers
from archbench.architectures.families.variant import STOCK
from archbench.architectures.formats import stock
from archbench.architectures.kernels import selection
from archbench.architectures.objectives.objective import Batch, mean_loss
from archbench.runs.budgets import budget
from archbench.runs.execution import work
from archbench.runs.experiment import spec
from archbench.runs.planning import matrix
from archbench.runs.plans.messages import Interrupted
from archbench.runs.plans.plan import Plan
from archbench.runs.scoring import finished, predict
from archbench.runs.updates import muon, optimizer
from archbench.runs.updates.muon import hidden_matrices
from archbench.tasks.base.errors import InputError
from archbench.tasks.base.example import BOS

NAMES = tuple(STOCK)
SIZE = Size(dim=32, heads=2, depth=2, hidden=96)  # GPT-2's first feed-forward matrix is as wide as its fused one
LENGTHS = (np.array([5.0, 7.0, 3.0]), np.array([3.0, 6.0, 4.0]))


@dataclass(frozen=True)
class CurveRecipe:
    optimizer: str
    learning_rate: float = 0.01
    weight_decay: float = 0.1


def ours(name: str) -> str:
    """Our variant of the same model."""
    return name.removeprefix("transformers:")


def stock_and_own(name: str, random: bool = True, seed: int = 0) -> tuple[Any, Any]:
    """A stock model in our family, and our own model with a copy of its weights."""
    torch.manual_seed(seed)
    theirs = stock.created(name, SIZE, LIMITS)
    theirs = randomised(theirs, seed) if random else theirs.eval()
    return stock.wrap(theirs, LIMITS.target_length), from_transformers(theirs, LIMITS.target_length)


def masked(rows: int, width: int, left: bool, seed: int) -> tuple[Tensor, Tensor]:
    """Random tokens of rows that are width, width - 1, … long, padded on one side, and their mask."""
    mask = torch.arange(width) < torch.arange(width, width - rows, -1)[:, None]
    return sequences(rows, width, seed), mask.flip(1) if left else mask


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("left", [False, True])
@torch.no_grad()
def test_logits_are_those_of_our_model_with_the_same_weights(name: str, left: bool) -> None:
    wrapped, own_model = stock_and_own(name)
    source, source_mask = masked(3, 7, left, seed=1)
    target, target_mask = masked(3, 6, left, seed=2)
    assert_close(wrapped(source, target), own_model(source, target))
    assert_close(wrapped(None, target), own_model(None, target))
    assert_close(
        wrapped(source, target, source_mask, target_mask),
        own_model(source, target, source_mask, target_mask),
        target_mask,
    )


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_decoding_from_a_cache_is_that_of_our_model(name: str) -> None:
    models = stock_and_own(name)
    source, mask = masked(3, 7, left=True, seed=1)
    caches = [model.prefill(source, mask) for model in models]
    for tokens in (torch.full((3, 1), BOS), sequences(3, 3, seed=2), sequences(3, 1, seed=3)):
        (logits, expected), caches = zip(
            *(model.decode(tokens, cache) for model, cache in zip(models, caches, strict=True)), strict=True
        )
        assert_close(logits, expected)


@pytest.mark.parametrize("name", NAMES)
def test_attention_is_the_fused_one_and_initial_weights_are_their_own(name: str) -> None:
    torch.manual_seed(3)
    model = catalogue.find(name).build(SIZE, LIMITS)
    torch.manual_seed(3)
    theirs = stock.created(name, SIZE, LIMITS)
    assert theirs.config._attn_implementation == "sdpa"
    expected = {id(p): p for p in theirs.parameters()}.values()
    parameters = list(model.parameters())
    assert len(parameters) == len(expected)
    key = lambda p: (tuple(p.shape), p.detach().flatten().tolist())  # noqa: E731
    assert sorted(map(key, parameters)) == sorted(map(key, expected))


def leave_nothing_out(patch: pytest.MonkeyPatch) -> None:
    """Count our last feed-forward network at every position, as stock models run theirs."""
    patch.setattr(selection, "_can_select", lambda stack: False)


@pytest.mark.parametrize("name", NAMES)
def test_size_and_costs_are_those_of_our_model(name: str) -> None:
    wrapped, expected = (budget.blank(catalogue.find(n).build, SIZE, LIMITS) for n in (name, ours(name)))
    assert all(p.device.type == "meta" for p in wrapped.parameters())
    assert layers(wrapped) == layers(expected) == SIZE.depth * (2 if ours(name) == "t5" else 1)
    assert replace(count(wrapped), buffers=0) == replace(
        count(expected), buffers=0
    )  # BERT of transformers has positions
    assert optimizer.flops(wrapped) == optimizer.flops(expected) > 0
    for native in (True, False):
        costs = [budget.flops_per_token(LENGTHS, native)(model) for model in (wrapped, expected)]
        with pytest.MonkeyPatch.context() as patch:
            leave_nothing_out(patch)
            assert costs[0] == budget.flops_per_token(LENGTHS, native)(expected)
        assert (costs[0] > costs[1] > 0) if ours(name) != "t5" else (costs[0] == costs[1] > 0)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("axis", "target"), [("parameters", 40_000), ("parameters", 500_000), ("flops", 3e5)])
def test_a_budget_fits_the_same_size(name: str, axis: str, target: float) -> None:
    limits = Limits(vocabulary=200, source_length=12, target_length=8)
    measure = budget.parameters if axis == "parameters" else budget.flops_per_token(LENGTHS, native=True)
    coarse = target > budget.COARSE_FROM and axis == "parameters"
    start = Size(128 if coarse else 48, 2, 1, 1)
    with pytest.MonkeyPatch.context() as patch:
        leave_nothing_out(patch)
        sizes = [
            budget.fit(catalogue.find(n).build, start, limits, measure, target, coarse, n) for n in (name, ours(name))
        ]
    assert sizes[0] == sizes[1]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("recipe", ["muon", "adamw"])
def test_training_from_the_same_weights_gives_the_same_losses(
    name: str, recipe: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over 50 steps on the same batches. Muon's products are in float32: bfloat16 magnifies any other rounding."""
    monkeypatch.setattr(muon, "_product_dtype", lambda device: torch.float32)
    curves = [losses(model, CurveRecipe(recipe)) for model in stock_and_own(name, random=False)]
    assert curves[0] == pytest.approx(curves[1], abs=1e-4)


def losses(model: Any, recipe: CurveRecipe) -> list[float]:
    """The training losses of 50 steps, after which the first of five batches is likelier than it was."""
    trained, generator, history = optimizer.build(model, recipe), torch.Generator().manual_seed(0), []
    allowed_tokens = torch.ones(LIMITS.vocabulary, dtype=torch.bool)
    batches = [Batch(sequences(4, 5, seed=i), sequences(4, 5, seed=10 + i)) for i in range(5)]
    before = model.objective.log_likelihood(model, batches[0], allowed_tokens)[0].mean().item()
    for step in range(50):
        optimizer.set_rate(trained, optimizer.schedule(step / 50, 0.1))
        loss = mean_loss(model, batches[step % 5], allowed_tokens, generator, native=True)
        loss.backward()
        trained.step()
        trained.zero_grad()
        history.append(loss.item())
    assert model.objective.log_likelihood(model, batches[0], allowed_tokens)[0].mean().item() > before + 1, (
        "nothing learned"
    )
    return history


def test_queries_keys_and_values_of_gpt2_are_trained_apart() -> None:
    matrices = hidden_matrices(catalogue.find("transformers:gpt2").build(SIZE, LIMITS))
    splits = {name.split(".", 4)[-1]: matrix.column_splits for name, matrix in matrices.items()}
    assert splits == {
        "attn.c_attn.weight": (32, 32, 32),
        "attn.c_proj.weight": (32,),
        "mlp.c_fc.weight": (96,),
        "mlp.c_proj.weight": (32,),
    }


def test_the_text_tells_models_and_releases_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = {name: catalogue.find(name).text for name in NAMES}
    assert len(set(texts.values())) == len(NAMES)
    monkeypatch.setattr("importlib.metadata.version", lambda package: "0")
    assert all(catalogue.find(name).text != text for name, text in texts.items())


def planned(folder: Path, architecture: str) -> Plan:
    rows = [f"{a} {b} {c}\t{c} {b} {a}" for a in "abcdef" for b in "ghijk" for c in "lmnop"]
    (folder / "turned.tsv").write_text("\n".join(["text\tturned", *rows]) + "\n")
    experiment = spec.from_dict(
        {
            "name": "stock",
            "architectures": [architecture],
            "budget": {"parameters": 20_000, "tokens": 4_000},
            "model": {"width": 32},
            "training": {"batch_tokens": 400, "learning_rate": 0.01, "dropout": 0.1, "precision": "bf16"},
            "tasks": [
                {
                    "kind": "translation",
                    "name": "turned",
                    "data": "turned.tsv",
                    "columns": {"source": "text", "target": "turned"},
                    "tokenizer": "word",
                    "source_length": 4,
                    "target_length": 5,
                    "test_examples": 6,
                }
            ],
        },
        folder=folder,
    )
    options = {"device": "cpu", "deterministic": False, "cache": folder / "cache", "root": folder}
    (plan,) = matrix.plan(experiment, **options, say=lambda line: None).plans
    return plan


def perform(plan: Plan, root: Path, steps: int | None = None) -> Path:
    """Does a run, or the first ``steps`` steps of it."""
    place, calls = root / "runs" / plan.run, iter(range(10**9))
    work.perform(plan, place, lambda progress: None, lambda: steps is not None and next(calls) >= steps)
    return place


@pytest.mark.parametrize("name", NAMES)
def test_a_run_goes_from_plan_to_prediction_and_is_the_same_after_an_interruption(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = planned(tmp_path, name)
    assert plan.counts.parameters == pytest.approx(20_000, rel=0.01)
    whole = perform(plan, tmp_path / "whole")
    with pytest.raises(Interrupted):
        perform(plan, tmp_path / "parts", steps=4)
    parts = perform(plan, tmp_path / "parts")
    assert (parts / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()
    assert not (whole / "variant.py").exists(), "no file defines it"
    scores = json.loads((whole / "scores.json").read_text())
    assert scores and all(math.isfinite(score["value"]) for score in scores)
    answer = predict.predict(whole, "a g l")
    assert answer.text and set(answer.text) <= set("abcdefghijklmnop ")
    monkeypatch.setattr("importlib.metadata.version", lambda package: "0")
    with pytest.raises(InputError, match=f"{name} has changed since"):
        finished.read(whole)
