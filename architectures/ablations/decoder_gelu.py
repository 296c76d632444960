"""Decoder-only model with an ungated GELU feed-forward network (1606.08415)."""

from architectures.assembly import Parts, decoder
from architectures.decoder import DecoderOnly
from architectures.feedforward import FeedForward
from architectures.gelu import gelu_tanh
from architectures.size import Limits, Size


def build(size: Size, limits: Limits) -> DecoderOnly:
    return decoder(size, limits, Parts(feedforward=lambda size: FeedForward(size.dim, size.hidden, gelu_tanh)))
