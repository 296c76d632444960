"""Decoder-only model whose sublayers replace the residual stream, not add to it (2103.03404).

Sublayers that start at zero would pass nothing on, so those here start as all other matrices do.
"""

from architectures.assembly import Parts, attention, decoder, gated
from architectures.decoder import DecoderOnly
from architectures.initial import filled
from architectures.norm import NoResidual
from architectures.size import Limits, Size


def build(size: Size, limits: Limits) -> DecoderOnly:
    parts = Parts(lambda size: filled(attention(size)), lambda size: filled(gated(size)), wiring=NoResidual)
    return decoder(size, limits, parts)
