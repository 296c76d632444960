"""Encoder-only model whose attention compares cosines, with a trained temperature per head (2302.05442), few rows at once."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

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

SCORES = 2**20  # at a time, which bounds the memory that they need


class CosineAttention(Attention):
    """Attention whose scores are cosines of queries and keys times a factor."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__(dim, heads)
        self.sharpness = nn.Parameter(torch.full((heads,), math.log(10.0)))

    def forward(
        self,
        x: Tensor,
        context: AttentionContext,
        past: KeyValues | None = None,
        memory: KeyValues | Tensor | None = None,
    ) -> tuple[Tensor, KeyValues]:
        q, k, v = self._project(x, context.rotation)
        q, k = F.normalize(q, dim=-1) * self.sharpness.exp()[:, None, None].to(q.dtype), F.normalize(k, dim=-1)
        rows, mask, parts = max(1, SCORES // (self.heads * x.shape[1] ** 2)), context.mask(), []
        for begin in range(0, len(x), rows):
            some = slice(begin, begin + rows)
            scores = q[some] @ k[some].transpose(2, 3)
            if mask is not None:
                scores = scores.masked_fill(~mask[: len(scores)], float("-inf"))
            parts.append(scores.softmax(-1).to(v.dtype) @ v[some])
        y = torch.cat(parts)
        return self.output(y.transpose(1, 2).flatten(2)), KeyValues(k, v)


def build(size: Size, limits: Limits) -> EncoderOnly:
    def block() -> Block:
        attention = CosineAttention(size.dim, size.heads)
        return Block(attention, GatedFeedForward(size.dim, size.hidden), RMSNorm, dropout=size.dropout)

    return EncoderOnly(
        Embedding(limits.vocabulary, size.dim, dropout=size.dropout),
        Stack(size.depth, block, RMSNorm(size.dim)),
        Head(limits.vocabulary, size.dim),
        positions=Rotary(size.head_dim),
        canvas=limits.target_length,
    )
