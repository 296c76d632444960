"""Decoder-only model with sines and cosines added to its embeddings, in place of rotary positions (1706.03762)."""

from architectures.assembly import decoder
from architectures.decoder import DecoderOnly
from architectures.positions import Sinusoidal
from architectures.size import Limits, Size


def build(size: Size, limits: Limits) -> DecoderOnly:
    return decoder(size, limits, positions=Sinusoidal(size.dim))
