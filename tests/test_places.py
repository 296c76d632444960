"""What nobody reads is left out: states at some places are those of the whole pass, and cost what is counted."""

import pytest
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from whole_models import padded_pairs, perturbed

from archbench.architectures import probes
from archbench.architectures.catalogue import catalogue
from archbench.architectures.components import stack
from archbench.architectures.components.attention import Attention, View
from archbench.architectures.components.positions import RelativeBias, Rotary
from archbench.architectures.components.states import Places
from archbench.architectures.contract import LIMITS
from archbench.architectures.objectives.objective import Pairs

ONE_SEQUENCE = ["decoder", "prefix-decoder", "encoder", "pooled-encoder", "gpt2", "llama", "bert", "modernbert"]
ANSWERS = torch.ones(LIMITS.vocabulary, dtype=torch.bool)


def third(tokens: Tensor, seed: int) -> Tensor:
    return (torch.rand(tokens.numel(), generator=torch.Generator().manual_seed(seed)) < 0.3).nonzero().squeeze(1)


def canvas(name: str, pairs: Pairs) -> Pairs:
    """An encoder reads a canvas of one length, all of which is there."""
    return pairs._replace(target_mask=None) if catalogue.find(name).family == "encoder" else pairs


@pytest.mark.parametrize("padded", [True, False])
@pytest.mark.parametrize("name", [*ONE_SEQUENCE, "encoder-decoder", "shared-encoder-decoder"])
def test_states_at_some_places_are_those_of_the_whole_pass(name: str, padded: bool) -> None:
    model, pairs = perturbed(name, 0.1), canvas(name, padded_pairs())
    pairs = pairs if padded else Pairs(pairs.source, pairs.target)
    for source in (third(pairs.source, 0), None, third(pairs.source, 0)[:0]):
        at = Places(source, third(pairs.target, 1))
        found, whole = model.hidden(*pairs, at), model.hidden(*pairs)
        torch.testing.assert_close(found.target, whole.at(at).target)
        if source is not None and whole.source is not None:
            torch.testing.assert_close(found.source, whole.at(at).source)


@pytest.mark.parametrize("bf16", [False, True], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("padded", [True, False])
@pytest.mark.parametrize("name", ONE_SEQUENCE)
def test_the_last_attention_begins_where_states_are_used(
    name: str, padded: bool, bf16: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, pairs = perturbed(name, 0.1), canvas(name, padded_pairs())
    pairs = pairs if padded else Pairs(pairs.source, pairs.target)
    rows, width = pairs.target.shape
    begun: list[int] = []
    begin = stack._begin
    monkeypatch.setattr(stack, "_begin", lambda *given: begun.append(begin(*given)) or begun[-1])

    def found(at: Places) -> list[Tensor]:
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            states = model.hidden(*pairs, at).target.float()
        wanted = [parameter for parameter in model.parameters() if parameter.requires_grad]
        loss = (states * torch.linspace(-1, 1, states.shape[-1])).square().sum()
        return [states, *torch.autograd.grad(loss, wanted, allow_unused=True, materialize_grads=True)]

    for picked in (torch.arange(rows) * width + width - 1, torch.arange(rows * width)):
        at = Places(None, picked)
        mine = found(at)
        with monkeypatch.context() as patch:
            patch.setattr(stack, "LATE", 2.0)
            plain = found(at)
        for one, other in zip(mine, plain, strict=True):
            assert (one - other).norm() <= (0.02 if bf16 else 1e-5) * other.norm() + 1e-6
    assert begun[0] > 0 and begun[1] == 0, begun


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("kind", ["plain", "bias", "window", "padding", "prefix", "own positions"])
def test_late_queries_see_what_they_would_in_a_whole_pass(kind: str, causal: bool) -> None:
    torch.manual_seed(0)
    own = Rotary(8) if kind == "own positions" else None
    attention = Attention(32, 4, 2, bias=True, window=2 if kind == "window" else None, positions=own)
    torch.nn.init.normal_(attention.output.weight)
    places = torch.arange(7)[None]
    geometry = RelativeBias(4, True)(places, places) if kind == "bias" else Rotary(8)(places, places)
    present = torch.arange(7) < torch.tensor([[7], [6], [3]]) if kind == "padding" else None
    prefix = torch.tensor([[6], [2], [0]]) if kind == "prefix" else None
    view = View(places, places, causal, present=present, prefix=prefix, rotation=geometry.rotation, bias=geometry.bias)
    x = torch.randn(3, 7, 32)
    (late, seen), (whole, all_seen) = attention(x, view, None, 5), attention(x, view)
    torch.testing.assert_close(late, whole[:, 5:])
    torch.testing.assert_close(seen[:2], all_seen[:2])


def test_attention_that_is_watched_or_another_begins_at_the_first_position() -> None:
    model = perturbed("decoder", 0.1)
    block, picked = model.stack.blocks[-1], torch.tensor([7, 15])
    assert stack._begin(block, picked, 8) == 7
    assert stack._begin(block, picked.to("meta"), 8) == 0
    assert stack._begin(block, torch.tensor([1, 15]), 8) == 0  # not worth it
    assert stack._begin(block, picked[:0], 8) == 7
    with probes.watched(model):
        assert stack._begin(block, picked, 8) == 0
    with FlopCounterMode(display=False):
        assert stack._begin(block, picked, 8) == 0
    handle = block.attention.register_forward_hook(lambda *given: None)
    assert stack._begin(block, picked, 8) == 0
    handle.remove()
    kind = type(block.attention)
    block.attention.__class__ = type("Other", (kind,), {"forward": lambda self, *given: kind.forward(self, *given)})
    assert stack._begin(block, picked, 8) == 0


@pytest.mark.parametrize("native", [True, False])
@pytest.mark.parametrize("name", ONE_SEQUENCE)
def test_the_loss_and_its_gradient_are_those_of_the_whole_pass(
    name: str, native: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, pairs = perturbed(name, 0.1), padded_pairs()

    def gradients() -> list[Tensor]:
        loss = model.objective.loss(model, pairs, ANSWERS, torch.Generator().manual_seed(1), native, 0.0)
        wanted = [parameter for parameter in model.parameters() if parameter.requires_grad]
        return [loss, *torch.autograd.grad(loss, wanted, allow_unused=True, materialize_grads=True)]

    found, nats = gradients(), model.objective.log_likelihood(model, pairs, ANSWERS)[0]
    whole = model.hidden
    monkeypatch.setitem(model.__dict__, "hidden", lambda *inputs: whole(*inputs[:4]).at(inputs[4]))
    for mine, plain in zip(found, gradients(), strict=True):
        torch.testing.assert_close(mine, plain, atol=2e-6, rtol=2e-5)
    torch.testing.assert_close(nats, model.objective.log_likelihood(model, pairs, ANSWERS)[0])


@pytest.mark.parametrize("name", ["decoder", "prefix-decoder", "encoder", "gpt2", "bert"])
def test_a_pass_with_few_outputs_costs_what_is_counted(name: str) -> None:
    model, pairs = perturbed(name, 0.1), padded_pairs()
    source, target = pairs.source, pairs.target
    at = Places(None, torch.arange(len(target)) * target.shape[1])
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter, torch.no_grad():
        model.logits(model.hidden(source, target, None, None, at).target)
    counted = counter.get_total_flops()
    executed = len(source) * model.flops(source.shape[1], target.shape[1], 1.0).executed
    assert abs(executed - counted) <= 0.01 * counted
    assert executed < 0.95 * len(source) * model.flops(source.shape[1], target.shape[1], target.shape[1]).executed
