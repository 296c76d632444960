"""Decoder-only model of attention layers alone; what feed-forward networks took goes into depth (2103.03404)."""

from architectures.assembly import Parts, decoder
from architectures.decoder import DecoderOnly
from architectures.feedforward import NoFeedForward
from architectures.size import Limits, Size


def build(size: Size, limits: Limits) -> DecoderOnly:
    return decoder(size, limits, Parts(feedforward=lambda size: NoFeedForward()))
