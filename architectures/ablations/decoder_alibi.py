"""Decoder-only model with a penalty on distance in place of rotary positions (ALiBi, 2108.12409)."""

from architectures.assembly import decoder
from architectures.decoder import DecoderOnly
from architectures.positions import Alibi
from architectures.size import Limits, Size


def build(size: Size, limits: Limits) -> DecoderOnly:
    return decoder(size, limits, positions=Alibi(size.heads))
