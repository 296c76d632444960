"""T5: relative position biases, unscaled attention scores, ReLU, tied embedding (Raffel et al. 2020, 1910.10683)."""

from torch import nn
from torch.nn import functional as F

from archbench.architectures import (
    Attention,
    Block,
    Embedding,
    EncoderDecoder,
    FeedForward,
    Head,
    Limits,
    RelativeBias,
    RMSNorm,
    Size,
    Stack,
)


def build(size: Size, limits: Limits) -> EncoderDecoder:
    def attention() -> Attention:
        return Attention(size.dim, size.heads, head_dim=size.head_dim, scale=1.0, dropout=size.dropout)

    def block(cross: bool) -> Block:
        feedforward = FeedForward(size.dim, size.hidden, F.relu, dropout=size.dropout)
        return Block(attention(), feedforward, RMSNorm, attention() if cross else None, dropout=size.dropout)

    def stack(cross: bool) -> Stack:
        return Stack(size.depth, lambda: block(cross), nn.Sequential(RMSNorm(size.dim), nn.Dropout(size.dropout)))

    # T5's table starts at std 1: a tied head then predicts the very token that it reads, and learns more slowly.
    embedding = Embedding(limits.vocabulary, size.dim, std=0.3, dropout=size.dropout)
    return EncoderDecoder(
        embedding,
        stack(cross=False),
        stack(cross=True),
        Head(limits.vocabulary, size.dim, tied=embedding, scale=size.dim**-0.5),
        positions=RelativeBias(size.heads, bidirectional=True),
        decoder_positions=RelativeBias(size.heads, bidirectional=False),
    )
