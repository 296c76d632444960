"""Encoder-decoder model with a trained bias for each distance, in place of rotary positions (T5, 1910.10683)."""

from architectures.assembly import encoder_decoder
from architectures.encoder_decoder import EncoderDecoder
from architectures.positions import RelativeBias
from architectures.size import Limits, Size


def build(size: Size, limits: Limits) -> EncoderDecoder:
    return encoder_decoder(
        size,
        limits,
        positions=RelativeBias(size.heads, bidirectional=True),
        decoder_positions=RelativeBias(size.heads, bidirectional=False),
    )
