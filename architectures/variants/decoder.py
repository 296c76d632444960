"""Decoder-only model: source and target in one causal sequence (GPT, with rotary positions and gated feed-forward)."""

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
    )
