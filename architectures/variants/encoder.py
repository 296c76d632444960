"""Encoder-only model: bidirectional over source and target, predicts masked positions (BERT's topology)."""

from archbench.architectures import (
    Attention,
    Block,
    Embedding,
    EncoderOnly,
    GatedFeedForward,
    Head,
    LayerNorm,
    Limits,
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
    )
