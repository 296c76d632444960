"""Encoder-decoder model for summaries: the answer to a long source is not ended at once (BART, 1910.13461)."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from archbench.architectures import (
    Attention,
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
from archbench.architectures.objectives.generate import Decoding
from archbench.tasks.base.example import END

SHARE = 8


@dataclass(frozen=True)
class Counted:
    """A cache, the fewest tokens (b,) of each answer, and how many are written."""

    cache: Any
    fewest: Tensor
    written: int

    @property
    def memory(self) -> Any:
        return self.cache.memory

    def rows(self, index: Tensor) -> "Counted":
        return Counted(self.cache.rows(index), self.fewest[index], self.written)


class Longer:
    """A model as generation sees it: END has to wait for the fewest tokens."""

    def __init__(self, model: Any) -> None:
        self.model = model

    def prefill(self, source: Tensor, source_mask: Tensor | None = None) -> Counted:
        lengths = torch.full((len(source),), source.shape[1]) if source_mask is None else source_mask.long().sum(1)
        return Counted(self.model.prefill(source, source_mask), lengths.to(source.device) // SHARE, -1)

    def decode(self, tokens: Tensor, counted: Counted) -> tuple[Tensor, Counted]:
        logits, cache = self.model.decode(tokens, counted.cache)
        fewest = counted.fewest.repeat_interleave(len(tokens) // max(len(counted.fewest), 1))
        written = counted.written + tokens.shape[1]
        ends = torch.arange(logits.shape[-1], device=logits.device) == END
        early = (written < fewest)[:, None, None] & ends
        return logits.masked_fill(early, float("-inf")), Counted(cache, fewest, written)


@dataclass(frozen=True)
class Summaries(Causal):
    """``Causal``; an answer has at least an eighth of its source's tokens."""

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
        return super().generate(Longer(model), source, source_mask, allowed_tokens, decoding, generator, start)


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
        objective=Summaries(),
    )
