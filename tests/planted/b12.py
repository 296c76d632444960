"""Encoder-decoder model whose token vectors have a norm of at most 3; the table is the output matrix, too (1608.05859)."""

from torch import Tensor
from torch.nn import functional as F

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

LONGEST = 3.0


class BoundedEmbedding(Embedding):
    """Vectors longer than ``LONGEST`` are read as if they had this length, so that no rare token outweighs positions."""

    def forward(self, tokens: Tensor, added: Tensor | None = None) -> Tensor:
        x = F.embedding(tokens, self.weight, max_norm=LONGEST)
        y: Tensor = self.dropout(x if added is None else x + added)
        return y


def build(size: Size, limits: Limits) -> EncoderDecoder:
    def block(cross: bool) -> Block:
        return Block(
            Attention(size.dim, size.heads),
            GatedFeedForward(size.dim, size.hidden),
            RMSNorm,
            cross=Attention(size.dim, size.heads) if cross else None,
            dropout=size.dropout,
        )

    embedding = BoundedEmbedding(limits.vocabulary, size.dim, dropout=size.dropout)
    return EncoderDecoder(
        embedding,
        Stack(size.depth, lambda: block(cross=False), RMSNorm(size.dim)),
        Stack(size.depth, lambda: block(cross=True), RMSNorm(size.dim)),
        Head(limits.vocabulary, size.dim, tied=embedding, scale=size.dim**-0.5),
        positions=Rotary(size.head_dim),
    )
