"""Encoder-decoder model with a learned vector for each position, in place of rotary positions (1810.04805)."""

from architectures.assembly import encoder_decoder
from architectures.encoder_decoder import EncoderDecoder
from architectures.positions import Learned
from architectures.size import Limits, Size


def build(size: Size, limits: Limits) -> EncoderDecoder:
    return encoder_decoder(size, limits, positions=Learned(limits.length, size.dim))
