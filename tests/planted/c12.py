"""Encoder-decoder model whose decoding keeps texts only, no keys and values: little memory for many rows."""

from dataclasses import dataclass

import torch
from torch import Tensor

from archbench.architectures import (
    Attention,
    Block,
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


@dataclass(frozen=True)
class Texts:
    """The source (b, s), its mask, and the tokens written so far (b, n)."""

    source: Tensor | None
    source_mask: Tensor | None
    written: Tensor | None = None

    def rows(self, index: Tensor) -> "Texts":
        return Texts(*(None if part is None else part[index] for part in vars(self).values()))


class TextCachingEncoderDecoder(EncoderDecoder):
    """Reads the source and what is written for every token that it writes."""

    def prefill(self, source: Tensor | None, source_mask: Tensor | None = None) -> Texts:
        return Texts(source, source_mask)

    def decode(self, tokens: Tensor, cache: Texts) -> tuple[Tensor, Texts]:
        written = tokens if cache.written is None else torch.cat([cache.written, tokens], 1)
        states = self.hidden(cache.source, written, cache.source_mask).target[:, -tokens.shape[1] :]
        return self.logits(states), Texts(cache.source, cache.source_mask, written)


def build(size: Size, limits: Limits) -> TextCachingEncoderDecoder:
    def block(cross: bool) -> Block:
        return Block(
            Attention(size.dim, size.heads),
            GatedFeedForward(size.dim, size.hidden),
            RMSNorm,
            cross=Attention(size.dim, size.heads) if cross else None,
            dropout=size.dropout,
        )

    return TextCachingEncoderDecoder(
        Embedding(limits.vocabulary, size.dim, dropout=size.dropout),
        Stack(size.depth, lambda: block(cross=False), RMSNorm(size.dim)),
        Stack(size.depth, lambda: block(cross=True), RMSNorm(size.dim)),
        Head(limits.vocabulary, size.dim),
        positions=Rotary(size.head_dim),
    )
