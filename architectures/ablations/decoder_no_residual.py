"""Decoder-only model whose sublayers replace the residual stream, not add to it (2103.03404).

Sublayers that start at zero would pass nothing on, so those here start as all other matrices do.
"""

from archbench.architectures import DecoderOnly, Limits, NoResidual, Size, filled
from archbench.architectures.families.assembly import Parts, attention, decoder, gated


def build(size: Size, limits: Limits) -> DecoderOnly:
    parts = Parts(lambda size: filled(attention(size)), lambda size: filled(gated(size)), wiring=NoResidual)
    return decoder(size, limits, parts)
