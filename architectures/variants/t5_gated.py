"""T5 v1.1: T5 with a gated GELU feed-forward network and an output matrix of its own (2002.05202)."""

from torch import nn

from archbench.architectures import (
    Attention,
    Block,
    Embedding,
    EncoderDecoder,
    GatedFeedForward,
    Head,
    Limits,
    RelativeBias,
    RMSNorm,
    Size,
    Stack,
    gelu_tanh,
)


def build(size: Size, limits: Limits) -> EncoderDecoder:
    def attention() -> Attention:
        return Attention(size.dim, size.heads, head_dim=size.head_dim, scale=1.0, dropout=size.dropout)

    def block(cross: bool) -> Block:
        feedforward = GatedFeedForward(size.dim, size.hidden, gelu_tanh, dropout=size.dropout)
        return Block(attention(), feedforward, RMSNorm, attention() if cross else None, dropout=size.dropout)

    def stack(cross: bool) -> Stack:
        return Stack(size.depth, lambda: block(cross), nn.Sequential(RMSNorm(size.dim), nn.Dropout(size.dropout)))

    return EncoderDecoder(
        Embedding(limits.vocabulary, size.dim, dropout=size.dropout),
        stack(cross=False),
        stack(cross=True),
        Head(limits.vocabulary, size.dim),
        positions=RelativeBias(size.heads, bidirectional=True),
        decoder_positions=RelativeBias(size.heads, bidirectional=False),
    )
