"""Decoder-only model with sines and cosines added to its embeddings, in place of rotary positions (1706.03762)."""

from archbench.architectures import DecoderOnly, Limits, Sinusoidal, Size
from archbench.architectures.families.assembly import decoder


def build(size: Size, limits: Limits) -> DecoderOnly:
    return decoder(size, limits, positions=Sinusoidal(size.dim))
