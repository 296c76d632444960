"""Encoder-only model with a learned vector for each position, in place of rotary positions (1810.04805)."""

from architectures.assembly import encoder
from architectures.encoder import EncoderOnly
from architectures.positions import Learned
from architectures.size import Limits, Size


def build(size: Size, limits: Limits) -> EncoderOnly:
    return encoder(size, limits, positions=Learned(limits.length, size.dim))
