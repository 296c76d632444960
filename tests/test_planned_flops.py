"""FLOPs and tables of planned models are checked at the size and lengths that a comparison gives them."""

from dataclasses import replace

import pytest
import torch
from compute_faults import declare_tables, last_matrices, patch, small_formula
from torch import nn

from archbench.architectures import contract
from archbench.architectures.catalogue import catalogue
from archbench.architectures.components.feedforward import GatedFeedForward
from archbench.architectures.contract import compute
from archbench.architectures.families.size import Limits, Size
from archbench.architectures.objectives.masked import Masked

PHRASES = Size(dim=64, heads=2, depth=5, hidden=180), Limits(vocabulary=512, source_length=20, target_length=24)
CHARACTERS = Size(128, 4, 4, 340, dropout=0.1), Limits(vocabulary=96, source_length=64, target_length=64)


def problem(build, plan: tuple[Size, Limits], native: bool) -> str | None:
    (result,) = contract.results(build, checks=[contract.planned(*plan, native)])
    assert result.name == "planned_flops_are_counted" and contract.explanation(result.check)
    return result.problem


@pytest.mark.parametrize("native", [True, False], ids=["native", "target"])
@pytest.mark.parametrize("name", catalogue.names())
def test_built_in_variants_cost_what_is_planned(name: str, native: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compute, "fresh", lambda *inputs, **named: pytest.fail("needs memory"))
    assert problem(catalogue.find(name).build, PHRASES, native) is None


@pytest.mark.parametrize("name", ["decoder", "encoder", "encoder-decoder", "modernbert"])
def test_wider_models_over_longer_texts_cost_what_is_planned(name: str) -> None:
    assert problem(catalogue.find(name).build, CHARACTERS, native=True) is None


@pytest.mark.parametrize("name", ["decoder", "encoder", "encoder-decoder"])
def test_a_formula_for_small_models_alone_is_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    build = patch(GatedFeedForward, "flops", small_formula)(monkeypatch, catalogue.find(name).build)
    assert problem(build, PHRASES, native=True) is None
    message = problem(build, CHARACTERS, native=True)
    assert message is not None and message.startswith(
        "width 128, heads 4, depth 4, hidden 340, source 64, target 64, native"
    )


def test_fewer_positions_with_a_loss_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    plant = patch(Masked, "loss_tokens", lambda original: lambda *inputs: original(*inputs) * 0.7)
    message = problem(plant(monkeypatch, catalogue.find("encoder").build), PHRASES, native=True)
    assert message is not None and "positions have a loss by formula" in message


def test_a_visible_share_for_small_models_alone_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def make(original):
        def flops(self, *amounts):
            counted = original(self, *amounts)
            wide = self.embedding.weight.shape[1] > 32
            return replace(counted, visible_pairs=counted.visible_pairs * (0.95 if wide else 1.0))

        return flops

    build = catalogue.find("decoder").build
    plant = patch(type(build(*PHRASES)), "flops", make)
    message = problem(plant(monkeypatch, build), PHRASES, native=True)
    assert message is not None and "with the pairs that attention uses they are" in message


def test_tables_are_explained_at_the_planned_size(monkeypatch: pytest.MonkeyPatch) -> None:
    build = declare_tables(last_matrices)(monkeypatch, catalogue.find("decoder").build)
    message = problem(build, CHARACTERS, native=True)
    assert message is not None and "leave other weights out of `tables()`" in message


@pytest.mark.parametrize("name", ["decoder", "encoder"])
def test_a_model_that_reads_its_values_is_run_on_real_weights(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Reads(nn.Module):
        def forward(self, x):
            assert torch.isfinite(x.detach().sum()).item()
            return x

    def built(size, limits):
        model = catalogue.find(name).build(size, limits)
        model.embedding.norm = Reads()
        return model

    sizes: list[Size] = []
    original = compute.fresh
    monkeypatch.setattr(compute, "fresh", lambda *i, **named: sizes.append(named["size"]) or original(*i, **named))
    assert problem(built, PHRASES, native=True) is None and set(sizes) == {PHRASES[0]}
    fewer = replace(PHRASES[1], target_length=12)
    build = patch(GatedFeedForward, "flops", lambda original: lambda self, n: original(self, n) * 0.8)
    message = problem(build(monkeypatch, built), (PHRASES[0], fewer), native=True)
    assert message is not None and "source 20, target 12" in message
