"""Decoder-only model whose token table is also its output matrix (tied, 1608.05859)."""

from archbench.architectures import DecoderOnly, Limits, Size
from archbench.architectures.families.assembly import decoder


def build(size: Size, limits: Limits) -> DecoderOnly:
    return decoder(size, limits, tied=True)
