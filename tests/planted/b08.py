"""Encoder-only model trained on targets of which few cells are masked more often than many (rates as in 2406.07524)."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

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


@dataclass(frozen=True)
class FewCells(Masked):
    """Rates are squares of uniform numbers: k of n tokens are masked with probability (sqrt(k) - sqrt(k - 1)) / sqrt(n).

    As in ``Masked``, each of the k weighs n / k.
    """

    @property
    def left_to_right_estimator(self) -> Masked:
        return Masked(next_cell=True)

    def _rates(self, rows: int, generator: torch.Generator | None) -> Tensor:
        return super()._rates(rows, generator) ** 2

    def loss_tokens(self, model: object, source: Amount, target: Amount, native: bool) -> Amount:
        if native and self.joint:
            return expected_count(source + target)
        return expected_count(target) + (0.5 * self.source_rate * source if native else 0.0)


def expected_count(tokens: Amount) -> Amount:
    """How many of ``tokens`` are masked on average."""
    n = np.maximum(tokens, 1.0)
    below = np.concatenate([[0.0], np.cumsum(np.sqrt(np.arange(1.0, np.max(n) + 1.0)))])
    return n - np.interp(n - 1.0, np.arange(len(below)), below) / np.sqrt(n)


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
        objective=FewCells(),
    )
