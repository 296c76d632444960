"""Decoder-only model with a single attention head in each layer, whatever the width (1905.10650)."""

from dataclasses import replace

from architectures.assembly import decoder
from architectures.decoder import DecoderOnly
from architectures.size import Limits, Size


def build(size: Size, limits: Limits) -> DecoderOnly:
    return decoder(replace(size, heads=1), limits)
