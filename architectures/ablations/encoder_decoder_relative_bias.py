"""Encoder-decoder model with a trained bias for each distance, in place of rotary positions (T5, 1910.10683)."""

from archbench.architectures import EncoderDecoder, Limits, RelativeBias, Size
from archbench.architectures.families.assembly import encoder_decoder


def build(size: Size, limits: Limits) -> EncoderDecoder:
    return encoder_decoder(
        size,
        limits,
        positions=RelativeBias(size.heads, bidirectional=True),
        decoder_positions=RelativeBias(size.heads, bidirectional=False),
    )
