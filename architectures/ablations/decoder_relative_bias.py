"""Decoder-only model with a trained bias for each distance, in place of rotary positions (T5, 1910.10683)."""

from archbench.architectures import DecoderOnly, Limits, RelativeBias, Size
from archbench.architectures.families.assembly import decoder


def build(size: Size, limits: Limits) -> DecoderOnly:
    return decoder(size, limits, positions=RelativeBias(size.heads, bidirectional=False))
