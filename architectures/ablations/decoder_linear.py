"""Decoder-only model with a linear feed-forward network: two matrices and nothing between them."""

from torch import nn

from architectures.assembly import Parts, decoder
from architectures.decoder import DecoderOnly
from architectures.feedforward import FeedForward
from architectures.size import Limits, Size


def build(size: Size, limits: Limits) -> DecoderOnly:
    return decoder(size, limits, Parts(feedforward=lambda size: FeedForward(size.dim, size.hidden, nn.Identity())))
