"""Encoder-decoder model whose token table is its output matrix too (tied, 1608.05859)."""

from architectures.assembly import encoder_decoder
from architectures.encoder_decoder import EncoderDecoder
from architectures.size import Limits, Size


def build(size: Size, limits: Limits) -> EncoderDecoder:
    return encoder_decoder(size, limits, tied=True)
