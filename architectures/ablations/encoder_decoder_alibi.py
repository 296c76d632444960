"""Encoder-decoder model with a penalty on distance in place of rotary positions (ALiBi, 2108.12409)."""

from archbench.architectures import Alibi, EncoderDecoder, Limits, Size
from archbench.architectures.families.assembly import encoder_decoder


def build(size: Size, limits: Limits) -> EncoderDecoder:
    return encoder_decoder(size, limits, positions=Alibi(size.heads))
