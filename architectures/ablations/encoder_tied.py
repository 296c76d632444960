"""Encoder-only model whose token table is its output matrix too (tied, 1608.05859)."""

from architectures.assembly import encoder
from architectures.encoder import EncoderOnly
from architectures.size import Limits, Size


def build(size: Size, limits: Limits) -> EncoderOnly:
    return encoder(size, limits, tied=True)
