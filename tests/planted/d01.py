"""Decoder-only model with a trained bias per head and logarithmic bucket of distance (as in T5, 1910.10683), 48 buckets."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from archbench.architectures import (
    Attention,
    Block,
    DecoderOnly,
    Embedding,
    GatedFeedForward,
    Head,
    Limits,
    RMSNorm,
    Size,
    Stack,
)
from archbench.architectures.components.positions import Geometry

BUCKETS, FARTHEST = 48, 256


class DistanceBias(nn.Module):
    """A bias per head and bucket of distance: one bucket each up to half of them, wider ones beyond."""

    def __init__(self, heads: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(BUCKETS, heads) * 0.02)

    def forward(self, queries: Tensor, keys: Tensor) -> Geometry:
        distance = (keys[:, None, :] - queries[:, :, None]).clamp(min=0)
        exact = BUCKETS // 2
        ratio = torch.log(distance.clamp(min=1).float() / exact) / math.log(FARTHEST / exact)
        far = (exact + (ratio * (BUCKETS - exact)).long()).clamp(max=BUCKETS - 1)
        buckets = torch.where(distance < exact, distance, far)
        return Geometry(bias=F.embedding(buckets, self.weight).permute(0, 3, 1, 2).contiguous())


def build(size: Size, limits: Limits) -> DecoderOnly:
    def block() -> Block:
        attention = Attention(size.dim, size.heads)
        return Block(attention, GatedFeedForward(size.dim, size.hidden), RMSNorm, dropout=size.dropout)

    return DecoderOnly(
        Embedding(limits.vocabulary, size.dim, dropout=size.dropout),
        Stack(size.depth, block, RMSNorm(size.dim)),
        Head(limits.vocabulary, size.dim),
        positions=DistanceBias(size.heads),
    )
