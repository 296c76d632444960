"""Decoder-only model whose logits are softly capped at 20 in training and in scoring (Gemma 2, 2408.00118)."""

import torch
from torch import Tensor
from torch.nn import functional as F

from archbench.architectures import (
    Attention,
    Block,
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
from archbench.architectures.components.embedding import Targets

CAP = 20.0


class CappedDecoder(DecoderOnly):
    """Logits are ``20 tanh(logits / 20)``, computed in float32."""

    def logits(self, states: Tensor) -> Tensor:
        return CAP * torch.tanh(self.head(states).float() / CAP)

    def loss(self, states: Tensor, targets: Targets) -> Tensor:
        logits = self.logits(states)
        if targets.allowed_tokens is not None:
            logits = logits.masked_fill(~targets.allowed_tokens, float("-inf"))
        nats = F.cross_entropy(logits, targets.labels, reduction="none")
        return (nats * targets.weights).sum()


def build(size: Size, limits: Limits) -> CappedDecoder:
    def block() -> Block:
        attention = Attention(size.dim, size.heads)
        return Block(attention, GatedFeedForward(size.dim, size.hidden), RMSNorm, dropout=size.dropout)

    return CappedDecoder(
        Embedding(limits.vocabulary, size.dim, dropout=size.dropout),
        Stack(size.depth, block, RMSNorm(size.dim)),
        Head(limits.vocabulary, size.dim),
        positions=Rotary(size.head_dim),
    )
