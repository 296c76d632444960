"""Decoder-only model whose token table is its output matrix too (tied, 1608.05859)."""

from architectures.assembly import decoder
from architectures.decoder import DecoderOnly
from architectures.size import Limits, Size


def build(size: Size, limits: Limits) -> DecoderOnly:
    return decoder(size, limits, tied=True)
