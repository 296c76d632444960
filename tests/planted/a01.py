"""Decoder-only model with sparsely gated experts: two of four read each token (GShard, 2006.16668; Mixtral, 2401.04088)."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from archbench.architectures import (
    Amount,
    Attention,
    Block,
    DecoderOnly,
    Embedding,
    Head,
    Limits,
    RMSNorm,
    Rotary,
    Size,
    Stack,
)
from archbench.architectures.components.initial import linear


LEAST = 32  # tokens that an expert always has room for


class Experts(nn.Module):
    """The mean of the outputs of the ``chosen`` likeliest experts, weighted by the router.

    An expert has room for ``room`` times its equal share of the tokens.
    """

    def __init__(self, dim: int, hidden: int, count: int = 4, chosen: int = 2, room: float = 1.5) -> None:
        super().__init__()
        self.chosen, self.room = chosen, room
        self.router = linear(dim, count)
        self.up = nn.ModuleList(linear(dim, hidden) for _ in range(count))
        self.down = nn.ModuleList(linear(hidden, dim, zero=True) for _ in range(count))

    def forward(self, x: Tensor) -> Tensor:
        flat = x.reshape(-1, x.shape[-1])
        share, expert = self.router(flat).float().softmax(-1).topk(self.chosen, -1)
        share = share / share.sum(-1, keepdim=True)
        y = torch.zeros_like(flat, dtype=torch.float32)
        capacity = max(LEAST, math.ceil(self.room * expert.numel() / len(self.up)))
        for number, (up, down) in enumerate(zip(self.up, self.down, strict=True)):
            token, rank = (part[:capacity] for part in (expert == number).nonzero(as_tuple=True))
            out = down(F.silu(up(flat[token]))).float()
            y = y.index_add(0, token, out * share[token, rank, None])
        return y.view(x.shape).to(x.dtype)

    def flops(self, tokens: Amount) -> Amount:
        first = self.up[0]
        return tokens * (
            2.0 * self.router.in_features * self.router.out_features
            + 4.0 * self.chosen * first.in_features * first.out_features
        )


def build(size: Size, limits: Limits) -> DecoderOnly:
    def block() -> Block:
        attention = Attention(size.dim, size.heads)
        return Block(attention, Experts(size.dim, size.hidden), RMSNorm, dropout=size.dropout)

    return DecoderOnly(
        Embedding(limits.vocabulary, size.dim, dropout=size.dropout),
        Stack(size.depth, block, RMSNorm(size.dim)),
        Head(limits.vocabulary, size.dim),
        positions=Rotary(size.head_dim),
    )
