"""Decoder-only model without residual connections: sublayers replace the stream instead of adding to it (2103.03404).

Without residual connections, output matrices initialised to zero would give zero output, so here they are
initialised like all other matrices.
"""

from archbench.architectures import DecoderOnly, Limits, NoResidual, Size, filled
from archbench.architectures.families.assembly import Parts, attention, decoder, gated


def build(size: Size, limits: Limits) -> DecoderOnly:
    parts = Parts(lambda size: filled(attention(size)), lambda size: filled(gated(size)), wiring=NoResidual)
    return decoder(size, limits, parts)
