"""NAME: an encoder-only model; describe the change in one line and cite the paper.

`size.depth` and `size.hidden` are fitted to the budget, so use both. Width, heads and
the task's limits are fixed. `archbench.architectures` has all components; for parts of
your own (experts, attention with a cache, a recurrence, logits) see docs/variants.md.
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
    # Layers that differ: `def block(layer: int)`; Stack counts layers from 0.
    def block() -> Block:
        # Heads that share keys and values: kv_heads=1. Local attention: window=64.
        # Normed queries and keys: qk_norm=True.
        attention = Attention(size.dim, size.heads)
        # Or FeedForward, NoFeedForward, or your own module with `flops(tokens)`
        # for a forward pass: 2 * tokens * inputs * outputs per matrix.
        feedforward = GatedFeedForward(size.dim, size.hidden)
        # Or RMSNorm; other wiring is wiring=PostNorm or wiring=NoNorm.
        return Block(attention, feedforward, LayerNorm, dropout=size.dropout)

    embedding = Embedding(limits.vocabulary, size.dim, dropout=size.dropout)
    return EncoderOnly(
        embedding,
        Stack(size.depth, block, LayerNorm(size.dim)),
        Head(limits.vocabulary, size.dim),  # one table for both: tied=embedding
        # Or Learned(limits.length, size.dim), Sinusoidal(size.dim). RelativeBias and
        # Alibi encode only distances, so masked positions are hard to distinguish.
        positions=Rotary(size.head_dim),
        canvas=limits.target_length,  # the number of target positions
        objective=Masked(),  # suffix=True or next_cell=True hides the end
    )
