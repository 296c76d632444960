"""Decoder-only model with an ungated ReLU feed-forward network (1706.03762)."""

from torch.nn import functional as F

from architectures.assembly import Parts, decoder
from architectures.decoder import DecoderOnly
from architectures.feedforward import FeedForward
from architectures.size import Limits, Size


def build(size: Size, limits: Limits) -> DecoderOnly:
    return decoder(size, limits, Parts(feedforward=lambda size: FeedForward(size.dim, size.hidden, F.relu)))
