"""Decoder-only model that adds the first layer's values to those of later layers (value residuals, 2410.17897)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from archbench.architectures import (
    Attention,
    AttentionContext,
    Block,
    CrossAttentionCache,
    DecoderOnly,
    Embedding,
    GatedFeedForward,
    Head,
    KeyValues,
    Limits,
    RMSNorm,
    Rotary,
    Size,
    Stack,
)
from archbench.architectures.components.stack import select


class ValueAttention(Attention):
    """Attention to ``value + share * value of the first layer``; the share of each head is trained, from zero."""

    def __init__(self, dim: int, heads: int, first: bool) -> None:
        super().__init__(dim, heads)
        self.share = None if first else nn.Parameter(torch.zeros(heads))

    def attend(
        self, x: Tensor, context: AttentionContext, past: KeyValues | None, first: Tensor | None
    ) -> tuple[Tensor, KeyValues, Tensor]:
        """The output, all keys and values so far, and the new values of the first layer (b, h, n, e)."""
        q, k, v = self._project(x, context.rotation)
        mixed = v if self.share is None or first is None else v + self.share[:, None, None] * first
        key_values = KeyValues(k, v) if past is None else past.then(KeyValues(k, v))
        seen = KeyValues(k, mixed) if past is None else past.then(KeyValues(k, mixed))
        scores = (q * self.scaling) @ seen.keys.transpose(2, 3)
        mask = context.mask()
        if mask is not None:
            scores = scores.masked_fill(~mask, float("-inf"))
        y = scores.softmax(-1).to(seen.values.dtype) @ seen.values
        return self.output(y.transpose(1, 2).flatten(2)), key_values, v if first is None else first


class ValueBlock(Block):
    def forward(
        self,
        x: Tensor,
        context: AttentionContext,
        past: KeyValues | None = None,
        first: Tensor | None = None,
        selected: Tensor | None = None,
    ) -> tuple[Tensor, KeyValues, Tensor]:
        y, key_values, first = self.attention.attend(self.around_attention.before(x), context, past, first)
        x = self.around_attention.after(x, self.dropout(y))
        if selected is not None:
            x = select(x, selected)
        y = self.feedforward(self.around_feedforward.before(x))
        return self.around_feedforward.after(x, self.dropout(y)), key_values, first


class ValueStack(Stack):
    """Hands the values of the first layer to all later ones."""

    def forward(
        self,
        x: Tensor,
        context: AttentionContext,
        past: Sequence[KeyValues] = (),
        memory: CrossAttentionCache | None = None,
        selected: Tensor | None = None,
    ) -> tuple[Tensor, tuple[KeyValues, ...]]:
        layers, first = [], None
        for layer, block in enumerate(self.blocks):
            last = {} if selected is None or layer < len(self.blocks) - 1 else {"selected": selected}
            x, key_values, first = self._run(block, x, context, past[layer] if past else None, first, **last)
            layers.append(key_values)
        return self.norm(x), tuple(layers)


def build(size: Size, limits: Limits) -> DecoderOnly:
    def block(layer: int) -> ValueBlock:
        attention = ValueAttention(size.dim, size.heads, first=layer == 0)
        return ValueBlock(attention, GatedFeedForward(size.dim, size.hidden), RMSNorm, dropout=size.dropout)

    blocks = map(block, range(size.depth))
    return DecoderOnly(
        Embedding(limits.vocabulary, size.dim, dropout=size.dropout),
        ValueStack(size.depth, lambda: next(blocks), RMSNorm(size.dim)),
        Head(limits.vocabulary, size.dim),
        positions=Rotary(size.head_dim),
    )
