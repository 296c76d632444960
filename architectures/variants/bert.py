"""BERT: learned positions, post-norm with biases, GELU, a transform before the tied output matrix (1810.04805)."""

from torch.nn import functional as F

from archbench.architectures import (
    Attention,
    Block,
    Embedding,
    EncoderOnly,
    FeedForward,
    Head,
    LayerNorm,
    Learned,
    Limits,
    PostNorm,
    Size,
    Stack,
    Transform,
)


def build(size: Size, limits: Limits) -> EncoderOnly:
    def norm(dim: int) -> LayerNorm:
        return LayerNorm(dim, bias=True, eps=1e-12)

    def block() -> Block:
        attention = Attention(size.dim, size.heads, bias=True, dropout=size.dropout)
        feedforward = FeedForward(size.dim, size.hidden, F.gelu, bias=True)
        return Block(attention, feedforward, norm, wiring=PostNorm, dropout=size.dropout)

    embedding = Embedding(limits.vocabulary, size.dim, std=0.02, segments=2, norm=norm(size.dim), dropout=size.dropout)
    transform = Transform(size.dim, F.gelu, norm(size.dim), bias=True)
    return EncoderOnly(
        embedding,
        Stack(size.depth, block),
        Head(limits.vocabulary, size.dim, tied=embedding, bias=True, transform=transform),
        positions=Learned(limits.length, size.dim),
        canvas=limits.target_length,
    )
