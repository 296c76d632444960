"""Encoder-only model with a penalty on distance in place of rotary positions (ALiBi, 2108.12409)."""

from archbench.architectures import Alibi, EncoderOnly, Limits, Size
from archbench.architectures.families.assembly import encoder


def build(size: Size, limits: Limits) -> EncoderOnly:
    return encoder(size, limits, positions=Alibi(size.heads))
