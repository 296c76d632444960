"""Decoder-only model with two residual streams, mixed doubly stochastically (hyper-connections, 2409.19606, 2512.24880)."""

from collections.abc import Sequence

import torch
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
from archbench.architectures.components.numbers import AttentionPairs
from archbench.architectures.components.stack import select

STREAMS = 2
ROUNDS = 8


class Connection(nn.Module):
    """How a sublayer reads the streams (..., n * d), how its output is written to each, and how they are mixed.

    All three depend on the token: they are a linear map of its streams plus a trained constant.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm = RMSNorm(STREAMS * dim)
        self.dynamic = linear(STREAMS * dim, STREAMS * (STREAMS + 2))
        self.static = nn.Parameter(torch.randn(STREAMS, STREAMS + 2) + 2.0 * torch.eye(STREAMS, STREAMS + 2))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The sublayer's input (..., d), and the matrix (..., n, n + 1) of ``write``."""
        maps = self.dynamic(self.norm(x)).float().unflatten(-1, (STREAMS, STREAMS + 2)) * 0.5 + self.static
        mixing, reading, writing = maps.split([STREAMS, 1, 1], -1)
        matrix = torch.cat([doubly_stochastic(mixing), 2.0 * torch.sigmoid(writing)], -1)
        streams = x.unflatten(-1, (STREAMS, -1))
        return (torch.sigmoid(reading).transpose(-1, -2).to(x.dtype) @ streams).squeeze(-2), matrix.to(x.dtype)

    def write(self, x: Tensor, y: Tensor, matrix: Tensor) -> Tensor:
        """The streams after a sublayer with output y (..., d)."""
        streams = torch.cat([x.unflatten(-1, (STREAMS, -1)), y[..., None, :].to(x.dtype)], -2)
        return (matrix @ streams).flatten(-2)

    def flops(self, tokens: Amount) -> Amount:
        width = self.dynamic.in_features
        return 2.0 * tokens * width * (self.dynamic.out_features + 1 + STREAMS + 1)


def doubly_stochastic(logits: Tensor) -> Tensor:
    """A matrix (..., n, n) whose rows and columns sum to 1: each entry times a factor, found by Sinkhorn and Knopp."""
    matrix = logits.exp()
    with torch.no_grad():
        factors = balanced(matrix) / matrix
    return matrix * factors


def balanced(matrix: Tensor) -> Tensor:
    for _ in range(ROUNDS):
        matrix = matrix / matrix.sum(-1, keepdim=True)
        matrix = matrix / matrix.sum(-2, keepdim=True)
    return matrix


class HyperBlock(Block):
    """A block on streams (b, t, n * d)."""

    def __init__(self, dim: int, attention: nn.Module, feedforward: nn.Module, dropout: float) -> None:
        super().__init__(attention, feedforward, RMSNorm, dropout=dropout)
        self.connect_attention, self.connect_feedforward = Connection(dim), Connection(dim)

    def forward(
        self,
        x: Tensor,
        context: AttentionContext,
        past: KeyValues | None = None,
        memory: KeyValues | Tensor | None = None,
        memory_context: AttentionContext | None = None,
        selected: Tensor | None = None,
    ) -> tuple[Tensor, KeyValues]:
        read, matrix = self.connect_attention(x)
        y, key_values = self.attention(self.around_attention.before(read), context, past)
        x = self.connect_attention.write(x, self.dropout(y), matrix)
        if selected is not None:
            x = select(x, selected)
        read, matrix = self.connect_feedforward(x)
        y = self.feedforward(self.around_feedforward.before(read))
        return self.connect_feedforward.write(x, self.dropout(y), matrix), key_values

    def flops(
        self, tokens: Amount, pairs_at_window: AttentionPairs, memory: Amount = 0.0, memory_pairs: Amount = 0.0
    ) -> Amount:
        return super().flops(tokens, pairs_at_window) + 2.0 * self.connect_attention.flops(tokens)


class HyperStack(Stack):
    """The streams start as copies of the embedding; their mean is normed at the end."""

    def forward(
        self,
        x: Tensor,
        context: AttentionContext,
        past: Sequence[KeyValues] = (),
        memory: CrossAttentionCache | None = None,
        selected: Tensor | None = None,
    ) -> tuple[Tensor, tuple[KeyValues, ...]]:
        return super().forward(x.repeat(1, 1, STREAMS), context, past, memory, selected)

    def flops(
        self,
        tokens: Amount,
        pairs_at_window: AttentionPairs,
        memory: Amount = 0.0,
        memory_pairs: Amount = 0.0,
        selected: Amount | None = None,
    ) -> Amount:
        total = super().flops(tokens, pairs_at_window, memory, memory_pairs, selected)
        last = self.blocks[-1].connect_feedforward
        return total if selected is None else total - last.flops(tokens) + last.flops(selected)


class Mean(nn.Module):
    """The norm of the mean of the streams: (..., n * d) -> (..., d)."""

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x.unflatten(-1, (STREAMS, -1)).mean(-2))


def build(size: Size, limits: Limits) -> DecoderOnly:
    def block() -> HyperBlock:
        attention, feedforward = Attention(size.dim, size.heads), GatedFeedForward(size.dim, size.hidden)
        return HyperBlock(size.dim, attention, feedforward, size.dropout)

    return DecoderOnly(
        Embedding(limits.vocabulary, size.dim, dropout=size.dropout),
        HyperStack(size.depth, block, Mean(RMSNorm(size.dim))),
        Head(limits.vocabulary, size.dim),
        positions=Rotary(size.head_dim),
    )
