"""Decoder-only model with hash embeddings: a token's vector is the sum of rows of two small tables (1709.03933)."""

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
    Rotary,
    Size,
    Stack,
)


class HashEmbedding(Embedding):
    """Two tables with a quarter of the vocabulary's rows each; two hash functions say which rows a token has."""

    def __init__(self, vocabulary: int, dim: int, dropout: float = 0.0) -> None:
        rows = -(-vocabulary // 4)
        super().__init__(rows, dim, std=0.3 * 0.5**0.5, dropout=dropout)
        self.second = nn.Parameter(torch.randn(rows, dim) * 0.3 * 0.5**0.5)

    def tables(self) -> list[nn.Parameter]:
        return [self.weight, self.second]

    def forward(self, tokens: Tensor, added: Tensor | None = None) -> Tensor:
        x = F.embedding(tokens % len(self.weight), self.weight)
        x = x + F.embedding((31 * tokens + 7) % len(self.second), self.second)
        return self.dropout(x if added is None else x + added)


def build(size: Size, limits: Limits) -> DecoderOnly:
    def block() -> Block:
        attention = Attention(size.dim, size.heads)
        return Block(attention, GatedFeedForward(size.dim, size.hidden), RMSNorm, dropout=size.dropout)

    return DecoderOnly(
        HashEmbedding(limits.vocabulary, size.dim, dropout=size.dropout),
        Stack(size.depth, block, RMSNorm(size.dim)),
        Head(limits.vocabulary, size.dim),
        positions=Rotary(size.head_dim),
    )
