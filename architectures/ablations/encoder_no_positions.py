"""Encoder-only model without positions: it reads source and target as bags of tokens (2305.19466)."""

from archbench.architectures import EncoderOnly, Limits, NoPositions, Size
from archbench.architectures.families.assembly import encoder


def build(size: Size, limits: Limits) -> EncoderOnly:
    return encoder(size, limits, positions=NoPositions())
