"""Decoder-only model in the form of a U: the states of early layers are added to those of late ones (2309.14174)."""

from collections.abc import Callable, Sequence

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


class UStack(Stack):
    """The states before layer i of the first half are added, by a trained share, before the i-th layer from the end."""

    def __init__(self, depth: int, block: Callable[[], Block], norm: nn.Module) -> None:
        super().__init__(depth, block, norm)
        self.half = depth // 2
        self.shares = nn.Parameter(torch.full((self.half,), 0.5)) if self.half else None

    def forward(
        self,
        x: Tensor,
        context: AttentionContext,
        past: Sequence[KeyValues] = (),
        memory: CrossAttentionCache | None = None,
        selected: Tensor | None = None,
    ) -> tuple[Tensor, tuple[KeyValues, ...]]:
        layers, early = [], []
        for layer, block in enumerate(self.blocks):
            from_end = len(self.blocks) - 1 - layer
            if layer < self.half:
                early.append(x)
            elif from_end < self.half and self.shares is not None:
                x = x + self.shares[from_end] * early[from_end]
            last = {} if selected is None or from_end else {"selected": selected}
            x, key_values = self._run(block, x, context, past[layer] if past else None, **last)
            layers.append(key_values)
        return self.norm(x), tuple(layers)


def build(size: Size, limits: Limits) -> DecoderOnly:
    def block() -> Block:
        attention = Attention(size.dim, size.heads)
        return Block(attention, GatedFeedForward(size.dim, size.hidden), RMSNorm, dropout=size.dropout)

    return DecoderOnly(
        Embedding(limits.vocabulary, size.dim, dropout=size.dropout),
        UStack(2 * max(1, size.depth // 2), block, RMSNorm(size.dim)),
        Head(limits.vocabulary, size.dim),
        positions=Rotary(size.head_dim),
    )
