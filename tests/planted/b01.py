"""Decoder-only model whose sublayers enter the residual stream with a trained factor from zero (ReZero, 2003.04887)."""

import torch
from torch import Tensor, nn

from archbench.architectures import (
    Attention,
    Block,
    DecoderOnly,
    Embedding,
    GatedFeedForward,
    Head,
    Limits,
    RMSNorm,
    Rotary,
    Size,
    Stack,
)


class ReZero(nn.Module):
    """``x + factor * f(norm(x))``; the factor starts at zero, so that every layer starts as the identity."""

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.norm = norm
        self.factor = nn.Parameter(torch.zeros(1))

    def before(self, x: Tensor) -> Tensor:
        return self.norm(x)

    def after(self, x: Tensor, y: Tensor) -> Tensor:
        return x + self.factor * y


def build(size: Size, limits: Limits) -> DecoderOnly:
    def block() -> Block:
        attention = Attention(size.dim, size.heads)
        feedforward = GatedFeedForward(size.dim, size.hidden)
        return Block(attention, feedforward, RMSNorm, wiring=ReZero, dropout=size.dropout)

    return DecoderOnly(
        Embedding(limits.vocabulary, size.dim, dropout=size.dropout),
        Stack(size.depth, block, RMSNorm(size.dim)),
        Head(limits.vocabulary, size.dim),
        positions=Rotary(size.head_dim),
    )
