"""Encoder-only model with a penalty on distance in place of rotary positions (ALiBi, 2108.12409)."""

from architectures.assembly import encoder
from architectures.encoder import EncoderOnly
from architectures.positions import Alibi
from architectures.size import Limits, Size


def build(size: Size, limits: Limits) -> EncoderOnly:
    return encoder(size, limits, positions=Alibi(size.heads))
