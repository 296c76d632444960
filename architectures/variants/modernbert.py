"""ModernBERT: two in three layers see 64 tokens to each side, rotary positions, GeGLU, no biases (2412.13663)."""

from torch.nn import functional as F

from archbench.architectures import (
    Attention,
    Block,
    Embedding,
    EncoderOnly,
    GatedFeedForward,
    Head,
    LayerNorm,
    Limits,
    NoNorm,
    NoPositions,
    Rotary,
    Size,
    Stack,
    Transform,
)


def build(size: Size, limits: Limits) -> EncoderOnly:
    def block(layer: int) -> Block:
        window, base = (64, 10_000.0) if layer % 3 else (None, 160_000.0)
        attention = Attention(size.dim, size.heads, window=window, positions=Rotary(size.head_dim, base))
        made = Block(attention, GatedFeedForward(size.dim, size.hidden, F.gelu, dropout=size.dropout), LayerNorm)
        if layer == 0:
            made.around_attention = NoNorm(LayerNorm(size.dim))  # the embedding is normed already
        return made

    blocks = map(block, range(size.depth))
    embedding = Embedding(limits.vocabulary, size.dim, std=0.02, norm=LayerNorm(size.dim), dropout=size.dropout)
    transform = Transform(size.dim, F.gelu, LayerNorm(size.dim))
    return EncoderOnly(
        embedding,
        Stack(size.depth, lambda: next(blocks), LayerNorm(size.dim)),
        Head(limits.vocabulary, size.dim, tied=embedding, bias=True, transform=transform),
        positions=NoPositions(),
        canvas=limits.target_length,
    )
