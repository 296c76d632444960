"""Decoder-only model with an ungated GELU feed-forward network (1606.08415)."""

from archbench.architectures import DecoderOnly, FeedForward, Limits, Size, gelu_tanh
from archbench.architectures.families.assembly import Parts, decoder


def build(size: Size, limits: Limits) -> DecoderOnly:
    return decoder(size, limits, Parts(feedforward=lambda size: FeedForward(size.dim, size.hidden, gelu_tanh)))
