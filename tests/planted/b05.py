"""Decoder-only model with a rotary base of its own in each layer (2104.09864; bases as in Gemma 3, 2503.19786)."""

import torch
from torch import Tensor

from archbench.architectures import (
    Attention,
    AttentionContext,
    Block,
    DecoderOnly,
    Embedding,
    GatedFeedForward,
    Head,
    KeyValues,
    Limits,
    NoPositions,
    RMSNorm,
    Size,
    Stack,
)


class RotaryAttention(Attention):
    """Attention that rotates the halves of its queries and keys by ``position * base ** -(channel / channels)``."""

    def __init__(self, dim: int, heads: int, base: float) -> None:
        super().__init__(dim, heads)
        self.base = base

    def forward(
        self,
        x: Tensor,
        context: AttentionContext,
        past: KeyValues | None = None,
        memory: KeyValues | Tensor | None = None,
    ) -> tuple[Tensor, KeyValues]:
        q, k, v = self._project(x, None)
        q, k = self._rotated(q, context.queries), self._rotated(k, context.queries)
        key_values = KeyValues(k, v) if past is None else past.then(KeyValues(k, v))
        scores = (q * self.scaling) @ key_values.keys.transpose(2, 3)
        mask = context.mask()
        if mask is not None:
            scores = scores.masked_fill(~mask, float("-inf"))
        y = scores.softmax(-1).to(v.dtype) @ key_values.values
        return self.output(y.transpose(1, 2).flatten(2)), key_values

    def _rotated(self, x: Tensor, positions: Tensor) -> Tensor:
        """x (b, h, n, e), at ``positions`` (1 or b, n)."""
        half = self.head_dim // 2
        exponents = torch.arange(half, device=x.device) / max(half, 1)
        angles = positions[:, None, :, None].to(x.dtype) * (self.base**-exponents).to(x.dtype)
        cos, sin = angles.cos(), angles.sin()
        a, b, rest = x.split([half, half, self.head_dim - 2 * half], -1)
        return torch.cat([a * cos - b * sin, b * cos + a * sin, rest], -1)


def build(size: Size, limits: Limits) -> DecoderOnly:
    def block(layer: int) -> Block:
        attention = RotaryAttention(size.dim, size.heads, base=100_000.0 if layer % 3 == 2 else 10_000.0)
        return Block(attention, GatedFeedForward(size.dim, size.hidden), RMSNorm, dropout=size.dropout)

    blocks = map(block, range(size.depth))
    return DecoderOnly(
        Embedding(limits.vocabulary, size.dim, dropout=size.dropout),
        Stack(size.depth, lambda: next(blocks), RMSNorm(size.dim)),
        Head(limits.vocabulary, size.dim),
        positions=NoPositions(),
    )
