"""Encoder-decoder model whose source begins with a token for the length of the answer, in steps of 16 (1609.09552)."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

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
from archbench.architectures.components.numbers import Flops
from archbench.architectures.objectives.generate import Decoding

STEP, STEPS, FIRST = 16, 8, 4


def with_length(model: Any, source: Tensor, mask: Tensor | None, lengths: Tensor) -> tuple[Tensor, Tensor | None]:
    """The source (b, s) behind one more token, which says in which step of 16 the length (b,) is, and its mask."""
    token = (FIRST + (lengths // STEP).clamp(max=STEPS - 1)).clamp(max=model.head.weight.shape[0] - 1)
    source = torch.cat([token[:, None].to(source), source], 1)
    return source, None if mask is None else F.pad(mask, (1, 0), value=True)


def count(tokens: Tensor, mask: Tensor | None) -> Tensor:
    """Tokens of each row (b,)."""
    return torch.full_like(tokens[:, 0], tokens.shape[1]) if mask is None else mask.long().sum(1)


@dataclass(frozen=True)
class WithLength(Causal):
    """``Causal`` with a token for a length in front of each source."""

    def prepare(self, model: Any, batch: Batch, generator: torch.Generator | None, native: bool) -> LossInputs:
        return super().prepare(model, self._read(model, batch), generator, native)

    def log_likelihood(self, model: Any, batch: Batch, allowed_tokens: Tensor, parts: int = 1) -> tuple[Tensor, Tensor]:
        batch = batch if parts > 1 else self._read(model, batch)
        return super().log_likelihood(model, batch, allowed_tokens, parts)

    def example_inputs(self, model: Any, batch: Batch) -> Batch:
        return super().example_inputs(model, self._read(model, batch))

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
        lengths = torch.full((len(source),), decoding.max_tokens, device=source.device)
        source, source_mask = with_length(model, source, source_mask, lengths)
        return super().generate(model, source, source_mask, allowed_tokens, decoding, generator, start)

    def training_flops(self, model: Any, source: Amount, target: Amount, native: bool) -> Flops:
        return super().training_flops(model, source + 1.0, target, native)

    def answer_flops(self, model: Any, source: Amount, target: Amount) -> Amount:
        return super().answer_flops(model, source + 1.0, target)

    def _read(self, model: Any, batch: Batch) -> Batch:
        lengths = count(batch.target, batch.target_mask)
        source, mask = with_length(model, batch.source, batch.source_mask, lengths)
        return batch._replace(source=source, source_mask=mask)


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
        objective=WithLength(),
    )
