"""Decoder-only model with eight attention heads in each layer, at any width (1905.10650)."""

from dataclasses import replace

from archbench.architectures import DecoderOnly, Limits, Size
from archbench.architectures.families.assembly import decoder


def build(size: Size, limits: Limits) -> DecoderOnly:
    return decoder(replace(size, heads=8), limits)
