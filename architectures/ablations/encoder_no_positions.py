"""Encoder-only model without positions: it reads its source and canvas as bags of tokens (2305.19466)."""

from architectures.assembly import encoder
from architectures.encoder import EncoderOnly
from architectures.positions import NoPositions
from architectures.size import Limits, Size


def build(size: Size, limits: Limits) -> EncoderOnly:
    return encoder(size, limits, positions=NoPositions())
