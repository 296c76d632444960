"""Encoder-only model some of whose predicted cells show a token instead of [MASK], as in BERT (1810.04805)."""

from dataclasses import dataclass
from typing import Any

import torch

from archbench.architectures import (
    Attention,
    Batch,
    Block,
    Embedding,
    EncoderOnly,
    GatedFeedForward,
    Head,
    Limits,
    LossInputs,
    Masked,
    RMSNorm,
    Rotary,
    Size,
    Stack,
)
from archbench.tasks.base.example import MASK
from archbench.tasks.base.example import UNK


@dataclass(frozen=True)
class SomeShown(Masked):
    """Of the cells to predict, one in ten shows a random token, one its own, and the others [MASK]."""

    @property
    def estimate_is_bound(self) -> bool:
        return False

    @property
    def left_to_right_estimator(self) -> Masked:
        return Masked(next_cell=True)

    def prepare(self, model: Any, batch: Batch, generator: torch.Generator | None, native: bool) -> LossInputs:
        inputs = super().prepare(model, batch, generator, native)
        count = len(inputs.at)
        draw = torch.rand(count, generator=generator).to(inputs.at.device)
        other = torch.randint(UNK, model.head.weight.shape[0], (count,), generator=generator).to(inputs.at.device)
        shown = torch.where(draw < 0.1, other, torch.where(draw < 0.2, inputs.labels, MASK))
        canvas = inputs.target.flatten().index_copy(0, inputs.at, shown).view_as(inputs.target)
        return inputs._replace(target=canvas)


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
        objective=SomeShown(),
    )
