"""Encoder-decoder model with a penalty on distance in place of rotary positions (ALiBi, 2108.12409)."""

from architectures.assembly import encoder_decoder
from architectures.encoder_decoder import EncoderDecoder
from architectures.positions import Alibi
from architectures.size import Limits, Size


def build(size: Size, limits: Limits) -> EncoderDecoder:
    return encoder_decoder(size, limits, positions=Alibi(size.heads))
