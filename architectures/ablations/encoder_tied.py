"""Encoder-only model whose token table is also its output matrix (tied, 1608.05859)."""

from archbench.architectures import EncoderOnly, Limits, Size
from archbench.architectures.families.assembly import encoder


def build(size: Size, limits: Limits) -> EncoderOnly:
    return encoder(size, limits, tied=True)
