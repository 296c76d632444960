"""Encoder-decoder model: a bidirectional encoder, and a causal decoder with cross-attention (T5's topology)."""

from archbench.architectures import (
    Attention,
    Block,
    Embedding,
    EncoderDecoder,
    GatedFeedForward,
    Head,
    LayerNorm,
    Limits,
    Rotary,
    Size,
    Stack,
)


def build(size: Size, limits: Limits) -> EncoderDecoder:
    def block(cross: bool) -> Block:
        return Block(
            Attention(size.dim, size.heads),
            GatedFeedForward(size.dim, size.hidden),
            LayerNorm,
            cross=Attention(size.dim, size.heads) if cross else None,
            dropout=size.dropout,
        )

    return EncoderDecoder(
        Embedding(limits.vocabulary, size.dim, dropout=size.dropout),
        Stack(size.depth, lambda: block(cross=False), LayerNorm(size.dim)),
        Stack(size.depth, lambda: block(cross=True), LayerNorm(size.dim)),
        Head(limits.vocabulary, size.dim),
        positions=Rotary(size.head_dim),
    )
