"""Canon: a short causal convolution in front of attention."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from archbench.architectures.components.attention import AttentionContext
from archbench.architectures.components.key_values import LayerState
from archbench.architectures.components.numbers import Amount
from archbench.architectures.components.stack import AttentionLike

WIDTH = 4  # tokens: itself and those before it


class CanonState(NamedTuple):
    """The last inputs (b, WIDTH - 1, d), zeros where there were fewer, and the state of what stands behind."""

    inputs: Tensor
    attention: LayerState

    def rows(self, index: Tensor) -> CanonState:
        return CanonState(self.inputs[index], self.attention.rows(index))


class Canon(nn.Module):
    """``attention(x + convolution(x))``: each channel adds up four tokens, its own the last (2512.17351, Canon-A)."""

    def __init__(self, attention: AttentionLike) -> None:
        super().__init__()
        self.attention, self.dim, self.window = attention, attention.dim, attention.window
        self.filters = nn.Parameter(torch.empty(attention.dim, WIDTH).uniform_(-0.5, 0.5))

    def forward(
        self, x: Tensor, context: AttentionContext, past: CanonState | None = None
    ) -> tuple[Tensor, CanonState]:
        before = x.new_zeros(len(x), WIDTH - 1, self.dim) if past is None else past.inputs
        mixed, inputs = self.convolved(x, before, context.present)
        y, state = self.attention(x + mixed, context, None if past is None else past.attention)
        return y, CanonState(inputs, state)

    def convolved(self, x: Tensor, before: Tensor, present: Tensor | None) -> tuple[Tensor, Tensor]:
        """The convolution of x (b, n, d) after the inputs ``before``, and the last inputs; padding is left out."""
        n = x.shape[1]
        if present is None:
            row = torch.cat([before, x], 1)
            return self.convolution(row), row[:, n:]
        here = present[:, -n:]
        order = (~here).long().argsort(dim=1, stable=True)  # tokens first, padding after them
        row = torch.cat([before, moved(x, order)], 1)
        last = here.sum(1, keepdim=True) + torch.arange(WIDTH - 1, device=x.device)
        return moved(self.convolution(row), order.argsort(1)), moved(row, last)

    def convolution(self, row: Tensor) -> Tensor:
        """(b, WIDTH - 1 + n, d) -> (b, n, d)."""
        return (row.unfold(1, WIDTH, 1) * self.filters).sum(-1)

    def flops(self, queries: Amount, keys: Amount, pairs: Amount) -> Amount:
        return self.attention.flops(queries, keys, pairs) + 2.0 * WIDTH * queries * self.dim


def moved(x: Tensor, index: Tensor) -> Tensor:
    """The positions of x (b, n, d) at an index (b, m)."""
    return x.gather(1, index[..., None].expand(-1, -1, x.shape[-1]))
