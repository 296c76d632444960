"""Encoder-decoder model without positions: its encoder reads a bag of tokens; the decoder has its mask (2305.19466)."""

from architectures.assembly import encoder_decoder
from architectures.encoder_decoder import EncoderDecoder
from architectures.positions import NoPositions
from architectures.size import Limits, Size


def build(size: Size, limits: Limits) -> EncoderDecoder:
    return encoder_decoder(size, limits, positions=NoPositions())
