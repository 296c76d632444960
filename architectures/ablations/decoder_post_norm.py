"""Decoder-only model with the norm after each sublayer instead of before it (post-norm, 1706.03762; 2002.04745)."""

from archbench.architectures import DecoderOnly, Limits, PostNorm, Size
from archbench.architectures.families.assembly import Parts, decoder


def build(size: Size, limits: Limits) -> DecoderOnly:
    return decoder(size, limits, Parts(wiring=PostNorm, last=False))
