"""Encoder-only model with a learned vector for each position, in place of rotary positions (1810.04805)."""

from archbench.architectures import EncoderOnly, Learned, Limits, Size
from archbench.architectures.families.assembly import encoder


def build(size: Size, limits: Limits) -> EncoderOnly:
    return encoder(size, limits, positions=Learned(limits.length, size.dim))
