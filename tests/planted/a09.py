"""Decoder-only model in which every other layer sees 64 tokens back and caches no more than those (Gemma 2, 2408.00118)."""

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

WINDOW = 64


class LocalAttention(Attention):
    """Attention with a window, which keeps only the keys and values that later queries can still see."""

    def forward(
        self,
        x: Tensor,
        context: AttentionContext,
        past: KeyValues | None = None,
        memory: KeyValues | Tensor | None = None,
    ) -> tuple[Tensor, KeyValues]:
        assert self.window is not None
        q, k, v = self._project(x, context.rotation)
        if past is not None:
            k, v = torch.cat([past.keys, k], 2), torch.cat([past.values, v], 2)
            present = None if context.present is None else context.present[:, -k.shape[2] :]
            context = context.fresh(keys=context.keys[:, -k.shape[2] :], present=present)
        scores = (q * self.scaling) @ k.transpose(2, 3)
        mask = context.mask(self.window)
        if mask is not None:
            scores = scores.masked_fill(~mask, float("-inf"))
        y = scores.softmax(-1).to(v.dtype) @ v
        kept = KeyValues(k[:, :, -self.window :], v[:, :, -self.window :])
        return self.output(y.transpose(1, 2).flatten(2)), kept


def build(size: Size, limits: Limits) -> DecoderOnly:
    def block(layer: int) -> Block:
        local = LocalAttention(size.dim, size.heads, window=WINDOW)
        attention = Attention(size.dim, size.heads) if layer % 2 else local
        return Block(attention, GatedFeedForward(size.dim, size.hidden), RMSNorm, dropout=size.dropout)

    blocks = map(block, range(size.depth))
    return DecoderOnly(
        Embedding(limits.vocabulary, size.dim, dropout=size.dropout),
        Stack(size.depth, lambda: next(blocks), RMSNorm(size.dim)),
        Head(limits.vocabulary, size.dim),
        positions=Rotary(size.head_dim),
    )
