"""GPT-2: learned positions, pre-norm with biases, GELU, tied embedding (Radford et al. 2019)."""

from archbench.architectures import (
    Attention,
    Block,
    DecoderOnly,
    Embedding,
    FeedForward,
    Head,
    LayerNorm,
    Learned,
    Limits,
    Size,
    Stack,
    gelu_tanh,
)


def build(size: Size, limits: Limits) -> DecoderOnly:
    def norm(dim: int) -> LayerNorm:
        return LayerNorm(dim, bias=True)

    def block() -> Block:
        attention = Attention(size.dim, size.heads, bias=True, dropout=size.dropout)
        return Block(attention, FeedForward(size.dim, size.hidden, gelu_tanh, bias=True), norm, dropout=size.dropout)

    embedding = Embedding(limits.vocabulary, size.dim, std=0.02, dropout=size.dropout)
    return DecoderOnly(
        embedding,
        Stack(size.depth, block, norm(size.dim)),
        Head(limits.vocabulary, size.dim, tied=embedding),
        positions=Learned(limits.length, size.dim),
    )
