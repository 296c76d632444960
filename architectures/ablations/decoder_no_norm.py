"""Decoder-only model without any norm (1901.09321 says what it then takes to train)."""

from architectures.assembly import Parts, decoder
from architectures.decoder import DecoderOnly
from architectures.norm import NoNorm
from architectures.size import Limits, Size


def build(size: Size, limits: Limits) -> DecoderOnly:
    return decoder(size, limits, Parts(wiring=NoNorm, last=False))
