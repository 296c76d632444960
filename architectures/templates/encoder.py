"""NAME: an encoder-only model; say here in one line what is new, and cite the paper.

A budget fits `size.depth` and `size.hidden`, so use both; width, heads and the task's
limits are given. Every part and what it takes is in `archbench.architectures`.
"""

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
    # Layers that differ: `def block(layer: int)`, then before the return
    # `blocks = map(block, range(size.depth))`, and `lambda: next(blocks)` in Stack.
    def block() -> Block:
        # Heads that share keys and values: kv_heads=1. Local attention: window=64.
        attention = Attention(size.dim, size.heads)
        # Or FeedForward, NoFeedForward, or a module of your own, with `flops(tokens)`
        # of a forward pass: 2 * tokens * inputs * outputs for a matrix.
        feedforward = GatedFeedForward(size.dim, size.hidden)
        # Or RMSNorm; other wiring is wiring=PostNorm or wiring=NoNorm.
        return Block(attention, feedforward, LayerNorm, dropout=size.dropout)

    embedding = Embedding(limits.vocabulary, size.dim, dropout=size.dropout)
    return EncoderOnly(
        embedding,
        Stack(size.depth, block, LayerNorm(size.dim)),
        Head(limits.vocabulary, size.dim),  # one table for both: tied=embedding
        # Or Learned(limits.length, size.dim), Sinusoidal(size.dim); by distances alone
        # (RelativeBias, Alibi) it is hard to tell empty cells apart.
        positions=Rotary(size.head_dim),
        canvas=limits.target_length,  # as many cells are filled in as a target may have
        objective=Masked(),  # suffix=True hides what writing from left to right hides
    )
