"""Decoder-only model with normed queries and keys and attention in parts of 64 keys, which takes less memory (2112.05682)."""

import torch
from torch import Tensor

from archbench.architectures import (
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

PART = 64


class AttentionInParts(Attention):
    """Attention whose softmax is updated with every ``PART`` keys."""

    def forward(
        self,
        x: Tensor,
        context: AttentionContext,
        past: KeyValues | None = None,
        memory: KeyValues | Tensor | None = None,
    ) -> tuple[Tensor, KeyValues]:
        q, k, v = self._project(x, context.rotation)
        key_values = KeyValues(k, v) if past is None else past.then(KeyValues(k, v))
        mask = context.mask()
        if mask is None:
            mask = torch.ones(1, 1, 1, key_values.keys.shape[2], dtype=torch.bool, device=x.device)
        y = attended(q * self.scaling, key_values.keys, key_values.values, mask)
        return self.output(y.to(x.dtype).transpose(1, 2).flatten(2)), key_values


def attended(q: Tensor, keys: Tensor, values: Tensor, mask: Tensor) -> Tensor:
    """Values (b, h, k, e) weighted by the softmax of scores of q (b, h, q, e): the largest score so far is subtracted."""
    top = torch.full_like(q[..., :1], float("-inf"), dtype=torch.float32)
    total = torch.zeros_like(top)
    y = torch.zeros_like(q, dtype=torch.float32)
    for key, value, visible in zip(keys.split(PART, 2), values.split(PART, 2), mask.split(PART, 3), strict=True):
        scores = (q @ key.transpose(2, 3)).float().masked_fill(~visible, float("-inf"))
        largest = torch.maximum(top, scores.amax(-1, keepdim=True).detach())
        shift = largest.masked_fill(largest == float("-inf"), 0.0)
        weights, fade = (scores - shift).exp(), (top - shift).exp()
        total = total * fade + weights.sum(-1, keepdim=True)
        y = y + weights.to(value.dtype) @ value
        top = largest
    return y / total


def build(size: Size, limits: Limits) -> DecoderOnly:
    def block() -> Block:
        attention = AttentionInParts(size.dim, size.heads, qk_norm=True)
        return Block(attention, GatedFeedForward(size.dim, size.hidden), RMSNorm, dropout=size.dropout)

    return DecoderOnly(
        Embedding(limits.vocabulary, size.dim, dropout=size.dropout),
        Stack(size.depth, block, RMSNorm(size.dim)),
        Head(limits.vocabulary, size.dim),
        positions=Rotary(size.head_dim),
    )
