"""Decoder-only model with RMSNorm in place of LayerNorm (1910.07467)."""

from archbench.architectures import DecoderOnly, Limits, RMSNorm, Size
from archbench.architectures.families.assembly import Parts, decoder


def build(size: Size, limits: Limits) -> DecoderOnly:
    return decoder(size, limits, Parts(norm=RMSNorm))
