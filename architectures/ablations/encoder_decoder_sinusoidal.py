"""Encoder-decoder model with sines and cosines added to its embeddings, in place of rotary positions (1706.03762)."""

from architectures.assembly import encoder_decoder
from architectures.encoder_decoder import EncoderDecoder
from architectures.positions import Sinusoidal
from architectures.size import Limits, Size


def build(size: Size, limits: Limits) -> EncoderDecoder:
    return encoder_decoder(size, limits, positions=Sinusoidal(size.dim))
