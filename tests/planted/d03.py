"""Encoder-only model whose masked cells weigh at most 4, so that draws with few of them do not rule a step."""

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
from archbench.architectures.objectives.masked import MaskDraw

HEAVIEST = 4.0


@dataclass(frozen=True)
class Bounded(Masked):
    """As ``Masked``; a cell weighs min(n / k, 4)."""

    @property
    def left_to_right_estimator(self) -> Masked:
        return Masked(next_cell=True)

    def _draw_mask(self, real: Tensor, generator: torch.Generator | None) -> MaskDraw:
        draw = super()._draw_mask(real, generator)
        return draw._replace(weights=draw.weights.clamp(max=HEAVIEST))


def build(size: Size, limits: Limits) -> EncoderOnly:
    def block() -> Block:
        attention = Attention(size.dim, size.heads)
        return Block(attention, GatedFeedForward(size.dim, size.hidden), RMSNorm, dropout=size.dropout)

    return EncoderOnly(
        Embedding(limits.vocabulary, size.dim, dropout=size.dropout),
        Stack(size.depth, block, RMSNorm(size.dim)),
        Head(limits.vocabulary, size.dim),
        positions=Rotary(size.head_dim),
        objective=Bounded(),
        canvas=limits.target_length,
    )
