"""Decoder-only model that norms behind each sublayer, not before it (post-norm, 1706.03762; 2002.04745)."""

from architectures.assembly import Parts, decoder
from architectures.decoder import DecoderOnly
from architectures.norm import PostNorm
from architectures.size import Limits, Size


def build(size: Size, limits: Limits) -> DecoderOnly:
    return decoder(size, limits, Parts(wiring=PostNorm, last=False))
