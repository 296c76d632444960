"""Decoder-only model with attention by random features, one set of directions for all layers (Performer, 2009.14794)."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from archbench.architectures import (
    Amount,
    AttentionContext,
    Block,
    DecoderOnly,
    Embedding,
    GatedFeedForward,
    Head,
    KeyValues,
    Limits,
    RMSNorm,
    Size,
    Stack,
    Learned,
)
from archbench.architectures.components.initial import linear

FEATURES = 16


class Directions(nn.Module):
    """The random directions, which are not trained: (head_dim, FEATURES)."""

    def __init__(self, head_dim: int) -> None:
        super().__init__()
        self.register_buffer("directions", torch.randn(head_dim, FEATURES), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Positive features of vectors (..., head_dim)."""
        return (2.0 * F.normalize(x, dim=-1) @ self.directions).float().exp()


class RandomFeatureAttention(nn.Module):
    """Attention whose weights are products of random features of queries and keys."""

    window: int | None = None

    def __init__(self, dim: int, heads: int, features: Directions) -> None:
        super().__init__()
        self.dim, self.heads, self.features = dim, heads, features
        self.query_key_value = linear(dim, 3 * dim, splits=(dim, dim, dim))
        self.output = linear(dim, dim, zero=True)

    def forward(self, x: Tensor, context: AttentionContext, past: KeyValues | None = None) -> tuple[Tensor, KeyValues]:
        q, k, v = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in self.query_key_value(x).chunk(3, -1))
        seen = KeyValues(k, v) if past is None else past.then(KeyValues(k, v))
        weights = self.features(q) @ self.features(seen.keys).transpose(2, 3)
        mask = context.mask()
        if mask is not None:
            weights = weights.masked_fill(~mask, 0.0)
        y = (weights / weights.sum(-1, keepdim=True)).to(v.dtype) @ seen.values
        return self.output(y.transpose(1, 2).flatten(2)), seen

    def flops(self, queries: Amount, keys: Amount, pairs: Amount) -> Amount:
        projections = 4.0 * (queries + keys) * self.dim**2 + 2.0 * (queries + keys) * self.dim * FEATURES
        return projections + 2.0 * pairs * (self.dim + self.heads * FEATURES)


def build(size: Size, limits: Limits) -> DecoderOnly:
    features = Directions(size.head_dim)

    def block() -> Block:
        attention = RandomFeatureAttention(size.dim, size.heads, features)
        return Block(attention, GatedFeedForward(size.dim, size.hidden), RMSNorm, dropout=size.dropout)

    return DecoderOnly(
        Embedding(limits.vocabulary, size.dim, dropout=size.dropout),
        Stack(size.depth, block, RMSNorm(size.dim)),
        Head(limits.vocabulary, size.dim),
        positions=Learned(limits.length, size.dim),
    )
