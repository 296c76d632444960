"""Encoder-decoder model with a learned vector for each position, in place of rotary positions (1810.04805)."""

from archbench.architectures import EncoderDecoder, Learned, Limits, Size
from archbench.architectures.families.assembly import encoder_decoder


def build(size: Size, limits: Limits) -> EncoderDecoder:
    return encoder_decoder(size, limits, positions=Learned(limits.length, size.dim))
