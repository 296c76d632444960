"""Decoder-only model without any norm (1901.09321 says what it then takes to train)."""

from archbench.architectures import DecoderOnly, Limits, NoNorm, Size
from archbench.architectures.families.assembly import Parts, decoder


def build(size: Size, limits: Limits) -> DecoderOnly:
    return decoder(size, limits, Parts(wiring=NoNorm, last=False))
