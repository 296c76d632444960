"""Encoder-decoder model whose encoder has four experts that choose their tokens (expert choice, 2202.09368)."""

import numpy as np
import torch
from torch import Tensor, nn

from archbench.architectures import (
    Amount,
    Attention,
    AttentionContext,
    Block,
    Embedding,
    EncoderDecoder,
    FeedForward,
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

EXPERTS, CAPACITY = 4, 2.0


class ExpertChoice(nn.Module):
    """Each expert reads the tokens of a text for which the router gives it the most: a text of n, 2 n / 4 of them."""

    def __init__(self, dim: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.router = linear(dim, EXPERTS)
        self.experts = nn.ModuleList(FeedForward(dim, hidden, dropout=dropout) for _ in range(EXPERTS))

    def forward(self, x: Tensor, present: Tensor | None = None) -> Tensor:
        share = self.router(x).float().softmax(-1)
        if present is not None:
            share = share * present[..., None]
        y, count = torch.zeros_like(x), int(np.ceil(x.shape[1] * CAPACITY / EXPERTS))
        for number, expert in enumerate(self.experts):
            weight, chosen = share[..., number].topk(count, dim=1)
            index = chosen[..., None].expand(-1, -1, x.shape[-1])
            read = expert(x.gather(1, index)) * weight[..., None]
            y = y.scatter_add(1, index, read.to(y.dtype))
        return y

    def flops(self, tokens: Amount) -> Amount:
        count: Amount = np.ceil(tokens * CAPACITY / EXPERTS)
        each = sum(expert.flops(count) for expert in self.experts)
        return 2.0 * tokens * self.router.in_features * EXPERTS + each


class ExpertBlock(Block):
    """Tells the experts where padding is."""

    def forward(
        self,
        x: Tensor,
        context: AttentionContext,
        past: KeyValues | None = None,
        memory: KeyValues | Tensor | None = None,
        memory_context: AttentionContext | None = None,
        selected: Tensor | None = None,
    ) -> tuple[Tensor, KeyValues]:
        y, key_values = self.attention(self.around_attention.before(x), context, past)
        x = self.around_attention.after(x, self.dropout(y))
        y = self.feedforward(self.around_feedforward.before(x), context.present)
        return self.around_feedforward.after(x, self.dropout(y)), key_values


def build(size: Size, limits: Limits) -> EncoderDecoder:
    def block(cross: bool) -> Block:
        if not cross:
            experts = ExpertChoice(size.dim, size.hidden, size.dropout)
            return ExpertBlock(Attention(size.dim, size.heads), experts, RMSNorm, dropout=size.dropout)
        return Block(
            Attention(size.dim, size.heads),
            GatedFeedForward(size.dim, size.hidden),
            RMSNorm,
            cross=Attention(size.dim, size.heads),
            dropout=size.dropout,
        )

    return EncoderDecoder(
        Embedding(limits.vocabulary, size.dim, dropout=size.dropout),
        Stack(size.depth, lambda: block(cross=False), RMSNorm(size.dim)),
        Stack(size.depth, lambda: block(cross=True), RMSNorm(size.dim)),
        Head(limits.vocabulary, size.dim),
        positions=Rotary(size.head_dim),
    )
