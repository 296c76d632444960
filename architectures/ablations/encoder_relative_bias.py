"""Encoder-only model with a trained bias for each distance, in place of rotary positions (T5, 1910.10683)."""

from archbench.architectures import EncoderOnly, Limits, RelativeBias, Size
from archbench.architectures.families.assembly import encoder


def build(size: Size, limits: Limits) -> EncoderOnly:
    return encoder(size, limits, positions=RelativeBias(size.heads, bidirectional=True))
