"""Decoder-only model whose rotary base grows for texts of more than 128 tokens (NTK-aware scaling, 2309.00071)."""

from torch import Tensor

from archbench.architectures import (
    Attention,
    Block,
    DecoderOnly,
    Embedding,
    GatedFeedForward,
    Geometry,
    Head,
    Limits,
    RMSNorm,
    Rotary,
    Size,
    Stack,
)

USUAL = 128  # tokens that the usual base is meant for


class ScaledRotary(Rotary):
    """Rotary positions whose slowest channels turn as far in a longer text as in the usual ones."""

    def forward(self, queries: Tensor, keys: Tensor) -> Geometry:
        return Rotary(self.head_dim, self.base * self.stretch(keys.shape[1])).forward(queries, keys)

    def stretch(self, length: int) -> float:
        return max(1.0, length / USUAL) ** (self.head_dim / max(1, self.head_dim - 2))


def build(size: Size, limits: Limits) -> DecoderOnly:
    def block() -> Block:
        attention = Attention(size.dim, size.heads)
        return Block(attention, GatedFeedForward(size.dim, size.hidden), RMSNorm, dropout=size.dropout)

    return DecoderOnly(
        Embedding(limits.vocabulary, size.dim, dropout=size.dropout),
        Stack(size.depth, block, RMSNorm(size.dim)),
        Head(limits.vocabulary, size.dim),
        positions=ScaledRotary(size.head_dim),
    )
