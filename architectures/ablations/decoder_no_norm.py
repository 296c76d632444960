"""Decoder-only model without any norm (1901.09321 describes how to train one)."""

from archbench.architectures import DecoderOnly, Limits, NoNorm, Size
from archbench.architectures.families.assembly import Parts, decoder


def build(size: Size, limits: Limits) -> DecoderOnly:
    return decoder(size, limits, Parts(wiring=NoNorm, last=False))
