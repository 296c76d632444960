"""Decoder-only model with a learned vector for each position, in place of rotary positions (1810.04805)."""

from architectures.assembly import decoder
from architectures.decoder import DecoderOnly
from architectures.positions import Learned
from architectures.size import Limits, Size


def build(size: Size, limits: Limits) -> DecoderOnly:
    return decoder(size, limits, positions=Learned(limits.length, size.dim))
