"""What nobody reads is left out: states at some places are those of the whole pass, and cost what is counted."""

import pytest
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from whole_models import padded_pairs, perturbed

from archbench.architectures.catalogue import catalogue
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
