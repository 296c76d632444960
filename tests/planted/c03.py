"""Decoder-only model with retention, a fixed decay for each head and a group norm of the heads (RetNet, 2307.08621)."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

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


class Retention(Attention):
    """Key j weighs ``q_i . k_j * decay ** (i - j)``, without a softmax; each head's output is normed and gated."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__(dim, heads)
        self.gate = linear(dim, dim)
        self.norm = nn.GroupNorm(heads, dim, affine=False)

    def forward(
        self,
        x: Tensor,
        context: AttentionContext,
        past: KeyValues | None = None,
        memory: KeyValues | Tensor | None = None,
    ) -> tuple[Tensor, KeyValues]:
        q, k, v = self._project(x, context.rotation)
        key_values = KeyValues(k, v) if past is None else past.then(KeyValues(k, v))
        decay = 1.0 - 2.0 ** (-3.0 - torch.arange(self.heads, device=x.device) * 4.0 / self.heads)
        distance = (context.queries[:, None, :, None] - context.keys[:, None, None, :]).clamp(min=0)
        scores = (q * self.scaling) @ key_values.keys.transpose(2, 3) * decay[:, None, None] ** distance
        mask = context.mask()
        if mask is not None:
            scores = scores.masked_fill(~mask, 0.0)
        y = (scores.to(v.dtype) @ key_values.values).transpose(1, 2).flatten(2)
        y = self.norm(y.transpose(1, 2)).transpose(1, 2)
        return self.output(y.to(x.dtype) * F.silu(self.gate(x))), key_values

    def flops(self, queries: Amount, keys: Amount, pairs: Amount) -> Amount:
        return super().flops(queries, keys, pairs) + 2.0 * queries * self.dim**2


def build(size: Size, limits: Limits) -> DecoderOnly:
    def block() -> Block:
        attention = Retention(size.dim, size.heads)
        return Block(attention, GatedFeedForward(size.dim, size.hidden), RMSNorm, dropout=size.dropout)

    return DecoderOnly(
        Embedding(limits.vocabulary, size.dim, dropout=size.dropout),
        Stack(size.depth, block, RMSNorm(size.dim)),
        Head(limits.vocabulary, size.dim),
        positions=Rotary(size.head_dim),
    )
