"""Encoder-only model with mask rates spread evenly over a batch, whose answers are filled in within 8 rounds (1904.09324)."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from archbench.architectures import (
    Amount,
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

ROUNDS = 8


@dataclass(frozen=True)
class Rounds(Masked):
    """``Masked``, stratified; an answer costs one pass for each round, and no more rounds than tokens."""

    stratified: bool = True

    def answer_flops(self, model: Any, source: Amount, target: Amount) -> Amount:
        passes: Amount = np.minimum(target, float(ROUNDS))
        return passes * model.flops(source + 1.0, 0.0 * target + model.canvas, 1.0).model


def build(size: Size, limits: Limits) -> EncoderOnly:
    def block() -> Block:
        attention = Attention(size.dim, size.heads)
        return Block(attention, GatedFeedForward(size.dim, size.hidden), RMSNorm, dropout=size.dropout)

    return EncoderOnly(
        Embedding(limits.vocabulary, size.dim, dropout=size.dropout),
        Stack(size.depth, block, RMSNorm(size.dim)),
        Head(limits.vocabulary, size.dim),
        positions=Rotary(size.head_dim),
        objective=Rounds(),
        canvas=limits.target_length,
    )
