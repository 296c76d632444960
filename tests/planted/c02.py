"""Decoder-only model with a gate for each head, of the layer's input, after attention (gated attention, 2505.06708)."""

import torch
from torch import Tensor

from archbench.architectures import (
    Amount,
    Attention,
    AttentionContext,
    Block,
    DecoderOnly,
    Embedding,
    GatedFeedForward,
    Head,
    KeyValues,
    Limits,
    RMSNorm,
    Rotary,
    Size,
    Stack,
)
from archbench.architectures.components.initial import linear


class GatedAttention(Attention):
    """Attention whose heads are multiplied by a sigmoid gate of the token that asks."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__(dim, heads)
        self.gate = linear(dim, heads)

    def forward(
        self,
        x: Tensor,
        context: AttentionContext,
        past: KeyValues | None = None,
        memory: KeyValues | Tensor | None = None,
    ) -> tuple[Tensor, KeyValues]:
        q, k, v = self._project(x, context.rotation)
        key_values = KeyValues(k, v) if past is None else past.then(KeyValues(k, v))
        scores = (q * self.scaling) @ key_values.keys.transpose(2, 3)
        mask = context.mask()
        if mask is not None:
            scores = scores.masked_fill(~mask, float("-inf"))
        y = scores.softmax(-1).to(v.dtype) @ key_values.values
        gate = torch.sigmoid(self.gate(x)).view(len(x), self.heads, -1, 1)
        return self.output((y * gate).transpose(1, 2).flatten(2)), key_values

    def flops(self, queries: Amount, keys: Amount, pairs: Amount) -> Amount:
        return super().flops(queries, keys, pairs) + 2.0 * queries * self.dim * self.heads


def build(size: Size, limits: Limits) -> DecoderOnly:
    def block() -> Block:
        attention = GatedAttention(size.dim, size.heads)
        return Block(attention, GatedFeedForward(size.dim, size.hidden), RMSNorm, dropout=size.dropout)

    return DecoderOnly(
        Embedding(limits.vocabulary, size.dim, dropout=size.dropout),
        Stack(size.depth, block, RMSNorm(size.dim)),
        Head(limits.vocabulary, size.dim),
        positions=Rotary(size.head_dim),
    )
