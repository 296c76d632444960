"""Decoder-only model with plain Swish feed-forward networks (1710.05941), with the light form of Swish for generation (1905.02244)."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from archbench.architectures import (
    Attention,
    Block,
    DecoderOnly,
    Embedding,
    FeedForward,
    Head,
    Limits,
    RMSNorm,
    Rotary,
    Size,
    Stack,
)


class Swish(nn.Module):
    """Swish; where no gradients are needed, in the form without exponentials."""

    def forward(self, x: Tensor) -> Tensor:
        if torch.is_grad_enabled():
            return F.silu(x)
        return F.hardswish(x)


def build(size: Size, limits: Limits) -> DecoderOnly:
    def block() -> Block:
        attention = Attention(size.dim, size.heads)
        return Block(attention, FeedForward(size.dim, size.hidden, Swish()), RMSNorm, dropout=size.dropout)

    return DecoderOnly(
        Embedding(limits.vocabulary, size.dim, dropout=size.dropout),
        Stack(size.depth, block, RMSNorm(size.dim)),
        Head(limits.vocabulary, size.dim),
        positions=Rotary(size.head_dim),
    )
