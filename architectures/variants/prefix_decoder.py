"""Decoder-only model that reads its source in both directions (prefix language model, 1910.10683, 2204.05832)."""

from archbench.architectures import (
    Attention,
    Block,
    DecoderOnly,
    Embedding,
    GatedFeedForward,
    Head,
    LayerNorm,
    Limits,
    Rotary,
    Size,
    Stack,
)


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
