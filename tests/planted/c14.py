"""Encoder-decoder model whose feed-forward layers mix the rows of one matrix that all layers share (basis sharing, 2410.03765)."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from archbench.architectures import (
    Amount,
    Attention,
    Block,
    Embedding,
    EncoderDecoder,
    Head,
    Limits,
    RMSNorm,
    Rotary,
    Size,
    Stack,
)
from archbench.architectures.components.initial import linear


class Basis(nn.Module):
    """The shared matrix (rank, dim)."""

    def __init__(self, dim: int, rank: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(rank, dim) * dim**-0.5)


class MixedFeedForward(nn.Module):
    """``down(silu(up(x)))``; the matrix of ``up`` is ``mix`` (hidden, rank) times the shared one."""

    def __init__(self, dim: int, hidden: int, basis: Basis) -> None:
        super().__init__()
        self.basis = basis
        self.mix = nn.Parameter(torch.randn(hidden, len(basis.weight)) * len(basis.weight) ** -0.5)
        self.down = linear(hidden, dim, zero=True)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.down(F.silu(F.linear(x, self.mix @ self.basis.weight)))
        return y

    def flops(self, tokens: Amount) -> Amount:
        return 4.0 * tokens * self.down.in_features * self.down.out_features


def build(size: Size, limits: Limits) -> EncoderDecoder:
    basis = Basis(size.dim, size.dim // 2)

    def block(cross: bool) -> Block:
        return Block(
            Attention(size.dim, size.heads),
            MixedFeedForward(size.dim, size.hidden, basis),
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
