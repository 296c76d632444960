"""Decoder-only model with a linear feed-forward network: two matrices without a nonlinearity."""

from torch import nn

from archbench.architectures import DecoderOnly, FeedForward, Limits, Size
from archbench.architectures.families.assembly import Parts, decoder


def build(size: Size, limits: Limits) -> DecoderOnly:
    return decoder(size, limits, Parts(feedforward=lambda size: FeedForward(size.dim, size.hidden, nn.Identity())))
