"""Encoder-only model whose layers are repeated until the states settle, at most six times (1807.03819, 2502.05171)."""

from collections.abc import Sequence

from torch import Tensor

from archbench.architectures import (
    Amount,
    Attention,
    AttentionContext,
    Block,
    CrossAttentionCache,
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
    filled,
)
from archbench.architectures.components.numbers import AttentionPairs
from archbench.architectures.components.stack import select

TURNS = 6  # at most
SETTLED = 0.25  # the relative change of the states that ends the turns


class Repeated(Stack):
    """All blocks, repeatedly; each turn starts from the mean of the states and the embeddings."""

    def forward(
        self,
        x: Tensor,
        context: AttentionContext,
        past: Sequence[KeyValues] = (),
        memory: CrossAttentionCache | None = None,
        selected: Tensor | None = None,
    ) -> tuple[Tensor, tuple[KeyValues, ...]]:
        start, layers = x, []
        for _ in range(TURNS):
            before, x = x, (x + start) / 2
            for block in self.blocks:
                x, key_values = self._run(block, x, context, None)
                layers.append(key_values)
            if bool(((x - before).norm(dim=-1) < SETTLED * before.norm(dim=-1)).all()):
                break
        if selected is not None:
            x = select(x, selected)
        return self.norm(x), tuple(layers)

    def flops(
        self,
        tokens: Amount,
        pairs_at_window: AttentionPairs,
        memory: Amount = 0.0,
        memory_pairs: Amount = 0.0,
        selected: Amount | None = None,
    ) -> Amount:
        return TURNS * super().flops(tokens, pairs_at_window)


def build(size: Size, limits: Limits) -> EncoderOnly:
    def block() -> Block:
        attention, feedforward = Attention(size.dim, size.heads), GatedFeedForward(size.dim, size.hidden)
        return Block(filled(attention), filled(feedforward), RMSNorm, dropout=size.dropout)

    return EncoderOnly(
        Embedding(limits.vocabulary, size.dim, dropout=size.dropout),
        Repeated(size.depth, block, RMSNorm(size.dim)),
        Head(limits.vocabulary, size.dim),
        positions=Rotary(size.head_dim),
        canvas=limits.target_length,
    )
