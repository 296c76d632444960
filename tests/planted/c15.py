"""Encoder-decoder model that scores targets sorted by length, so that little padding is read."""

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

ROWS = 16


@dataclass(frozen=True)
class SortedCausal(Causal):
    """Next-token prediction; likelihoods are computed for ``ROWS`` targets of similar length at a time."""

    def log_likelihood(self, model: Any, batch: Batch, allowed_tokens: Tensor, parts: int = 1) -> tuple[Tensor, Tensor]:
        lengths = torch.as_tensor(batch.target_lengths)
        order = lengths.argsort(stable=True)
        scores = []
        for rows in order.split(ROWS):
            longest = max(1, int(lengths[rows].max()))
            part = Batch(*(None if x is None else x[rows.to(x.device)] for x in batch))
            mask = None if part.target_mask is None else part.target_mask[:, :longest]
            part = part._replace(target=part.target[:, :longest], target_mask=mask)
            scores.append(super().log_likelihood(model, part, allowed_tokens))
        log_p, tokens = (torch.cat(both) for both in zip(*scores, strict=True))
        back = order.to(log_p.device)
        return log_p[back], tokens[back]


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
        objective=SortedCausal(),
    )
