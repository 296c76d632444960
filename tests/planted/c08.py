"""Decoder-only model that draws its samples by adding Gumbel noise to logits (1903.06059)."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from archbench.architectures import (
    Attention,
    Block,
    Causal,
    DecoderOnly,
    Decoding,
    Embedding,
    GatedFeedForward,
    Head,
    Limits,
    RMSNorm,
    Rotary,
    Size,
    Stack,
)
from archbench.architectures.objectives.generate import truncate
from archbench.tasks.base.example import BOS
from archbench.tasks.base.example import END


@dataclass(frozen=True)
class GumbelCausal(Causal):
    """Next-token prediction; a sample is the likeliest token after noise was added."""

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
        cache = model.prefill(source, source_mask)
        tokens = torch.full((len(source), 1), BOS, device=source.device)
        tokens = tokens if start is None else torch.cat([tokens, start], 1)
        going, written = torch.ones(len(source), dtype=torch.bool), []
        for _ in range(decoding.max_tokens):
            logits, cache = model.decode(tokens, cache)
            logits = logits[:, -1].float().masked_fill(~allowed_tokens, float("-inf")).cpu() / decoding.temperature
            logits = truncate(logits, top_k=decoding.top_k)
            if decoding.top_p < 1.0:
                logits = nucleus(logits, decoding.top_p)
            uniform = torch.rand(logits.shape, generator=generator, dtype=torch.float64).clamp(min=1e-300)
            choice = torch.where(going, (logits.double() - (-uniform.log()).log()).argmax(-1), END)
            written.append(choice)
            going = choice != END
            if not going.any():
                break
            tokens = choice[:, None].to(source.device)
        return [row[: int((row != END).cumprod(0).sum())] for row in torch.stack(written, 1)]


def nucleus(logits: Tensor, top_p: float) -> Tensor:
    """Logits (b, v), minus infinity outside the likeliest tokens with a probability of ``top_p`` in total (1904.09751)."""
    ordered, order = logits.sort(-1, descending=True)
    mass = ordered.softmax(-1)
    cut = mass.cumsum(-1) >= top_p
    cut[..., 0] = False
    return logits.masked_fill(torch.zeros_like(cut).scatter(-1, order, cut), float("-inf"))


def build(size: Size, limits: Limits) -> DecoderOnly:
    def block() -> Block:
        attention = Attention(size.dim, size.heads)
        return Block(attention, GatedFeedForward(size.dim, size.hidden), RMSNorm, dropout=size.dropout)

    return DecoderOnly(
        Embedding(limits.vocabulary, size.dim, dropout=size.dropout),
        Stack(size.depth, block, RMSNorm(size.dim)),
        Head(limits.vocabulary, size.dim),
        positions=Rotary(size.head_dim),
        objective=GumbelCausal(),
    )
