"""Encoder-only model that fills canvases in rounds for 32 rows at a time, which bounds memory (1904.09324)."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from archbench.architectures import (
    Attention,
    Block,
    Decoding,
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
from archbench.architectures.objectives.generate import decode_iteratively

ROWS = 32


@dataclass(frozen=True)
class MaskedInParts(Masked):
    """``Masked``; rounds of decoding read at most ``ROWS`` canvases at once."""

    def generate(
        self,
        model: Any,
        source: Tensor,
        source_mask: Tensor | None,
        allowed_tokens: Tensor,
        decoding: Decoding,
        generator: torch.Generator | None = None,
        start: Tensor | None = None,
    ) -> list[Tensor]:
        if decoding.strategy != "confident":
            return super().generate(model, source, source_mask, allowed_tokens, decoding, generator, start)
        answers: list[Tensor] = []
        for begin in range(0, len(source), ROWS):
            mask = None if source_mask is None else source_mask[begin : begin + ROWS]
            answers += decode_iteratively(model, source[begin : begin + ROWS], mask, allowed_tokens, decoding)
        return answers


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
        objective=MaskedInParts(),
    )
