"""Encoder-only model that judges a label by the mean over all positions (mean pooling, 1908.10084), not by its cell."""

from architectures.attention import Attention
from architectures.embedding import Embedding, Head
from architectures.encoder import EncoderOnly
from architectures.feedforward import GatedFeedForward
from architectures.norm import LayerNorm
from architectures.positions import Rotary
from architectures.size import Limits, Size
from architectures.stack import Block, Stack


def build(size: Size, limits: Limits) -> EncoderOnly:
    def block() -> Block:
        attention = Attention(size.dim, size.heads)
        return Block(attention, GatedFeedForward(size.dim, size.hidden), LayerNorm, dropout=size.dropout)

    return EncoderOnly(
        Embedding(limits.vocabulary, size.dim, dropout=size.dropout),
        Stack(size.depth, block, LayerNorm(size.dim)),
        Head(limits.vocabulary, size.dim),
        positions=Rotary(size.head_dim),
        canvas=limits.target_length,
        pooled=True,
    )
