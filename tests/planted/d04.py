"""Encoder-only model that attends by distance: the weight of a key falls with its squared distance (L2, 2006.04710)."""

import torch
from torch import Tensor

from archbench.architectures import (
    Amount,
    Attention,
    AttentionContext,
    Block,
    Embedding,
    EncoderOnly,
    GatedFeedForward,
    Head,
    KeyValues,
    Limits,
    RMSNorm,
    Rotary,
    Size,
    Stack,
)


class DistanceAttention(Attention):
    """Scores are ``-|q - k|^2 / (2 sqrt(e))``."""

    def forward(
        self,
        x: Tensor,
        context: AttentionContext,
        past: KeyValues | None = None,
        memory: KeyValues | Tensor | None = None,
    ) -> tuple[Tensor, KeyValues]:
        q, k, v = self._project(x, context.rotation)
        q, k = q.float(), k.float()
        squares = torch.cdist(q, k, compute_mode="donot_use_mm_for_euclid_dist").square()
        scores = squares * (-0.5 * self.scaling)
        mask = context.mask()
        if mask is not None:
            scores = scores.masked_fill(~mask, float("-inf"))
        y = scores.softmax(-1).to(v.dtype) @ v
        return self.output(y.transpose(1, 2).flatten(2)), KeyValues(k, v)

    def flops(self, queries: Amount, keys: Amount, pairs: Amount) -> Amount:
        projections = 4.0 * queries * self.dim * self.inner + 4.0 * keys * self.dim * self.inner
        return projections + 2.0 * pairs * self.inner  # the values


def build(size: Size, limits: Limits) -> EncoderOnly:
    def block() -> Block:
        attention = DistanceAttention(size.dim, size.heads)
        return Block(attention, GatedFeedForward(size.dim, size.hidden), RMSNorm, dropout=size.dropout)

    return EncoderOnly(
        Embedding(limits.vocabulary, size.dim, dropout=size.dropout),
        Stack(size.depth, block, RMSNorm(size.dim)),
        Head(limits.vocabulary, size.dim),
        positions=Rotary(size.head_dim),
        canvas=limits.target_length,
    )
