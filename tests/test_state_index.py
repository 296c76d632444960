"""What nobody reads is left out: states at some places are those of the whole pass, and cost what is counted."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from whole_models import padded_pairs, perturbed

from archbench.architectures.catalogue import catalogue
from archbench.architectures.components import stack
from archbench.architectures.components.attention import Attention, AttentionContext
from archbench.architectures.components.positions import RelativeBias, Rotary
from archbench.architectures.components.states import StateIndex
from archbench.architectures.contract import LIMITS
from archbench.architectures.objectives.objective import Batch, mean_loss

ONE_SEQUENCE = ["decoder", "prefix-decoder", "encoder", "pooled-encoder", "gpt2", "llama", "bert", "modernbert"]
ANSWERS = torch.ones(LIMITS.vocabulary, dtype=torch.bool)


def third(tokens: Tensor, seed: int) -> Tensor:
    return (torch.rand(tokens.numel(), generator=torch.Generator().manual_seed(seed)) < 0.3).nonzero().squeeze(1)


def canvas(name: str, pairs: Batch) -> Batch:
    """An encoder reads a canvas of one length, all of which is there."""
    return pairs._replace(target_mask=None) if catalogue.find(name).family == "encoder" else pairs


@pytest.mark.parametrize("padded", [True, False])
@pytest.mark.parametrize("name", [*ONE_SEQUENCE, "encoder-decoder", "shared-encoder-decoder"])
def test_states_at_some_places_are_those_of_the_whole_pass(name: str, padded: bool) -> None:
    model, pairs = perturbed(name, 0.1), canvas(name, padded_pairs())
    pairs = pairs if padded else Batch(pairs.source, pairs.target)
    for source in (third(pairs.source, 0), None, third(pairs.source, 0)[:0]):
        at = StateIndex(source, third(pairs.target, 1))
        selected, whole = model.hidden(*pairs, at), model.hidden(*pairs)
        torch.testing.assert_close(selected.target, whole.at(at).target)
        if source is not None and whole.source is not None:
            torch.testing.assert_close(selected.source, whole.at(at).source)


@pytest.mark.parametrize("bf16", [False, True], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("padded", [True, False])
@pytest.mark.parametrize("name", ONE_SEQUENCE)
def test_scoring_has_queries_only_from_the_first_position_that_is_read(
    name: str, padded: bool, bf16: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, pairs = perturbed(name, 0.1), canvas(name, padded_pairs())
    pairs = pairs if padded else Batch(pairs.source, pairs.target)
    rows, width = pairs.target.shape
    first_queries: list[int] = []
    narrowed = stack._narrowed

    def noted(*arguments: Any) -> Any:
        context, index = narrowed(*arguments)
        first_queries.append(context.first_query)
        return context, index

    monkeypatch.setattr(stack, "_narrowed", noted)

    @torch.no_grad()
    def states_at(at: StateIndex) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            states: Tensor = model.hidden(*pairs, at).target.float()
        return states

    for selected in (torch.arange(rows) * width + width - 1, torch.arange(rows * width)):
        late = states_at(StateIndex(None, selected))
        with monkeypatch.context() as patch:
            patch.setattr(stack, "LATE", 2.0)
            plain = states_at(StateIndex(None, selected))
        assert (late - plain).norm() <= (0.02 if bf16 else 1e-5) * plain.norm() + 1e-6
    assert first_queries[0] > 0 and first_queries[1] == first_queries[3] == 0, first_queries


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("kind", ["plain", "bias", "window", "padding", "prefix", "own positions"])
def test_late_queries_see_what_they_would_in_a_whole_pass(kind: str, causal: bool) -> None:
    torch.manual_seed(0)
    rotary = Rotary(8) if kind == "own positions" else None
    attention = Attention(32, 4, 2, bias=True, window=2 if kind == "window" else None, positions=rotary)
    torch.nn.init.normal_(attention.output.weight)
    places = torch.arange(7)[None]
    geometry = RelativeBias(4, True)(places, places) if kind == "bias" else Rotary(8)(places, places)
    present = torch.arange(7) < torch.tensor([[7], [6], [3]]) if kind == "padding" else None
    prefix = torch.tensor([[6], [2], [0]]) if kind == "prefix" else None
    context = AttentionContext(
        places, places, causal, present=present, prefix=prefix, rotation=geometry.rotation, bias=geometry.bias
    )
    x = torch.randn(3, 7, 32)
    (late, seen), (whole, all_seen) = attention(x, context.from_query(5)), attention(x, context)
    torch.testing.assert_close(late, whole[:, 5:])
    torch.testing.assert_close(seen[:2], all_seen[:2])


def test_training_and_other_kinds_of_attention_have_a_query_at_every_position() -> None:
    model, places = perturbed("decoder", 0.1), torch.arange(8)[None]
    block, selected, context = model.stack.blocks[-1], torch.tensor([7, 15]), AttentionContext(places, places, True)

    def first(index: Tensor) -> int:
        return stack._narrowed(block, context, index, 8)[0].first_query

    assert first(selected) == 0  # in training
    with torch.no_grad():
        assert first(selected) == 7 and first(selected[:0]) == 7
        assert first(selected.to("meta")) == 0
        assert first(torch.tensor([1, 15])) == 0  # not worth it
        kind = type(block.attention)
        block.attention.__class__ = type("Other", (kind,), {})
        assert first(selected) == 0


@pytest.mark.parametrize("native", [True, False])
@pytest.mark.parametrize("name", ONE_SEQUENCE)
def test_the_loss_and_its_gradient_are_those_of_the_whole_pass(
    name: str, native: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, pairs = perturbed(name, 0.1), padded_pairs()

    def gradients() -> list[Tensor]:
        loss = mean_loss(model, pairs, ANSWERS, torch.Generator().manual_seed(1), native, 0.0)
        parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        return [loss, *torch.autograd.grad(loss, parameters, allow_unused=True, materialize_grads=True)]

    grads, log_p = gradients(), model.objective.log_likelihood(model, pairs, ANSWERS)[0]
    whole = model.hidden
    monkeypatch.setitem(model.__dict__, "hidden", lambda *inputs: whole(*inputs[:4]).at(inputs[4]))
    for value, plain in zip(grads, gradients(), strict=True):
        torch.testing.assert_close(value, plain, atol=2e-6, rtol=2e-5)
    torch.testing.assert_close(log_p, model.objective.log_likelihood(model, pairs, ANSWERS)[0])


@pytest.mark.parametrize("name", ["decoder", "prefix-decoder", "encoder", "gpt2", "bert"])
def test_a_pass_with_few_outputs_costs_what_is_counted(name: str) -> None:
    model, pairs = perturbed(name, 0.1), padded_pairs()
    source, target = pairs.source, pairs.target
    at = StateIndex(None, torch.arange(len(target)) * target.shape[1])
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        model.logits(model.hidden(source, target, None, None, at).target)
    counted = counter.get_total_flops()
    executed = len(source) * model.flops(source.shape[1], target.shape[1], 1.0).executed
    assert abs(executed - counted) <= 0.01 * counted
    assert executed < 0.95 * len(source) * model.flops(source.shape[1], target.shape[1], target.shape[1]).executed
