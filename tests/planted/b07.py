"""Encoder-only model trained to fill one span of its target, from any rest of it (after SpanBERT, 1907.10529)."""

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
from archbench.architectures.objectives.masked import MaskDraw, drawn_count, fixed_count


@dataclass(frozen=True)
class Spans(Masked):
    """Masks k neighbouring tokens, k as in ``Masked``. A span that reaches the end goes on at the beginning.

    Every token is as likely to be masked as any other, and each of the k weighs n / k.
    """

    @property
    def estimate_is_bound(self) -> bool:
        return False

    def _draw_mask(self, real: Tensor, generator: torch.Generator | None) -> MaskDraw:
        lengths = real.sum(1, keepdim=True)
        if self.rate is None:
            count = drawn_count(lengths, self._rates(len(real), generator))
        else:
            count = fixed_count(lengths, self.rate)
        begin = (torch.rand(len(real), 1, generator=generator) * lengths).long()
        masked = ((torch.arange(real.shape[1]) - begin) % lengths.clamp(min=1) < count) & real
        return MaskDraw(masked, masked, (lengths / masked.sum(1, keepdim=True)).expand(real.shape))


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
        objective=Spans(),
    )
