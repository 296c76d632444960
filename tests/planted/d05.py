"""Decoder-only model trained on the mean over a random half of the target's tokens (cheaper output matrices)."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from archbench.architectures import (
    Amount,
    Attention,
    Batch,
    Block,
    Causal,
    DecoderOnly,
    Embedding,
    GatedFeedForward,
    Head,
    Limits,
    LossInputs,
    RMSNorm,
    Rotary,
    Size,
    Stack,
)
from archbench.architectures.components.stack import select
from archbench.architectures.objectives.objective import index_of


@dataclass(frozen=True)
class HalfOfTokens(Causal):
    """Next-token prediction; the target's loss is the mean over half of its tokens, at least one."""

    def prepare(self, model: Any, batch: Batch, generator: torch.Generator | None, native: bool) -> LossInputs:
        inputs = super().prepare(model, batch, generator, native)
        real = batch.real()[1]
        count = (real.sum(1, keepdim=True) + 1) // 2
        rank = torch.rand(real.shape, generator=generator).masked_fill(~real, 2.0).argsort(1).argsort(1)
        chosen = (rank < count) & real
        at = index_of(chosen, batch.target)
        weights = torch.ones(len(at), device=at.device)
        return inputs._replace(at=at, labels=select(batch.target, at), weights=weights, row_tokens=chosen.sum(1))

    def loss_tokens(self, model: Any, source: Amount, target: Amount, native: bool) -> Amount:
        predicted: Amount = np.ceil(target / 2.0)
        return predicted + super().loss_tokens(model, source, 0.0 * target, native)


def build(size: Size, limits: Limits) -> DecoderOnly:
    def block() -> Block:
        attention = Attention(size.dim, size.heads)
        return Block(attention, GatedFeedForward(size.dim, size.hidden), RMSNorm, dropout=size.dropout)

    return DecoderOnly(
        Embedding(limits.vocabulary, size.dim, dropout=size.dropout),
        Stack(size.depth, block, RMSNorm(size.dim)),
        Head(limits.vocabulary, size.dim),
        positions=Rotary(size.head_dim),
        objective=HalfOfTokens(),
    )
