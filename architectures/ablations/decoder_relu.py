"""Decoder-only model with an ungated ReLU feed-forward network (1706.03762)."""

from torch.nn import functional as F

from archbench.architectures import DecoderOnly, FeedForward, Limits, Size
from archbench.architectures.families.assembly import Parts, decoder


def build(size: Size, limits: Limits) -> DecoderOnly:
    return decoder(size, limits, Parts(feedforward=lambda size: FeedForward(size.dim, size.hidden, F.relu)))
