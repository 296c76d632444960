"""Decoder-only model that reads its source in both directions (prefix language model, 1910.10683, 2204.05832)."""

from architectures.attention import Attention
from architectures.decoder import DecoderOnly
from architectures.embedding import Embedding, Head
from architectures.feedforward import GatedFeedForward
from architectures.norm import LayerNorm
from architectures.positions import Rotary
from architectures.size import Limits, Size
from architectures.stack import Block, Stack


def build(size: Size, limits: Limits) -> DecoderOnly:
    def block() -> Block:
        attention = Attention(size.dim, size.heads)
        return Block(attention, GatedFeedForward(size.dim, size.hidden), LayerNorm, dropout=size.dropout)

    return DecoderOnly(
        Embedding(limits.vocabulary, size.dim, dropout=size.dropout),
        Stack(size.depth, block, LayerNorm(size.dim)),
        Head(limits.vocabulary, size.dim),
        positions=Rotary(size.head_dim),
        prefix=True,
    )
