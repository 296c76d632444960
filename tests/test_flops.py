"""Model FLOPs count the query-key pairs that are seen: causality, a prefix, a window."""

from functools import partial

import numpy as np
import pytest
import torch

from archbench.architectures import contract
from archbench.architectures.catalogue import catalogue
from archbench.architectures.components.attention import Attention, AttentionContext
from archbench.architectures.components.feedforward import NoFeedForward
from archbench.architectures.components.mask import CAUSAL
from archbench.architectures.components.numbers import PARTS
from archbench.architectures.components.stack import Block, Stack
from archbench.architectures.contract import sequences
from archbench.architectures.families.size import Limits, Size


@pytest.mark.parametrize("name", ["decoder", "prefix-decoder", "encoder", "encoder-decoder"])
def test_a_window_costs_less_and_executes_the_same(name: str) -> None:
    model = catalogue.find(name).build(contract.SIZE, contract.LIMITS)
    before = model.flops(40.0, 30.0, 30.0)
    for block in model.modules():
        if isinstance(block, Block):
            block.attention.window = 4
    after = model.flops(40.0, 30.0, 30.0)
    assert after.executed == before.executed and after.model < before.model


@pytest.mark.parametrize("source, target", [(7, 4), (1, 6), (5, 1)])
@pytest.mark.parametrize("name", ["decoder", "prefix-decoder", "decoder-no-mask", "encoder", "encoder-decoder"])
def test_model_flops_count_the_pairs_that_the_masks_of_the_model_show(name: str, source: int, target: int) -> None:
    model = catalogue.find(name).build(contract.SIZE, contract.LIMITS)
    hidden: list[float] = []  # FLOPs of the pairs that each layer multiplies and does not see

    def count(module: Attention, inputs: tuple[torch.Tensor, AttentionContext], output: object) -> None:
        states, context = inputs[:2]
        visible = context.mask(module.window)
        if visible is None:
            return
        hidden.append(4.0 * module.inner * (states.shape[1] ** 2 - int(visible[0].sum())))

    for module in model.modules():
        if isinstance(module, Attention):
            module.register_forward_hook(count)
    model(sequences(1, source), sequences(1, target, seed=1))
    counted = model.flops(float(source), float(target), float(target))
    assert counted.executed - counted.model == sum(hidden)
    assert bool(sum(hidden)) == (name in ("decoder", "prefix-decoder") or (name == "encoder-decoder" and target > 1))


def test_a_stack_costs_exactly_what_its_blocks_cost() -> None:
    model = catalogue.find("encoder-decoder").build(Size(32, 2, 3, 48), Limits(40, 8, 8))
    for stack in (module for module in model.modules() if isinstance(module, Stack)):
        parts = [block.flops(7, partial(CAUSAL.pairs, 0, 7), 5, 35) for block in stack.blocks]
        assert stack.flops(7, partial(CAUSAL.pairs, 0, 7), 5, 35) == sum(parts)


def test_no_feed_forward_network_costs_nothing() -> None:
    assert NoFeedForward().flops(100) == 0


@pytest.mark.parametrize(
    "name", ["decoder", "prefix-decoder", "encoder", "encoder-decoder", "bert", "t5", "gpt2", "llama"]
)
def test_the_parts_of_a_model_count_all_its_flops(name: str) -> None:
    model = catalogue.find(name).build(contract.SIZE, contract.LIMITS)
    flops = model.flops(np.array([20.0, 7.0]), np.array([10.0, 3.0]), np.array([10.0, 2.0]))
    assert list(flops.parts) == list(PARTS)
    assert sum(flops.parts.values()) == pytest.approx(flops.model)
    assert flops.parts["output"] == pytest.approx(model.head.flops(np.array([10.0, 2.0])))
    assert all(part.min() > 0 for part in flops.parts.values())
    trained = model.objective.training_flops(model, 20.0, 10.0, True)
    assert sum(trained.parts.values()) == pytest.approx(trained.model)


class Doubled(Stack):
    """A stack of a variant: its blocks run twice, its count is a number for an array of lengths."""

    def flops(self, tokens, *amounts, selected=None):
        return 10.0 * tokens + np.array(2.0) * super().flops(tokens, *amounts) - 3.0 * tokens


def test_what_a_variant_adds_to_the_count_is_in_no_part() -> None:
    plain = catalogue.find("decoder").build(contract.SIZE, contract.LIMITS)
    lengths = np.array([20.0, 7.0]), np.array([10.0, 3.0]), np.array([30.0, 10.0])
    before = plain.flops(*lengths)
    plain.stack.__class__ = Doubled
    after = plain.flops(*lengths)
    once, added = before.model - before.parts["output"], 7.0 * (lengths[0] + lengths[1])
    assert after.model == pytest.approx(before.model + once + added)
    for part in ("attention", "feedforward"):
        assert after.parts[part] == pytest.approx(2 * before.parts[part])
    assert after.parts["output"] == pytest.approx(before.parts["output"])


def test_a_model_without_feed_forward_networks_spends_nothing_on_them() -> None:
    model = catalogue.find("decoder-no-feedforward").build(contract.SIZE, contract.LIMITS)
    assert model.flops(20.0, 10.0, 10.0).parts["feedforward"] == 0
