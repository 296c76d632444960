"""Decoder-only model with a penalty on distance in place of rotary positions (ALiBi, 2108.12409)."""

from archbench.architectures import Alibi, DecoderOnly, Limits, Size
from archbench.architectures.families.assembly import decoder


def build(size: Size, limits: Limits) -> DecoderOnly:
    return decoder(size, limits, positions=Alibi(size.heads))
