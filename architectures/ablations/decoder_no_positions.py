"""Decoder-only model without positions: order is left to the causal mask alone (2305.19466)."""

from architectures.assembly import decoder
from architectures.decoder import DecoderOnly
from architectures.positions import NoPositions
from architectures.size import Limits, Size


def build(size: Size, limits: Limits) -> DecoderOnly:
    return decoder(size, limits, positions=NoPositions())
