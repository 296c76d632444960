"""Decoder-only model whose logits are softly bounded at 30 (Gemma 2, 2408.00118)."""

import torch
from torch import Tensor, nn

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

CAP = 30.0


def bounded(head: nn.Module, inputs: object, logits: Tensor) -> Tensor:
    """Logits (..., v) as ``CAP * tanh(logits / CAP)``."""
    return CAP * torch.tanh(logits / CAP) if logits.dim() > 1 else logits


def build(size: Size, limits: Limits) -> DecoderOnly:
    def block() -> Block:
        attention = Attention(size.dim, size.heads)
        return Block(attention, GatedFeedForward(size.dim, size.hidden), RMSNorm, dropout=size.dropout)

    head = Head(limits.vocabulary, size.dim)
    head.register_forward_hook(bounded)
    return DecoderOnly(
        Embedding(limits.vocabulary, size.dim, dropout=size.dropout),
        Stack(size.depth, block, RMSNorm(size.dim)),
        head,
        positions=Rotary(size.head_dim),
    )
