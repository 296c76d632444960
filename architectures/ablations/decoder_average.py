"""Decoder-only model that averages over what each position sees, in place of attention (1805.00631)."""

from archbench.architectures import Average, DecoderOnly, Limits, Size
from archbench.architectures.families.assembly import Parts, decoder


def build(size: Size, limits: Limits) -> DecoderOnly:
    return decoder(size, limits, Parts(attention=lambda size: Average(size.dim)))
