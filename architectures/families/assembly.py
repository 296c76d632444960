"""The default three, put together with some part replaced: what the ablations are built from.

Without a replacement each is the built-in variant of its family, weight by weight.
"""

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from archbench.architectures.components.attention import Attention
from archbench.architectures.components.embedding import Embedding, Head
from archbench.architectures.components.feedforward import GatedFeedForward
from archbench.architectures.components.norm import LayerNorm, Norm, PreNorm, Wiring
from archbench.architectures.components.positions import Rotary
from archbench.architectures.components.stack import AttentionLike, Block, Stack
from archbench.architectures.families.decoder import DecoderOnly
from archbench.architectures.families.encoder import EncoderOnly
from archbench.architectures.families.encoder_decoder import EncoderDecoder
from archbench.architectures.families.size import Limits, Size


def attention(size: Size) -> Attention:
    return Attention(size.dim, size.heads)


def gated(size: Size) -> GatedFeedForward:
    return GatedFeedForward(size.dim, size.hidden)


@dataclass(frozen=True)
class Parts:
    """The parts of a layer. ``last``: a norm of the residual stream follows the last layer."""

    attention: Callable[[Size], AttentionLike] = attention
    feedforward: Callable[[Size], nn.Module] = gated
    norm: Norm = LayerNorm
    wiring: Wiring = PreNorm
    last: bool = True

    def stack(self, size: Size, cross: bool = False) -> Stack:
        """``size.depth`` layers; ``cross``: with cross-attention, always as in the default."""

        def block() -> Block:
            return Block(
                self.attention(size),
                self.feedforward(size),
                self.norm,
                cross=attention(size) if cross else None,
                wiring=self.wiring,
                dropout=size.dropout,
            )

        return Stack(size.depth, block, self.norm(size.dim) if self.last else None)


DEFAULT = Parts()


def decoder(
    size: Size,
    limits: Limits,
    parts: Parts = DEFAULT,
    positions: nn.Module | None = None,
    tied: bool = False,
    masked: bool = True,
) -> DecoderOnly:
    embedding = _embedding(size, limits)
    return DecoderOnly(
        embedding,
        parts.stack(size),
        _head(size, limits, embedding, tied),
        positions=Rotary(size.head_dim) if positions is None else positions,
        masked=masked,
    )


def encoder(
    size: Size, limits: Limits, parts: Parts = DEFAULT, positions: nn.Module | None = None, tied: bool = False
) -> EncoderOnly:
    embedding = _embedding(size, limits)
    return EncoderOnly(
        embedding,
        parts.stack(size),
        _head(size, limits, embedding, tied),
        positions=Rotary(size.head_dim) if positions is None else positions,
        canvas=limits.target_length,
    )


def encoder_decoder(
    size: Size,
    limits: Limits,
    parts: Parts = DEFAULT,
    positions: nn.Module | None = None,
    decoder_positions: nn.Module | None = None,
    tied: bool = False,
) -> EncoderDecoder:
    """``decoder_positions`` are the encoder's unless given."""
    embedding = _embedding(size, limits)
    return EncoderDecoder(
        embedding,
        parts.stack(size),
        parts.stack(size, cross=True),
        _head(size, limits, embedding, tied),
        positions=Rotary(size.head_dim) if positions is None else positions,
        decoder_positions=decoder_positions,
    )


def _embedding(size: Size, limits: Limits) -> Embedding:
    return Embedding(limits.vocabulary, size.dim, dropout=size.dropout)


def _head(size: Size, limits: Limits, embedding: Embedding, tied: bool) -> Head:
    """A tied head divides by the square root of the width as in T5 (1910.10683), as the table's values are large."""
    if tied:
        return Head(limits.vocabulary, size.dim, tied=embedding, scale=size.dim**-0.5)
    return Head(limits.vocabulary, size.dim)
