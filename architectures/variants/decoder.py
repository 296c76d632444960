"""Decoder-only model: source and target in one causal sequence (GPT, with rotary positions and gated feed-forward)."""

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
    )
