"""Decoder-only model with multi-head latent attention: the cache has one small vector per token (2405.04434)."""

import torch
from torch import Tensor, nn

from archbench.architectures import (
    Amount,
    AttentionContext,
    Block,
    DecoderOnly,
    Embedding,
    GatedFeedForward,
    Head,
    KeyValues,
    Learned,
    Limits,
    RMSNorm,
    Size,
    Stack,
)
from archbench.architectures.components.initial import linear


class LatentAttention(nn.Module):
    """Keys and values are linear maps, one per head, of a latent vector of two heads' width.

    The maps of keys are applied to queries and those of values to what was read, so that all heads read the latents.
    The cache has them as whole numbers of eight bits, with a scale for each token.
    """

    window: int | None = None

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.dim, self.heads, self.head_dim = dim, heads, dim // heads
        self.rank = 2 * self.head_dim
        self.query, self.latent = linear(dim, dim), linear(dim, self.rank)
        self.norm = RMSNorm(self.rank)
        self.key = nn.Parameter(torch.randn(heads, self.head_dim, self.rank) * self.rank**-0.5)
        self.value = nn.Parameter(torch.randn(heads, self.rank, self.head_dim) * self.rank**-0.5)
        self.output = linear(dim, dim, zero=True)

    def forward(self, x: Tensor, context: AttentionContext, past: KeyValues | None = None) -> tuple[Tensor, KeyValues]:
        q = self.query(x).unflatten(-1, (self.heads, -1)).transpose(1, 2) @ self.key
        latents = new = self.norm(self.latent(x))[:, None]
        if past is not None:
            latents = torch.cat([(past.keys * past.values).to(new.dtype), new], 2)
        scores = (q * self.head_dim**-0.5) @ latents.transpose(2, 3)
        mask = context.mask()
        if mask is not None:
            scores = scores.masked_fill(~mask, float("-inf"))
        y = scores.softmax(-1).to(latents.dtype) @ latents @ self.value
        codes, scales = compressed(new)
        if past is not None:
            codes, scales = torch.cat([past.keys, codes], 2), torch.cat([past.values, scales], 2)
        return self.output(y.transpose(1, 2).flatten(2)), KeyValues(codes, scales)

    def flops(self, queries: Amount, keys: Amount, pairs: Amount) -> Amount:
        maps = 4.0 * queries * self.dim**2 + 4.0 * queries * self.dim * self.rank
        return maps + 2.0 * keys * self.dim * self.rank + 4.0 * pairs * self.heads * self.rank


def compressed(latents: Tensor) -> tuple[Tensor, Tensor]:
    """Latents (..., r) as numbers from -127 to 127 (..., r) and their scales (..., 1)."""
    scales = latents.float().abs().amax(-1, keepdim=True).clamp(min=1e-6) / 127
    return (latents / scales).round().to(torch.int8), scales


def build(size: Size, limits: Limits) -> DecoderOnly:
    def block() -> Block:
        attention = LatentAttention(size.dim, size.heads)
        return Block(attention, GatedFeedForward(size.dim, size.hidden), RMSNorm, dropout=size.dropout)

    return DecoderOnly(
        Embedding(limits.vocabulary, size.dim, dropout=size.dropout),
        Stack(size.depth, block, RMSNorm(size.dim)),
        Head(limits.vocabulary, size.dim),
        positions=Learned(limits.length, size.dim),
    )
