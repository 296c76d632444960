"""Decoder-only model with recurrent layers that forget at chosen time scales (minGRU, 2410.01201; 1804.11188) between attention layers."""

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


class SlowGRU(nn.Module):
    """``h = (1 - z) * h + z * candidate``; the bias of z starts at time scales between 2 and ``longest`` tokens.

    The cache has the state after the last token. Padding leaves a state as it is.
    """

    window: int | None = None

    def __init__(self, dim: int, longest: int) -> None:
        super().__init__()
        self.dim = dim
        self.inputs = linear(dim, 3 * dim, splits=(dim, dim, dim))
        self.slowness = nn.Parameter(torch.log(torch.rand(dim) * longest + 1.0) + 1.0)
        self.output = linear(dim, dim, zero=True)

    def forward(self, x: Tensor, context: AttentionContext, past: KeyValues | None = None) -> tuple[Tensor, KeyValues]:
        update, candidate, gate = self.inputs(x).chunk(3, -1)
        update = torch.sigmoid(update - self.slowness.to(update.dtype))
        if context.present is not None:
            update = update.masked_fill(~context.present[:, -x.shape[1] :, None], 0.0)
        state = torch.zeros_like(update[:, 0]) if past is None else past.keys[:, 0, 0]
        states = []
        for keep, add in zip((1 - update).unbind(1), (update * candidate).unbind(1), strict=True):
            state = keep * state + add
            states.append(state)
        kept = state[:, None, None]
        y = F.rms_norm(torch.stack(states, 1), (self.dim,)) * F.silu(gate)
        return self.output(y.to(x.dtype)), KeyValues(kept, kept)

    def flops(self, queries: Amount, keys: Amount, pairs: Amount) -> Amount:
        return 4.0 * (queries + keys) * self.dim**2


def build(size: Size, limits: Limits) -> DecoderOnly:
    def block(layer: int) -> Block:
        attention = Attention(size.dim, size.heads) if layer % 2 else SlowGRU(size.dim, limits.length)
        return Block(attention, GatedFeedForward(size.dim, size.hidden), RMSNorm, dropout=size.dropout)

    return DecoderOnly(
        Embedding(limits.vocabulary, size.dim, dropout=size.dropout),
        Stack(size.depth, block, RMSNorm(size.dim)),
        Head(limits.vocabulary, size.dim),
        positions=Rotary(size.head_dim),
    )
