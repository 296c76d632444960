"""NAME: an encoder-decoder model; describe the change in one line and cite the paper.

`size.depth` and `size.hidden` are fitted to the budget, so use both. Width, heads and
the task's limits are fixed. `archbench.architectures` has all components; for parts of
your own (experts, attention with a cache, a recurrence, logits) see docs/variants.md.
"""

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
    # Layers that differ: `def block(cross: bool, layer: int)`, and in the stacks
    # `lambda layer: block(False, layer)`; Stack counts layers from 0.
    def block(cross: bool) -> Block:
        # Heads that share keys and values: kv_heads=1. Local attention: window=64.
        # Normed queries and keys: qk_norm=True.
        attention = Attention(size.dim, size.heads)
        # Or FeedForward, NoFeedForward, or your own module with `flops(tokens)`
        # for a forward pass: 2 * tokens * inputs * outputs per matrix.
        feedforward = GatedFeedForward(size.dim, size.hidden)
        memory = Attention(size.dim, size.heads) if cross else None
        # Or RMSNorm; other wiring is wiring=PostNorm or wiring=NoNorm.
        return Block(attention, feedforward, LayerNorm, memory, dropout=size.dropout)

    embedding = Embedding(limits.vocabulary, size.dim, dropout=size.dropout)
    return EncoderDecoder(
        embedding,
        Stack(size.depth, lambda: block(cross=False), LayerNorm(size.dim)),
        Stack(size.depth, lambda: block(cross=True), LayerNorm(size.dim)),
        Head(limits.vocabulary, size.dim),  # one table for both: tied=embedding
        # Or Alibi(size.heads), Learned(limits.length, size.dim), Sinusoidal(size.dim),
        # RelativeBias(size.heads, bidirectional=True).
        positions=Rotary(size.head_dim),
        decoder_positions=None,  # else the decoder's own, such as Alibi(size.heads)
    )
