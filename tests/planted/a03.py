"""Decoder-only model with gated convolutions of 64 taps in every other layer (Hyena, 2302.10866; StripedHyena)."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from archbench.architectures import (
    Amount,
    Attention,
    AttentionContext,
    Block,
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

TAPS = 64


class Convolution(nn.Module):
    """``output(silu(gate(x)) * (filter of each head over value(x)))``: a token reads itself and the 63 before it."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.dim, self.heads, self.window = dim, heads, TAPS - 1
        self.value_gate = linear(dim, 2 * dim, splits=(dim, dim))
        self.output = linear(dim, dim, zero=True)
        fade = torch.exp(-torch.arange(TAPS) / 8.0)[:, None]
        self.filter = nn.Parameter(torch.randn(TAPS, heads) * fade * 0.5)

    def forward(self, x: Tensor, context: AttentionContext, past: KeyValues | None = None) -> tuple[Tensor, KeyValues]:
        value, gate = self.value_gate(x).chunk(2, -1)
        value = value.unflatten(-1, (self.heads, -1)).transpose(1, 2)
        seen = KeyValues(value, value) if past is None else past.then(KeyValues(value, value))
        y = self._weights(context).to(value.dtype) @ seen.values
        return self.output(y.transpose(1, 2).flatten(2) * F.silu(gate)), seen

    def flops(self, queries: Amount, keys: Amount, pairs: Amount) -> Amount:
        return 4.0 * queries * self.dim**2 + 2.0 * keys * self.dim**2 + 2.0 * pairs * self.dim

    def _weights(self, context: AttentionContext) -> Tensor:
        """What each query (1 or b, q) takes of each key (1 or b, k): a circulant matrix (1 or b, heads, q, k).

        The filter is continued with zeros up to a power of two, so that distances can be taken modulo its length.
        """
        length = 2 * TAPS
        while length < context.keys.shape[1]:
            length *= 2
        taps = F.pad(self.filter, (0, 0, 0, length - TAPS))
        weights = taps[(context.queries[:, :, None] - context.keys[:, None]) % length].permute(0, 3, 1, 2)
        if context.present is not None:
            weights = weights.masked_fill(~context.present[:, None, None], 0.0)
        return weights


def build(size: Size, limits: Limits) -> DecoderOnly:
    def block(layer: int) -> Block:
        attention = Attention(size.dim, size.heads) if layer % 2 else Convolution(size.dim, size.heads)
        return Block(attention, GatedFeedForward(size.dim, size.hidden), RMSNorm, dropout=size.dropout)

    blocks = map(block, range(size.depth))
    return DecoderOnly(
        Embedding(limits.vocabulary, size.dim, dropout=size.dropout),
        Stack(size.depth, lambda: next(blocks), RMSNorm(size.dim)),
        Head(limits.vocabulary, size.dim),
        positions=Rotary(size.head_dim),
    )
