"""Decoder-only model that averages over what each position sees, in place of attention (1805.00631)."""

from architectures.assembly import Parts, decoder
from architectures.averaging import Average
from architectures.decoder import DecoderOnly
from architectures.size import Limits, Size


def build(size: Size, limits: Limits) -> DecoderOnly:
    return decoder(size, limits, Parts(attention=lambda size: Average(size.dim)))
