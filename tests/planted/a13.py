"""Encoder-only model with local attention and 16 global positions at the start (Longformer, 2004.05150; 2007.14062)."""

from torch import Tensor

from archbench.architectures import (
    Attention,
    AttentionContext,
    Block,
    Embedding,
    EncoderOnly,
    GatedFeedForward,
    Head,
    KeyValues,
    Limits,
    RMSNorm,
    Rotary,
    Size,
    Stack,
)

WINDOW, GLOBAL = 32, 16


class SparseAttention(Attention):
    """A token sees those at most ``WINDOW`` away and the first ``GLOBAL``, which see and are seen by all."""

    def forward(
        self,
        x: Tensor,
        context: AttentionContext,
        past: KeyValues | None = None,
        memory: KeyValues | Tensor | None = None,
    ) -> tuple[Tensor, KeyValues]:
        q, k, v = self._project(x, context.rotation)
        queries, keys = context.queries[:, :, None], context.keys[:, None]
        near = ((queries - keys).abs() <= WINDOW) | (queries < GLOBAL) | (keys < GLOBAL)
        visible = near[:, None] if context.present is None else near[:, None] & context.present[:, None, None]
        visible = visible | ~visible.any(-1, keepdim=True)
        scores = ((q * self.scaling) @ k.transpose(2, 3)).masked_fill(~visible, float("-inf"))
        y = scores.softmax(-1).to(v.dtype) @ v
        return self.output(y.transpose(1, 2).flatten(2)), KeyValues(k, v)


def build(size: Size, limits: Limits) -> EncoderOnly:
    def block() -> Block:
        attention = SparseAttention(size.dim, size.heads, window=WINDOW)
        return Block(attention, GatedFeedForward(size.dim, size.hidden), RMSNorm, dropout=size.dropout)

    return EncoderOnly(
        Embedding(limits.vocabulary, size.dim, dropout=size.dropout),
        Stack(size.depth, block, RMSNorm(size.dim)),
        Head(limits.vocabulary, size.dim),
        positions=Rotary(size.head_dim),
        canvas=limits.target_length,
    )
