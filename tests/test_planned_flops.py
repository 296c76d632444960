"""FLOPs and tables of planned models are checked at the size and lengths that a comparison gives them."""

from dataclasses import replace

import pytest
import torch
from faults.compute import CHARACTERS, PHRASES, times
from torch import nn

from archbench.architectures import contract
from archbench.architectures.catalogue import catalogue
from archbench.architectures.components.feedforward import GatedFeedForward
from archbench.architectures.contract.counts import compute
from archbench.architectures.families.size import Limits, Size


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
    build = times(GatedFeedForward, 0.8)
    message = problem(build(monkeypatch, built), (PHRASES[0], fewer), native=True)
    assert message is not None and "source 20, target 12" in message
