"""Looking into a model: the weights are those of the model's own attention, and a removed head is really gone."""

from typing import Any

import pytest
import torch
from whole_models import padded_pairs, perturbed

from archbench.architectures import probes
from archbench.architectures.catalogue import catalogue
from archbench.architectures.components.attention import Attention, AttentionContext
from archbench.architectures.components.mask import CAUSAL
from archbench.architectures.components.stack import Block
from archbench.architectures.objectives.objective import Batch

NAMES = [name for name in catalogue.names() if not name.startswith("transformers:")]


def read(model: Any, pairs: Batch) -> torch.Tensor:
    states: torch.Tensor = model.hidden(*model.objective.example_inputs(model, pairs)).target
    return states


@pytest.mark.parametrize("name", NAMES)
def test_the_weights_times_the_values_are_what_attention_gave(name: str) -> None:
    model, calls = perturbed(name, 0.1).eval(), []

    def note(attention: torch.nn.Module, inputs: object, result: tuple[torch.Tensor, Any]) -> None:
        cache = result[1]
        calls.append((attention, attention.project_keys_values(cache) if isinstance(cache, torch.Tensor) else cache))

    for module in model.modules():
        if isinstance(module, Attention):
            module.register_forward_hook(note)
    with probes.watched(model) as layers, torch.no_grad():
        read(model, padded_pairs())
    recorded = []
    for layer in layers:
        names: dict[probes.Part, str] = {"self": "attention", "cross": "cross-attention"}
        recorded += [(weights, layer.added[names[part]]) for part, weights in layer.weights.items()]
    assert len(recorded) == len(calls)
    for (weights, added), (attention, keys_values) in zip(recorded, calls, strict=True):
        torch.testing.assert_close(weights.sum(-1), torch.ones_like(weights[..., 0]))
        values = keys_values.values.repeat_interleave(attention.heads // attention.kv_heads, 1)
        again = attention.output((weights @ values).transpose(1, 2).flatten(2))
        torch.testing.assert_close(again, added, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_looking_changes_nothing_and_leaves_nothing(name: str) -> None:
    model, pairs = perturbed(name, 0.1).eval(), padded_pairs()
    with torch.no_grad():
        before = read(model, pairs)
        with probes.watched(model):
            during = read(model, pairs)
        after = read(model, pairs)
    assert torch.equal(before, during) and torch.equal(before, after)
    for module in model.modules():
        assert not module._forward_hooks and not module._forward_pre_hooks


@pytest.mark.parametrize("name", NAMES)
def test_a_removed_head_is_one_whose_output_weights_are_zero(name: str) -> None:
    model, pairs = perturbed(name, 0.1).eval(), padded_pairs()
    for site in probes.sites(model):
        attention, head = site.attention, site.attention.heads - 1
        with torch.no_grad(), probes.without(attention, head):
            removed = read(model, pairs)
        weight = attention.output.weight.detach().clone()
        with torch.no_grad():
            whole = read(model, pairs)
            attention.output.weight[:, head * attention.head_dim : (head + 1) * attention.head_dim] = 0
            zeroed = read(model, pairs)
            attention.output.weight.copy_(weight)
        torch.testing.assert_close(removed, zeroed)
        assert not torch.allclose(removed, whole)


@pytest.mark.parametrize("name", NAMES)
def test_the_stream_before_a_block_and_what_is_added_is_the_stream_after_it(name: str) -> None:
    model = perturbed(name, 0.1).eval()
    with probes.watched(model) as layers, torch.no_grad():
        read(model, padded_pairs())
    family = model.family
    assert [layer.axis for layer in layers] == sorted(layer.axis for layer in layers)  # a source before its target
    assert {layer.axis for layer in layers} == ({"source", "target"} if family == "encoder-decoder" else {"both"})
    for layer in layers:
        wiring = type(layer.block.around_attention).__name__
        if wiring == "PreNorm":
            assert layer.after is not None
            torch.testing.assert_close(layer.before + sum(layer.added.values()), layer.after, rtol=1e-4, atol=1e-5)


def test_masks_are_seen_in_the_weights() -> None:
    torch.manual_seed(0)
    attention = Attention(16, 2)
    places = torch.arange(5)[None]
    present = torch.tensor([[True, True, True, False, True]])
    context = AttentionContext(places, places, CAUSAL, present=present)
    q = torch.randn(1, 2, 5, 8)
    from archbench.architectures.components.key_values import KeyValues

    weights = probes.weights(attention, q, KeyValues(torch.randn_like(q), torch.randn_like(q)), context)
    assert (weights.triu(1) == 0).all() and (weights[..., 3] == 0).all()


@pytest.mark.parametrize("name", ["decoder", "encoder", "encoder-decoder"])
def test_what_is_shown_predicts_the_target(name: str) -> None:
    """The states of one pass over what is shown are those that the likelihood takes, where it takes one pass."""
    model, pairs = perturbed(name, 0.1).eval(), padded_pairs()
    inputs = model.objective.example_inputs(model, pairs)
    allowed_tokens = torch.ones(model.head.weight.shape[0], dtype=torch.bool)
    with torch.no_grad():
        logits = model(*inputs).float().log_softmax(-1)
        if name == "encoder":
            first_tokens = Batch(pairs.source, pairs.target[:, :1], pairs.source_mask, None)
            logits, pairs = (
                model(*model.objective.example_inputs(model, first_tokens)).float().log_softmax(-1),
                first_tokens,
            )
        scores = logits[:, : pairs.target.shape[1]].gather(-1, pairs.target[..., None]).squeeze(-1)
        if pairs.target_mask is not None:
            scores = scores.masked_fill(~pairs.target_mask, 0)
        expected = model.objective.log_likelihood(model, pairs, allowed_tokens)[0]
    torch.testing.assert_close(scores.sum(1).double(), expected, rtol=1e-4, atol=1e-4)


def test_blocks_without_our_attention_have_no_site() -> None:
    model = perturbed("decoder", 0.1)
    assert len(probes.sites(model)) == sum(isinstance(module, Block) for module in model.modules())
