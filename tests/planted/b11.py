"""Encoder-only model whose feed-forward networks are read out of many random features (reservoirs, 2012.15045)."""

from torch import Tensor, nn
from torch.nn import functional as F

from archbench.architectures import (
    Amount,
    Attention,
    Block,
    Embedding,
    EncoderOnly,
    Head,
    Limits,
    RMSNorm,
    Rotary,
    Size,
    Stack,
)
from archbench.architectures.components.initial import linear


class Features(nn.Module):
    """``down(silu(gate(x)) * up(x))``, whose gate and up are drawn once."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.gate, self.up = linear(dim, hidden), linear(dim, hidden)
        self.gate.requires_grad_(False)
        self.up.requires_grad_(False)
        self.down = linear(hidden, dim, zero=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(F.silu(self.gate(x)) * self.up(x))

    def flops(self, tokens: Amount) -> Amount:
        return 6.0 * tokens * self.down.in_features * self.down.out_features


def build(size: Size, limits: Limits) -> EncoderOnly:
    def block() -> Block:
        attention = Attention(size.dim, size.heads)
        return Block(attention, Features(size.dim, size.hidden), RMSNorm, dropout=size.dropout)

    return EncoderOnly(
        Embedding(limits.vocabulary, size.dim, dropout=size.dropout),
        Stack(size.depth, block, RMSNorm(size.dim)),
        Head(limits.vocabulary, size.dim),
        positions=Rotary(size.head_dim),
        canvas=limits.target_length,
    )
