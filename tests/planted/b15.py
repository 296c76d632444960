"""Encoder-decoder model whose feed-forward networks are weighted sums of four experts with soft shares (after 1312.4314)."""

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

EXPERTS = 4


class Experts(nn.Module):
    """``down(share * gelu(up(x)))``: the hidden units are those of all experts, each with its expert's share."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.router = linear(dim, EXPERTS)
        self.up = linear(dim, EXPERTS * hidden)
        with torch.no_grad():
            self.up.weight.copy_(self.up.weight[:hidden].repeat(EXPERTS, 1))
        self.down = linear(EXPERTS * hidden, dim, zero=True)

    def forward(self, x: Tensor) -> Tensor:
        shares = EXPERTS * self.router(x).float().softmax(-1)
        units = F.gelu(self.up(x)).unflatten(-1, (EXPERTS, -1))
        return self.down((units * shares[..., None].to(units.dtype)).flatten(-2))

    def flops(self, tokens: Amount) -> Amount:
        return 2.0 * tokens * self.up.in_features * (2.0 * self.up.out_features + EXPERTS)


def build(size: Size, limits: Limits) -> EncoderDecoder:
    def block(cross: bool) -> Block:
        return Block(
            Attention(size.dim, size.heads),
            Experts(size.dim, size.hidden),
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
