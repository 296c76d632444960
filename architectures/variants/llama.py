"""Llama: rotary positions, RMSNorm, gated SiLU, grouped keys and values, untied head (2302.13971, 2307.09288).

It has dropout on attention weights only. Two query heads share keys and values where their number is even.
"""

from archbench.architectures import (
    Attention,
    Block,
    DecoderOnly,
    Embedding,
    GatedFeedForward,
    Head,
    Limits,
    RMSNorm,
    Rotary,
    Size,
    Stack,
)


def build(size: Size, limits: Limits) -> DecoderOnly:
    kv_heads = size.heads if size.heads % 2 else size.heads // 2

    def block() -> Block:
        attention = Attention(size.dim, size.heads, kv_heads, dropout=size.dropout)
        return Block(attention, GatedFeedForward(size.dim, size.hidden), RMSNorm)

    return DecoderOnly(
        Embedding(limits.vocabulary, size.dim),
        Stack(size.depth, block, RMSNorm(size.dim)),
        Head(limits.vocabulary, size.dim),
        positions=Rotary(size.head_dim),
    )
