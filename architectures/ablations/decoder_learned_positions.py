"""Decoder-only model with a learned vector for each position, in place of rotary positions (1810.04805)."""

from archbench.architectures import DecoderOnly, Learned, Limits, Size
from archbench.architectures.families.assembly import decoder


def build(size: Size, limits: Limits) -> DecoderOnly:
    return decoder(size, limits, positions=Learned(limits.length, size.dim))
