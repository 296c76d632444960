"""Decoder-only model whose samples are drawn by Gumbel's maximum, without cumulative sums (1611.01144)."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from archbench.architectures import (
    Attention,
    Block,
    Causal,
    DecoderOnly,
    Embedding,
    GatedFeedForward,
    Head,
    Limits,
    RMSNorm,
    Rotary,
    Size,
    Stack,
)
from archbench.architectures.objectives.generate import Decoding, truncate
from archbench.tasks.base.example import BOS, END


@dataclass(frozen=True)
class Gumbel(Causal):
    """``Causal``; sampling adds Gumbel noise to the logits of the tokens that are left, and takes the largest."""

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
        if decoding.strategy != "sample":
            return super().generate(model, source, source_mask, allowed_tokens, decoding, generator, start)
        cache, tokens = model.prefill(source, source_mask), torch.full_like(source[:, :1], BOS)
        if not source.shape[1]:
            tokens = torch.full((len(source), 1), BOS, device=source.device)
        tokens = tokens if start is None else torch.cat([tokens, start], 1)
        going, written = torch.ones(len(source), dtype=torch.bool), []
        for _ in range(decoding.max_tokens):
            logits, cache = model.decode(tokens, cache)
            logits = logits[:, -1].float().masked_fill(~allowed_tokens, float("-inf")).cpu()
            left = truncate(logits, decoding.top_k, decoding.top_p) / decoding.temperature
            uniform = torch.rand(left.shape, generator=generator, dtype=torch.float64).clamp(min=1e-300)
            choice = (left.double() - torch.log(-torch.log(uniform))).argmax(-1)
            choice = torch.where(going, choice, END)
            written.append(choice)
            going = choice != END
            if not going.any():
                break
            tokens = choice[:, None].to(source.device)
        rows = torch.stack(written, 1)
        return [row[: int((row == END).nonzero()[0])] if (row == END).any() else row for row in rows]


def build(size: Size, limits: Limits) -> DecoderOnly:
    def block() -> Block:
        attention = Attention(size.dim, size.heads)
        return Block(attention, GatedFeedForward(size.dim, size.hidden), RMSNorm, dropout=size.dropout)

    return DecoderOnly(
        Embedding(limits.vocabulary, size.dim, dropout=size.dropout),
        Stack(size.depth, block, RMSNorm(size.dim)),
        Head(limits.vocabulary, size.dim),
        positions=Rotary(size.head_dim),
        objective=Gumbel(),
    )
