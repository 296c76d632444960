"""Decoder-only model without positions: only the causal mask encodes order (2305.19466)."""

from archbench.architectures import DecoderOnly, Limits, NoPositions, Size
from archbench.architectures.families.assembly import decoder


def build(size: Size, limits: Limits) -> DecoderOnly:
    return decoder(size, limits, positions=NoPositions())
