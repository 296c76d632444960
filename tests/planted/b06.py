"""Decoder-only model that subtracts a second attention map from the first (differential attention, 2410.05258)."""

import itertools
import math

import torch
from torch import Tensor, nn

from archbench.architectures import (
    Alibi,
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
)
from archbench.architectures.components.initial import linear

LAYERS = itertools.count()


class DifferentialAttention(nn.Module):
    """Two maps for each head, of half its width each; the second one's factor starts higher in later layers."""

    window: int | None = None

    def __init__(self, dim: int, heads: int, layer: int) -> None:
        super().__init__()
        self.dim, self.heads, self.head_dim = dim, heads, dim // heads
        self.half = max(1, self.head_dim // 2)
        self.width = 2 * self.half * heads
        self.query_key = linear(dim, 2 * self.width, splits=(self.width, self.width))
        self.value = linear(dim, dim)
        self.initial = 0.8 - 0.6 * math.exp(-0.3 * layer)
        self.factors = nn.Parameter(torch.randn(4, self.half) * 0.1)
        self.norm = RMSNorm(self.head_dim)
        self.output = linear(dim, dim, zero=True)

    def forward(self, x: Tensor, context: AttentionContext, past: KeyValues | None = None) -> tuple[Tensor, KeyValues]:
        q, k = (y.unflatten(-1, (self.heads, -1)).transpose(1, 2) for y in self.query_key(x).chunk(2, -1))
        v = self.value(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        seen = KeyValues(k, v) if past is None else past.then(KeyValues(k, v))
        one, two, three, four = self.factors
        factor = (one * two).sum().exp() - (three * four).sum().exp() + self.initial
        first, second = (
            self._weights(a, b, context) for a, b in zip(q.chunk(2, -1), seen.keys.chunk(2, -1), strict=True)
        )
        y = (first - factor * second).to(v.dtype) @ seen.values
        y = self.norm(y.transpose(1, 2)) * (1.0 - self.initial)
        return self.output(y.flatten(2)), seen

    def _weights(self, q: Tensor, k: Tensor, context: AttentionContext) -> Tensor:
        scores = (q * self.half**-0.5) @ k.transpose(2, 3)
        mask = context.mask()
        if mask is not None:
            scores = scores.masked_fill(~mask, float("-inf")) if mask.dtype == torch.bool else scores + mask
        return scores.softmax(-1)

    def flops(self, queries: Amount, keys: Amount, pairs: Amount) -> Amount:
        projections = 2.0 * queries * self.dim * (self.width + self.dim) + 2.0 * keys * self.dim * (self.width + self.dim)
        return projections + 2.0 * pairs * (self.width + self.dim)


def build(size: Size, limits: Limits) -> DecoderOnly:
    def block() -> Block:
        attention = DifferentialAttention(size.dim, size.heads, layer=next(LAYERS) % size.depth)
        return Block(attention, GatedFeedForward(size.dim, size.hidden), RMSNorm, dropout=size.dropout)

    return DecoderOnly(
        Embedding(limits.vocabulary, size.dim, dropout=size.dropout),
        Stack(size.depth, block, RMSNorm(size.dim)),
        Head(limits.vocabulary, size.dim),
        positions=Alibi(size.heads),
    )
