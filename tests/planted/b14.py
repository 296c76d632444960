"""Encoder-decoder model with a loss on half of each target in a step, which makes large output matrices cheap."""

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
    Embedding,
    EncoderDecoder,
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
class HalfOfTarget(Causal):
    """Next-token prediction whose loss is that of k = n / 2 neighbouring tokens of a target, each with weight n / k.

    Likelihoods are those of ``Causal``.
    """

    def prepare(self, model: Any, batch: Batch, generator: torch.Generator | None, native: bool) -> LossInputs:
        inputs = super().prepare(model, batch, generator, native)
        real = batch.real()[1]
        lengths = real.sum(1, keepdim=True)
        count = (lengths + 1) // 2
        begin = (torch.rand(len(real), 1, generator=generator) * (lengths - count + 1)).long()
        column = torch.arange(real.shape[1])
        chosen = (column >= begin) & (column < begin + count) & real
        at = index_of(chosen, batch.target)
        weights = (lengths / count.clamp(min=1)).expand(real.shape)[chosen].to(at.device)
        return inputs._replace(at=at, labels=select(batch.target, at), weights=weights)

    def loss_tokens(self, model: Any, source: Amount, target: Amount, native: bool) -> Amount:
        predicted: Amount = np.ceil(target / 2.0)
        return predicted + super().loss_tokens(model, source, 0.0 * target, native)


def build(size: Size, limits: Limits) -> EncoderDecoder:
    def block(cross: bool) -> Block:
        return Block(
            Attention(size.dim, size.heads),
            GatedFeedForward(size.dim, size.hidden),
            RMSNorm,
            cross=Attention(size.dim, size.heads) if cross else None,
            dropout=size.dropout,
        )

    return EncoderDecoder(
        Embedding(limits.vocabulary, size.dim, dropout=size.dropout),
        Stack(size.depth, lambda: block(cross=False), RMSNorm(size.dim)),
        Stack(size.depth, lambda: block(cross=True), RMSNorm(size.dim)),
        Head(limits.vocabulary, size.dim),
        positions=Rotary(size.head_dim),
        objective=HalfOfTarget(),
    )
