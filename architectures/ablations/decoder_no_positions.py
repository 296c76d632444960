"""Decoder-only model without positions: order is left to the causal mask alone (2305.19466)."""

from archbench.architectures import DecoderOnly, Limits, NoPositions, Size
from archbench.architectures.families.assembly import decoder


def build(size: Size, limits: Limits) -> DecoderOnly:
    return decoder(size, limits, positions=NoPositions())
