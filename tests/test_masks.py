"""A mask says the same in its two forms, and a model reads and counts by the one that it is given."""

import copy
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from archbench.architectures.catalogue import catalogue
from archbench.architectures.components.attention import AttentionContext
from archbench.architectures.components.mask import BIDIRECTIONAL, CAUSAL, PREFIX, Mask
from archbench.architectures.components.stack import Block
from archbench.architectures.contract import LIMITS, SIZE, sequences, subject

SOURCE_APART = Mask(  # as in the docstring of Mask
    lambda query, key, source: (key < source) | (query >= source),
    lambda source, target, window: source**2 + target * (source + target),
)
MASKS = {"bidirectional": BIDIRECTIONAL, "causal": CAUSAL, "prefix": PREFIX}


@pytest.mark.parametrize("window", [None, 0, 1, 3, 20])
@pytest.mark.parametrize("source", [0, 1, 2, 5])
@pytest.mark.parametrize("target", [0, 1, 4])
@pytest.mark.parametrize("name", MASKS)
def test_a_mask_counts_the_pairs_that_it_allows(name: str, source: int, target: int, window: int | None) -> None:
    n = source + target
    positions, mask = torch.arange(n)[None], MASKS[name]
    context = AttentionContext(positions, positions, mask, torch.tensor([[source]]))
    allowed = context.mask(window)
    pairs = n * n if allowed is None else int(allowed.expand(1, 1, n, n).sum())
    assert mask.pairs(float(source), float(target), window) == pairs
    by_test = mask.mod(positions[:, :, None], positions[:, None, :], source).expand(1, n, n)
    near = (positions[:, None, :] - positions[:, :, None]).abs() <= (n if window is None else window)
    assert int((by_test & near).sum()) == pairs


@pytest.mark.parametrize("source", [0, 1, 5])
@pytest.mark.parametrize("target", [1, 4])
def test_a_mask_of_ones_own_counts_the_pairs_that_it_allows(source: int, target: int) -> None:
    positions = torch.arange(source + target)[None]
    allowed = SOURCE_APART.mod(positions[:, :, None], positions[:, None, :], source)
    assert SOURCE_APART.pairs(float(source), float(target), None) == int(allowed.sum())


def encoder(mask: Mask) -> torch.nn.Module:
    build = catalogue.find("encoder").build

    def masked(size, limits):
        model = build(size, limits)
        model.mask = mask
        return model

    return subject(masked, SIZE, LIMITS).model.eval()


@torch.no_grad()
def test_an_encoder_reads_by_the_mask_that_it_is_given() -> None:
    source, target, others = sequences(2, 5), sequences(2, 4, seed=1), sequences(2, 4, seed=2)
    present = torch.arange(5) < torch.tensor([[5], [3]])

    def of_source(mask: Mask, canvas: Tensor) -> Tensor:
        states: Tensor = encoder(mask).hidden(source, canvas, present).source  # type: ignore[operator]
        return states[present]

    torch.testing.assert_close(of_source(SOURCE_APART, target), of_source(SOURCE_APART, others))
    assert not torch.allclose(of_source(BIDIRECTIONAL, target), of_source(BIDIRECTIONAL, others))


def test_an_encoder_counts_by_the_mask_that_it_is_given() -> None:
    usual, apart = (encoder(mask).flops(5.0, 4.0, 4.0) for mask in (BIDIRECTIONAL, SOURCE_APART))  # type: ignore[operator]
    attentions = [block.attention for block in encoder(BIDIRECTIONAL).modules() if isinstance(block, Block)]
    fewer = 81.0 - SOURCE_APART.pairs(5.0, 4.0, None)
    assert usual.executed == apart.executed
    assert usual.model - apart.model == sum(4.0 * fewer * attention.inner for attention in attentions)  # type: ignore[attr-defined]


@torch.no_grad()
def test_a_copy_of_a_mask_is_read_alike() -> None:
    """Families and kernels recognise the built-in masks, for speed alone."""
    source, target = sequences(2, 5), sequences(2, 4, seed=1)
    masks = (torch.arange(5) < torch.tensor([[5], [3]]), torch.arange(4) < torch.tensor([[2], [4]]))
    for name in ("decoder", "prefix-decoder", "encoder", "encoder-decoder"):
        model = subject(catalogue.find(name).build, SIZE, LIMITS).model.eval()
        assert copy.deepcopy(model).mask is model.mask

        def read(model: Any = model) -> Tensor:
            decoded = model.decode(target, model.prefill(source, masks[0]))[0]
            return torch.cat([model(source, target, *masks)[masks[1]], decoded[masks[1]]])

        expected = read()
        model.mask = replace(model.mask)
        torch.testing.assert_close(read(), expected)
