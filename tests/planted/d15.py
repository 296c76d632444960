"""Encoder-decoder model that scores targets in groups of similar length, so that little of a pass is padding."""

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
    RMSNorm,
    Rotary,
    Size,
    Stack,
)
from archbench.architectures.components.states import mask_or_ones

GROUP = 16


@dataclass(frozen=True)
class Grouped(Causal):
    """``Causal``; likelihoods are computed for the longest targets first, 16 at a time, without columns of padding."""

    def log_likelihood(self, model: Any, batch: Batch, allowed_tokens: Tensor, parts: int = 1) -> tuple[Tensor, Tensor]:
        lengths = mask_or_ones(batch.target, batch.target_mask).sum(1)
        order, scores = lengths.argsort(descending=True, stable=True), []
        for some in order.split(max(1, GROUP // parts)):
            width = max(1, int(lengths[some].max()))
            mask = None if batch.target_mask is None else batch.target_mask[some, :width]
            source_mask = None if batch.source_mask is None else batch.source_mask[some]
            group = Batch(batch.source[some], batch.target[some, :width], source_mask, mask)
            scores.append(super().log_likelihood(model, group, allowed_tokens)[0])
        return torch.cat(scores)[order], lengths


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
        objective=Grouped(),
    )
