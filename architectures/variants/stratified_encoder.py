"""Encoder-only model whose mask rates are spread evenly over each batch (stratified: 2107.00630, 2503.09573)."""

from archbench.architectures import (
    Attention,
    Block,
    Embedding,
    EncoderOnly,
    GatedFeedForward,
    Head,
    LayerNorm,
    Limits,
    Masked,
    Rotary,
    Size,
    Stack,
)


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
        objective=Masked(stratified=True),
    )
