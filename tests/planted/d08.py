"""Encoder-only model in which every other layer attends within blocks of 32 and to the neighbouring blocks (2007.14062)."""

import torch
from torch import Tensor

from archbench.architectures import (
    Attention,
    AttentionContext,
    Block,
    Embedding,
    EncoderOnly,
    GatedFeedForward,
    Head,
    KeyValues,
    Limits,
    RMSNorm,
    Rotary,
    Size,
    Stack,
)

BLOCK = 32


class BlockAttention(Attention):
    """Attention to the keys of the query's own block and of the two next to it; FLOPs are counted as without blocks."""

    def forward(
        self,
        x: Tensor,
        context: AttentionContext,
        past: KeyValues | None = None,
        memory: KeyValues | Tensor | None = None,
    ) -> tuple[Tensor, KeyValues]:
        q, k, v = self._project(x, context.rotation)
        blocks = torch.arange(x.shape[1], device=x.device)[None] // BLOCK
        near = ((blocks[:, :, None] - blocks[:, None, :]).abs() <= 1)[:, None]
        mask = context.mask()
        if mask is not None:
            near = near & mask
            near = near | ~near.any(-1, keepdim=True)
        scores = ((q * self.scaling) @ k.transpose(2, 3)).masked_fill(~near, float("-inf"))
        y = scores.softmax(-1).to(v.dtype) @ v
        return self.output(y.transpose(1, 2).flatten(2)), KeyValues(k, v)


def build(size: Size, limits: Limits) -> EncoderOnly:
    def block(layer: int) -> Block:
        attention = (Attention if layer % 2 else BlockAttention)(size.dim, size.heads)
        return Block(attention, GatedFeedForward(size.dim, size.hidden), RMSNorm, dropout=size.dropout)

    return EncoderOnly(
        Embedding(limits.vocabulary, size.dim, dropout=size.dropout),
        Stack(size.depth, block, RMSNorm(size.dim)),
        Head(limits.vocabulary, size.dim),
        positions=Rotary(size.head_dim),
        canvas=limits.target_length,
    )
