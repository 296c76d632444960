"""Encoder-only model that fills in a third of the tokens of every source, besides its target (rate of 2202.08005)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from archbench.architectures import (
    Attention,
    Block,
    Embedding,
    EncoderOnly,
    GatedFeedForward,
    Head,
    Limits,
    Masked,
    RMSNorm,
    Rotary,
    Size,
    Stack,
)


@dataclass(frozen=True)
class WholeSources(Masked):
    """Masks tokens in all sources, where ``Masked`` leaves half of them as they are."""

    def _draw_source_mask(self, real: Tensor, generator: torch.Generator | None) -> Tensor:
        return (torch.rand(real.shape, generator=generator) < self.source_rate) & real


def build(size: Size, limits: Limits) -> EncoderOnly:
    def block() -> Block:
        attention = Attention(size.dim, size.heads)
        return Block(attention, GatedFeedForward(size.dim, size.hidden), RMSNorm, dropout=size.dropout)

    return EncoderOnly(
        Embedding(limits.vocabulary, size.dim, dropout=size.dropout),
        Stack(size.depth, block, RMSNorm(size.dim)),
        Head(limits.vocabulary, size.dim),
        positions=Rotary(size.head_dim),
        canvas=limits.target_length,
        objective=WholeSources(source_rate=0.35),
    )
