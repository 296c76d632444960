"""Attention's place without attention: the mean over what each position sees."""

import torch
from torch import Tensor, nn

from archbench.architectures.components.attention import AttentionContext
from archbench.architectures.components.initial import linear
from archbench.architectures.components.key_values import KeyValues
from archbench.architectures.components.numbers import Amount


class Average(nn.Module):
    """``output(mean of value(x) over the visible positions)`` (average attention, 1805.00631, without its gate).

    All visible positions have the same weight; there are no queries, keys or positions. It replaces self-``Attention``
    in a block (an ablation).
    """

    window: int | None = None
    heads = 1  # one set of weights for all channels

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim
        self.value = linear(dim, dim)
        self.output = linear(dim, dim, zero=True)

    def forward(self, x: Tensor, context: AttentionContext, past: KeyValues | None = None) -> tuple[Tensor, KeyValues]:
        """x (b, q, d) -> (b, q, d), and all values so far, which are also the keys: (b, 1, k, d)."""
        value = self.value(x)[:, None]
        seen = KeyValues(value, value) if past is None else past.then(KeyValues(value, value))
        y: Tensor = self.output((_weights(context, seen.values) @ seen.values)[:, 0])
        return y, seen

    def flops(self, queries: Amount, keys: Amount, pairs: Amount) -> Amount:
        """FLOPs of a forward pass over ``queries`` positions that averages over ``pairs`` of them and ``keys``."""
        return 2.0 * (queries + keys) * self.dim * self.dim + 2.0 * pairs * self.dim


def _weights(context: AttentionContext, values: Tensor) -> Tensor:
    """The weight of each value (b, 1, k, d) for each query (1 or b, 1, q, k); rows sum to 1."""
    mask, shape = context.mask(), (-1, 1, context.queries.shape[-1], values.shape[2])
    if mask is None:
        return values.new_full((1, *shape[1:]), 1.0 / values.shape[2])
    visible = mask if mask.dtype == torch.bool else mask > float("-inf")
    counted = visible[:, :1].float().expand(shape)
    return (counted / counted.sum(-1, keepdim=True)).to(values.dtype)
