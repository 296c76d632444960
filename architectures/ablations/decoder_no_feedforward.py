"""Decoder-only model with attention layers only; the parameters of feed-forward networks go into depth (2103.03404)."""

from archbench.architectures import DecoderOnly, Limits, NoFeedForward, Size
from archbench.architectures.families.assembly import Parts, decoder


def build(size: Size, limits: Limits) -> DecoderOnly:
    return decoder(size, limits, Parts(feedforward=lambda size: NoFeedForward()))
