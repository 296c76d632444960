"""Encoder-decoder model whose token table is also its output matrix (tied, 1608.05859)."""

from archbench.architectures import EncoderDecoder, Limits, Size
from archbench.architectures.families.assembly import encoder_decoder


def build(size: Size, limits: Limits) -> EncoderDecoder:
    return encoder_decoder(size, limits, tied=True)
