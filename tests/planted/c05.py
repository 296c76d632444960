"""Decoder-only model whose queries read their own block of 16 tokens and the two best others (block attention, 2502.13189)."""

from torch import Tensor

from archbench.architectures import (
    Attention,
    AttentionContext,
    Block,
    DecoderOnly,
    Embedding,
    GatedFeedForward,
    Head,
    KeyValues,
    Limits,
    RMSNorm,
    Rotary,
    Size,
    Stack,
)

BLOCK, BEST = 16, 3


class BlockAttention(Attention):
    """A query and a head attend to their own block of ``BLOCK`` positions and to the blocks with the highest scores."""

    def forward(
        self,
        x: Tensor,
        context: AttentionContext,
        past: KeyValues | None = None,
        memory: KeyValues | Tensor | None = None,
    ) -> tuple[Tensor, KeyValues]:
        q, k, v = self._project(x, context.rotation)
        key_values = KeyValues(k, v) if past is None else past.then(KeyValues(k, v))
        scores = ((q * self.scaling) @ key_values.keys.transpose(2, 3)).float()
        scores = scores.masked_fill(~chosen(scores.detach(), context), float("-inf"))
        mask = context.mask()
        if mask is not None:
            scores = scores.masked_fill(~mask, float("-inf"))
        y = scores.softmax(-1).to(v.dtype) @ key_values.values
        return self.output(y.transpose(1, 2).flatten(2)), key_values


def chosen(scores: Tensor, context: AttentionContext) -> Tensor:
    """Which keys are in the ``BEST`` blocks of each query (b, h, q, k); the query's own block is one of them."""
    block = (context.keys // BLOCK)[:, None, None].expand(scores.shape)
    own = (context.queries // BLOCK)[:, None, :, None].expand(*scores.shape[:3], 1)
    count = int(context.keys.max()) // BLOCK + 1
    best = scores.new_full((*scores.shape[:3], count), float("-inf")).scatter_reduce(-1, block, scores, "amax")
    best = best.scatter(-1, own, float("inf"))
    rank = best.argsort(dim=-1, descending=True, stable=True).argsort(-1)
    return (rank < BEST).gather(-1, block)


def build(size: Size, limits: Limits) -> DecoderOnly:
    def block() -> Block:
        attention = BlockAttention(size.dim, size.heads)
        return Block(attention, GatedFeedForward(size.dim, size.hidden), RMSNorm, dropout=size.dropout)

    return DecoderOnly(
        Embedding(limits.vocabulary, size.dim, dropout=size.dropout),
        Stack(size.depth, block, RMSNorm(size.dim)),
        Head(limits.vocabulary, size.dim),
        positions=Rotary(size.head_dim),
    )
