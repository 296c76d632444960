"""The three families that come with archbench. A variant may bring a family of its own, a subclass of ``Family``."""

from archbench.architectures.families.decoder import DecoderOnly
from archbench.architectures.families.encoder import EncoderOnly
from archbench.architectures.families.encoder_decoder import EncoderDecoder
from archbench.architectures.families.family import Family

FAMILIES: tuple[type[Family], ...] = (DecoderOnly, EncoderOnly, EncoderDecoder)
