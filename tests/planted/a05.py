"""Decoder-only model whose attention scores are softly bounded at 10 (Gemma 2, 2408.00118; Grok uses 30)."""

import torch
from torch import Tensor

from archbench.architectures import (
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

CAP = 10.0


class BoundedAttention(Attention):
    """Self-attention with scores ``CAP * tanh(scores / CAP)``: no score grows so large that others vanish."""

    def forward(
        self,
        x: Tensor,
        context: AttentionContext,
        past: KeyValues | None = None,
        memory: KeyValues | Tensor | None = None,
    ) -> tuple[Tensor, KeyValues]:
        q, k, v = self._project(x, context.rotation)
        seen = KeyValues(k, v) if past is None else past.then(KeyValues(k, v))
        scores = (q * self.scaling) @ seen.keys.transpose(2, 3)
        mask = context.mask(self.window)
        if mask is not None:
            scores = scores.masked_fill(~mask, float("-inf"))
        scores = CAP * torch.tanh(scores / CAP)
        y = scores.softmax(-1).to(v.dtype) @ seen.values
        return self.output(y.transpose(1, 2).flatten(2)), seen


def build(size: Size, limits: Limits) -> DecoderOnly:
    def block() -> Block:
        attention = BoundedAttention(size.dim, size.heads)
        return Block(attention, GatedFeedForward(size.dim, size.hidden), RMSNorm, dropout=size.dropout)

    return DecoderOnly(
        Embedding(limits.vocabulary, size.dim, dropout=size.dropout),
        Stack(size.depth, block, RMSNorm(size.dim)),
        Head(limits.vocabulary, size.dim),
        positions=Rotary(size.head_dim),
    )
