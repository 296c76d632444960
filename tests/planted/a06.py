"""Decoder-only model with linear attention on positive exponential features (Performer, 2009.14794)."""

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
    Learned,
    Limits,
    RMSNorm,
    Size,
    Stack,
)
from archbench.architectures.components.initial import linear

EPS = 1e-3


class FeatureAttention(nn.Module):
    """Attention whose weights are products of features ``exp(projection(x)) + EPS`` of queries and keys.

    The projection of each head is trained (as in 2402.04347), with as many features as channels.
    """

    window: int | None = None

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.dim, self.heads, self.head_dim = dim, heads, dim // heads
        self.query_key_value = linear(dim, 3 * dim, splits=(dim, dim, dim))
        self.projection = nn.Parameter(torch.randn(heads, self.head_dim, self.head_dim) * 2.0)
        self.output = linear(dim, dim, zero=True)

    def forward(self, x: Tensor, context: AttentionContext, past: KeyValues | None = None) -> tuple[Tensor, KeyValues]:
        q, k, v = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in self.query_key_value(x).chunk(3, -1))
        q, k = (F.normalize(part, dim=-1) @ self.projection for part in (q, k))
        seen = KeyValues(k, v) if past is None else past.then(KeyValues(k, v))
        exponents = seen.keys.float()
        keys = (exponents - exponents.amax((-1, -2), keepdim=True)).exp() + EPS  # stable: factors of all keys and of
        queries = (q.float() - q.float().amax(-1, keepdim=True)).exp() + EPS  # each query cancel in the division
        weights = queries @ keys.transpose(2, 3)
        mask = context.mask()
        if mask is not None:
            weights = weights.masked_fill(~mask, 0.0)
        y = (weights / weights.sum(-1, keepdim=True)).to(v.dtype) @ seen.values
        return self.output(y.transpose(1, 2).flatten(2)), seen

    def flops(self, queries: Amount, keys: Amount, pairs: Amount) -> Amount:
        projections = 4.0 * (queries + keys) * self.dim**2
        features = 2.0 * (queries + keys) * self.dim * self.head_dim
        return projections + features + 4.0 * pairs * self.dim


def build(size: Size, limits: Limits) -> DecoderOnly:
    def block() -> Block:
        attention = FeatureAttention(size.dim, size.heads)
        return Block(attention, GatedFeedForward(size.dim, size.hidden), RMSNorm, dropout=size.dropout)

    return DecoderOnly(
        Embedding(limits.vocabulary, size.dim, dropout=size.dropout),
        Stack(size.depth, block, RMSNorm(size.dim)),
        Head(limits.vocabulary, size.dim),
        positions=Learned(limits.length, size.dim),
    )
