"""Encoder-decoder model that reads targets with one token in ten replaced in training (token noise, 1511.06349, 1703.02573)."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from archbench.architectures import (
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
from archbench.tasks.base.example import END


@dataclass(frozen=True)
class NoisyCausal(Causal):
    """Next-token prediction; one token in ten of what the decoder reads is another one of the same target."""

    rate: float = 0.1

    def prepare(self, model: Any, batch: Batch, generator: torch.Generator | None, native: bool) -> LossInputs:
        noisy = batch._replace(target=self._replaced(batch, generator))
        return super().prepare(model, noisy, generator, native)

    def _replaced(self, batch: Batch, generator: torch.Generator | None) -> Tensor:
        """The targets (b, t), some tokens replaced by others of their row; END stays."""
        lengths = batch.real()[1].sum(1, keepdim=True)
        column = (torch.rand(batch.target.shape, generator=generator) * (lengths - 1).clamp(min=1)).long()
        chosen = (torch.rand(batch.target.shape, generator=generator) < self.rate).to(batch.target.device)
        return torch.where(chosen & (batch.target != END), batch.target.gather(1, column.to(chosen.device)), batch.target)


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
        objective=NoisyCausal(),
    )
