"""Encoder-decoder whose self-attention groups four query heads to one of keys and values (2305.13245)."""

from torch import Tensor

from archbench.architectures import (
    Attention,
    AttentionContext,
    Block,
    Embedding,
    EncoderDecoder,
    GatedFeedForward,
    Head,
    KeyValues,
    Limits,
    RMSNorm,
    Rotary,
    Size,
    Stack,
)

GROUP = 4


class GroupedAttention(Attention):
    """Grouped-query attention; a single query's heads are queries of their group, so that no key is repeated."""

    def forward(
        self,
        x: Tensor,
        context: AttentionContext,
        past: KeyValues | None = None,
        memory: KeyValues | Tensor | None = None,
    ) -> tuple[Tensor, KeyValues]:
        q, k, v = self._project(x, context.rotation)
        seen = KeyValues(k, v) if past is None else past.then(KeyValues(k, v))
        q, mask = q * self.scaling, context.mask(self.window)
        rows, length, group = len(x), x.shape[1], self.heads // self.kv_heads
        if length == 1:
            q = q.view(rows, group, self.kv_heads, self.head_dim).transpose(1, 2)
            scores = q @ seen.keys.transpose(2, 3)
        else:
            scores = q @ seen.keys.repeat_interleave(group, 1).transpose(2, 3)
        if mask is not None:
            scores = scores.masked_fill(~mask, float("-inf"))
        weights = scores.softmax(-1).to(v.dtype)
        if length == 1:
            y = (weights @ seen.values).transpose(1, 2).reshape(rows, 1, self.inner)
        else:
            y = (weights @ seen.values.repeat_interleave(group, 1)).transpose(1, 2).flatten(2)
        return self.output(y), seen


def build(size: Size, limits: Limits) -> EncoderDecoder:
    most = max(1, size.heads // GROUP)
    kv_heads = max(count for count in range(1, most + 1) if size.heads % count == 0)

    def block(cross: bool) -> Block:
        return Block(
            GroupedAttention(size.dim, size.heads, kv_heads),
            GatedFeedForward(size.dim, size.hidden),
            RMSNorm,
            cross=Attention(size.dim, size.heads) if cross else None,
            dropout=size.dropout,
        )

    return EncoderDecoder(
        Embedding(limits.vocabulary, size.dim, dropout=size.dropout),
        Stack(size.depth, lambda: block(cross=False), RMSNorm(size.dim)),
        Stack(size.depth, lambda: block(cross=True), RMSNorm(size.dim)),
        Head(limits.vocabulary, size.dim),
        positions=Rotary(size.head_dim),
    )
