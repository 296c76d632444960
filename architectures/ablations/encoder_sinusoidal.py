"""Encoder-only model with sines and cosines added to its embeddings, in place of rotary positions (1706.03762)."""

from architectures.assembly import encoder
from architectures.encoder import EncoderOnly
from architectures.positions import Sinusoidal
from architectures.size import Limits, Size


def build(size: Size, limits: Limits) -> EncoderOnly:
    return encoder(size, limits, positions=Sinusoidal(size.dim))
