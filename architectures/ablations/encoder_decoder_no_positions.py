"""Encoder-decoder model without positions: only the decoder's causal mask encodes order (2305.19466)."""

from archbench.architectures import EncoderDecoder, Limits, NoPositions, Size
from archbench.architectures.families.assembly import encoder_decoder


def build(size: Size, limits: Limits) -> EncoderDecoder:
    return encoder_decoder(size, limits, positions=NoPositions())
