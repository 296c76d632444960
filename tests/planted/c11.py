"""Encoder-only model whose canvas has padding, not [MASK], in the cells that a target does not need."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

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
    StateIndex,
)
from archbench.architectures.components.states import mask_or_ones
from archbench.architectures.objectives.masked import _ended
from archbench.architectures.objectives.objective import log_softmax
from archbench.tasks.base.example import MASK
from archbench.tasks.base.example import PAD


@dataclass(frozen=True)
class PaddedCanvas(Masked):
    """``Masked`` on canvases that are padded after their targets."""

    def prepare(self, model: Any, batch: Batch, generator: torch.Generator | None, native: bool) -> LossInputs:
        inputs = super().prepare(model, batch, generator, native)
        return inputs._replace(target=padded(inputs.target, batch))

    def log_likelihood(self, model: Any, batch: Batch, allowed_tokens: Tensor, parts: int = 1) -> tuple[Tensor, Tensor]:
        present = mask_or_ones(batch.target, batch.target_mask)
        source, source_mask = _ended(batch.source, batch.source_mask)
        cells = F.pad(batch.target.masked_fill(~present, MASK), (0, model.canvas - present.shape[1]), value=MASK)
        steps = torch.arange(model.canvas, device=source.device)
        scores = torch.zeros(present.shape, dtype=torch.float64, device=source.device)
        for cell in range(present.shape[1]):
            canvas = padded(cells.masked_fill(steps >= cell, MASK), batch)
            at = StateIndex(None, torch.arange(len(canvas), device=source.device) * model.canvas + cell)
            log_p = log_softmax(model.logits(model.hidden(source, canvas, source_mask, None, at).target), allowed_tokens)
            scores[:, cell] = log_p.gather(-1, batch.target[:, cell, None]).squeeze(-1).double()
        return scores.masked_fill(~present, 0.0).sum(1), present.sum(1)


def padded(canvas: Tensor, batch: Batch) -> Tensor:
    """The canvas (b, t) with padding in the cells after the target."""
    needed = mask_or_ones(batch.target, batch.target_mask).sum(1, keepdim=True)
    return canvas.masked_fill(torch.arange(canvas.shape[1], device=canvas.device) >= needed, PAD)


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
        objective=PaddedCanvas(),
    )
