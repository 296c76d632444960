"""Encoder-decoder model with sines and cosines added to its embeddings, in place of rotary positions (1706.03762)."""

from archbench.architectures import EncoderDecoder, Limits, Sinusoidal, Size
from archbench.architectures.families.assembly import encoder_decoder


def build(size: Size, limits: Limits) -> EncoderDecoder:
    return encoder_decoder(size, limits, positions=Sinusoidal(size.dim))
