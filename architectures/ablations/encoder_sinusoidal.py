"""Encoder-only model with sines and cosines added to its embeddings, in place of rotary positions (1706.03762)."""

from archbench.architectures import EncoderOnly, Limits, Sinusoidal, Size
from archbench.architectures.families.assembly import encoder


def build(size: Size, limits: Limits) -> EncoderOnly:
    return encoder(size, limits, positions=Sinusoidal(size.dim))
