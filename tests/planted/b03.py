"""Decoder-only model in which every second layer reads the keys and values of the layer below (CLA, 2405.12981)."""

from collections.abc import Sequence

from torch import Tensor, nn

from archbench.architectures import (
    Amount,
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
from archbench.architectures.components.initial import linear
from archbench.architectures.components.stack import select
from archbench.architectures.kernels.rotate import rotated


def attended(q: Tensor, key_values: KeyValues, context: AttentionContext) -> Tensor:
    """Queries (b, h, n, e) on keys and values -> (b, n, h * e)."""
    scores = (q * q.shape[-1] ** -0.5) @ key_values.keys.transpose(2, 3)
    mask = context.mask()
    if mask is not None:
        scores = scores.masked_fill(~mask, float("-inf"))
    return (scores.softmax(-1).to(key_values.values.dtype) @ key_values.values).transpose(1, 2).flatten(2)


class Owner(Attention):
    """Self-attention whose keys and values the next layer reads, too."""

    def read(self, x: Tensor, context: AttentionContext, key_values: KeyValues | None) -> tuple[Tensor, KeyValues]:
        q, k, v = self._project(x, context.rotation)
        key_values = KeyValues(k, v) if key_values is None else key_values.then(KeyValues(k, v))
        return self.output(attended(q, key_values, context)), key_values


class Reader(nn.Module):
    """Attention that has only queries of its own."""

    window: int | None = None

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.dim, self.heads = dim, heads
        self.query, self.output = linear(dim, dim), linear(dim, dim, zero=True)

    def read(self, x: Tensor, context: AttentionContext, key_values: KeyValues) -> tuple[Tensor, KeyValues]:
        q = self.query(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        if context.rotation is not None:
            q = rotated(q, *context.rotation)
        return self.output(attended(q, key_values, context)), key_values

    def flops(self, queries: Amount, keys: Amount, pairs: Amount) -> Amount:
        return 4.0 * queries * self.dim**2 + 4.0 * pairs * self.dim


class PairedBlock(Block):
    def forward(
        self,
        x: Tensor,
        context: AttentionContext,
        key_values: KeyValues | None = None,
        selected: Tensor | None = None,
    ) -> tuple[Tensor, KeyValues]:
        y, key_values = self.attention.read(self.around_attention.before(x), context, key_values)
        x = self.around_attention.after(x, self.dropout(y))
        if selected is not None:
            x = select(x, selected)
        y = self.feedforward(self.around_feedforward.before(x))
        return self.around_feedforward.after(x, self.dropout(y)), key_values


class PairedStack(Stack):
    def forward(
        self,
        x: Tensor,
        context: AttentionContext,
        past: Sequence[KeyValues] = (),
        memory: CrossAttentionCache | None = None,
        selected: Tensor | None = None,
    ) -> tuple[Tensor, tuple[KeyValues, ...]]:
        layers: list[KeyValues] = []
        for layer, block in enumerate(self.blocks):
            last = {} if selected is None or layer < len(self.blocks) - 1 else {"selected": selected}
            if layer % 2:
                read = layers[-1]
            else:
                read = past[layer // 2] if past else None
            x, key_values = self._run(block, x, context, read, **last)
            layers.append(key_values)
        return self.norm(x), tuple(layers)


def build(size: Size, limits: Limits) -> DecoderOnly:
    def block(layer: int) -> PairedBlock:
        attention = Reader(size.dim, size.heads) if layer % 2 else Owner(size.dim, size.heads)
        return PairedBlock(attention, GatedFeedForward(size.dim, size.hidden), RMSNorm, dropout=size.dropout)

    blocks = map(block, range(size.depth))
    return DecoderOnly(
        Embedding(limits.vocabulary, size.dim, dropout=size.dropout),
        PairedStack(size.depth, lambda: next(blocks), RMSNorm(size.dim)),
        Head(limits.vocabulary, size.dim),
        positions=Rotary(size.head_dim),
    )
