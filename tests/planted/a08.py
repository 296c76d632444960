"""Decoder-only model with gated recurrent layers between attention layers (minGRU, 2410.01201; Griffin, 2402.19427)."""

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

CHUNK = 64  # steps of a recurrence that is unrolled at once


class MinGRU(nn.Module):
    """``h = (1 - z) * h + z * candidate``, with z and candidate from the input alone; the output is gated.

    The cache has the state after the last token. Padding leaves a state as it is.
    """

    window: int | None = None

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim
        self.inputs = linear(dim, 3 * dim, splits=(dim, dim, dim))
        self.output = linear(dim, dim, zero=True)

    def forward(self, x: Tensor, context: AttentionContext, past: KeyValues | None = None) -> tuple[Tensor, KeyValues]:
        update, candidate, gate = self.inputs(x).float().chunk(3, -1)
        update = torch.sigmoid(update)
        if context.present is not None:
            update = update.masked_fill(~context.present[:, -x.shape[1] :, None], 0.0)
        state = torch.zeros_like(update[:, 0]) if past is None else past.keys[:, 0, 0]
        chunks = []
        for keep, add in zip((1 - update).split(CHUNK, 1), (update * candidate).split(CHUNK, 1), strict=True):
            states, state = scan(keep, add, state)
            chunks.append(states)
            state = state.detach()
        y = torch.cat(chunks, 1) * F.silu(gate)
        kept = state[:, None, None]
        return self.output(y.to(x.dtype)), KeyValues(kept, kept)

    def flops(self, queries: Amount, keys: Amount, pairs: Amount) -> Amount:
        return 4.0 * (queries + keys) * self.dim**2


def scan(keep: Tensor, add: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """The states (b, n, d) of ``state = keep * state + add`` over n steps, and the last one."""
    states = []
    for kept, added in zip(keep.unbind(1), add.unbind(1), strict=True):
        state = torch.addcmul(added, kept, state)
        states.append(state)
    return torch.stack(states, 1), state


def build(size: Size, limits: Limits) -> DecoderOnly:
    def block(layer: int) -> Block:
        attention = Attention(size.dim, size.heads) if layer % 2 else MinGRU(size.dim)
        return Block(attention, GatedFeedForward(size.dim, size.hidden), RMSNorm, dropout=size.dropout)

    blocks = map(block, range(size.depth))
    return DecoderOnly(
        Embedding(limits.vocabulary, size.dim, dropout=size.dropout),
        Stack(size.depth, lambda: next(blocks), RMSNorm(size.dim)),
        Head(limits.vocabulary, size.dim),
        positions=Rotary(size.head_dim),
    )
