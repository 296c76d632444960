"""Decoder-only model with gated linear attention, a decay per head and token (GLA, 2312.06635; Mamba-2, 2405.21060)."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from archbench.architectures import (
    Amount,
    AttentionContext,
    Block,
    DecoderOnly,
    Embedding,
    GatedFeedForward,
    Head,
    KeyValues,
    Limits,
    NoPositions,
    RMSNorm,
    Size,
    Stack,
)
from archbench.architectures.components.initial import linear

SLOWNESS = 8.0  # log-decays are divided by it, so that an untrained head forgets slowly
FAINT = -20.0  # a log-decay of which nothing is left: exp(-FAINT) is still precise


class GatedLinearAttention(nn.Module):
    """Key j weighs ``(q_i . k_j) * product of the decays after j up to i``; each head's output is normed.

    The cache has the keys, with the logarithm of the decay so far as one more channel (relative to the last token, so
    that it does not grow with the text), and the values.
    """

    window: int | None = None

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.dim, self.heads, self.head_dim = dim, heads, dim // heads
        self.query_key_value = linear(dim, 3 * dim, splits=(dim, dim, dim))
        self.decay, self.gate = linear(dim, heads), linear(dim, dim)
        self.norm = RMSNorm(self.head_dim)
        self.output = linear(dim, dim, zero=True)

    def forward(self, x: Tensor, context: AttentionContext, past: KeyValues | None = None) -> tuple[Tensor, KeyValues]:
        q, k, v = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in self.query_key_value(x).chunk(3, -1))
        step = F.logsigmoid(self.decay(x).float()).transpose(1, 2) / SLOWNESS
        if context.present is not None:
            step = step.masked_fill(~context.present[:, None, -x.shape[1] :], 0.0)
        so_far = step.cumsum(-1)[..., None]
        keys, values, since = k, v, so_far
        if past is not None:
            before = past.keys[..., -1:].float()
            keys, values = torch.cat([past.keys[..., :-1].to(k.dtype), k], 2), torch.cat([past.values, v], 2)
            since = torch.cat([before - before[:, :, -1:], so_far], 2)
        fading, growing = so_far.clamp(min=FAINT).exp(), (-since.clamp(min=FAINT)).exp()
        scores = (q * fading * self.head_dim**-0.5).float() @ (keys * growing).float().transpose(2, 3)
        mask = context.mask()
        if mask is not None:
            scores = scores.masked_fill(~mask, 0.0)
        weights = scores
        y = self.norm((weights.to(v.dtype) @ values).transpose(1, 2).contiguous()).flatten(2)
        kept = KeyValues(torch.cat([keys.float(), since - since[:, :, -1:]], -1), values)
        return self.output(y * F.silu(self.gate(x))), kept

    def flops(self, queries: Amount, keys: Amount, pairs: Amount) -> Amount:
        projections = 6.0 * queries * self.dim**2 + 4.0 * keys * self.dim**2
        return projections + 2.0 * keys * self.dim * self.heads + 4.0 * pairs * self.dim


def build(size: Size, limits: Limits) -> DecoderOnly:
    def block() -> Block:
        attention = GatedLinearAttention(size.dim, size.heads)
        return Block(attention, GatedFeedForward(size.dim, size.hidden), RMSNorm, dropout=size.dropout)

    return DecoderOnly(
        Embedding(limits.vocabulary, size.dim, dropout=size.dropout),
        Stack(size.depth, block, RMSNorm(size.dim)),
        Head(limits.vocabulary, size.dim),
        positions=NoPositions(),
    )
