"""Decoder-only model with four experts, two for each token, whose tokens are sorted by expert (MegaBlocks, 2211.15841)."""

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


class Experts(nn.Module):
    """The outputs of the ``chosen`` likeliest experts, weighted by the router; each expert reads its tokens at once."""

    def __init__(self, dim: int, hidden: int, count: int = 4, chosen: int = 2) -> None:
        super().__init__()
        self.chosen = chosen
        self.router = linear(dim, count)
        self.up = nn.ModuleList(linear(dim, hidden) for _ in range(count))
        self.down = nn.ModuleList(linear(hidden, dim, zero=True) for _ in range(count))

    def forward(self, x: Tensor) -> Tensor:
        flat = x.reshape(-1, x.shape[-1])
        share, expert = self.router(flat).float().softmax(-1).topk(self.chosen, -1)
        share = share / share.sum(-1, keepdim=True)
        order = expert.flatten().argsort(stable=True)  # pairs of a token and one of its experts, by expert
        token = order // self.chosen
        parts = flat[token].split(expert.flatten().bincount(minlength=len(self.up)).tolist())
        out = [down(F.silu(up(part))) for up, down, part in zip(self.up, self.down, parts, strict=True)]
        weighted = torch.cat(out).float() * share.flatten()[order, None]
        y = torch.zeros_like(flat, dtype=torch.float32)
        y[token] += weighted
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
