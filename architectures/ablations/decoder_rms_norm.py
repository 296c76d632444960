"""Decoder-only model with RMSNorm in place of LayerNorm (1910.07467)."""

from architectures.assembly import Parts, decoder
from architectures.decoder import DecoderOnly
from architectures.norm import RMSNorm
from architectures.size import Limits, Size


def build(size: Size, limits: Limits) -> DecoderOnly:
    return decoder(size, limits, Parts(norm=RMSNorm))
