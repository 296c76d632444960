"""Queries and keys rotated together are those that are rotated apart."""

import pytest
import torch

from archbench.architectures.components.attention import Attention
from archbench.architectures.components.positions import Rotary
from archbench.architectures.kernels import rotate
from archbench.architectures.kernels.table import optimize


@pytest.mark.parametrize("kv_heads", [4, 2, 1])
@pytest.mark.parametrize("normed", [False, True])
@pytest.mark.parametrize("gradients", [False, True])
@pytest.mark.parametrize("rotary", [False, True])
def test_projections_are_those_of_the_plain_method(kv_heads: int, normed: bool, gradients: bool, rotary: bool) -> None:
    torch.manual_seed(0)
    attention, x, positions = Attention(32, 4, kv_heads, qk_norm=normed), torch.randn(3, 5, 32), torch.arange(5)[None]
    rotation = Rotary(8)(positions, positions).rotation if rotary else None
    with torch.set_grad_enabled(gradients):
        expected = attention._project(x, rotation)
        together = optimize(attention)._project(x, rotation)
    assert type(attention)._project is rotate.project
    for ours, plain in zip(together, expected, strict=True):
        assert torch.equal(ours, plain) and ours.requires_grad == gradients
