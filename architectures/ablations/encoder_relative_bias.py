"""Encoder-only model with a trained bias for each distance, in place of rotary positions (T5, 1910.10683)."""

from architectures.assembly import encoder
from architectures.encoder import EncoderOnly
from architectures.positions import RelativeBias
from architectures.size import Limits, Size


def build(size: Size, limits: Limits) -> EncoderOnly:
    return encoder(size, limits, positions=RelativeBias(size.heads, bidirectional=True))
