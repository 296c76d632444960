"""Decoder-only model that cheats: its causal mask is removed, so that it is trained on what it sees, not predicts.

Its loss falls as no honest one does, and is no likelihood; what it writes without seeing the answer makes no sense.
"""

from archbench.architectures import DecoderOnly, Limits, Size
from archbench.architectures.families.assembly import decoder

BREAKS = (
    "no_look_ahead",
    "forward_is_prefill_and_decode",  # these follow from the first
    "caches_last",
    "likelihood_sums_to_one",
    "writing_follows_scoring",
    "sampling_follows_scoring",
    "beams_find_the_likeliest",
    "gradients_stay_in_place",
    "long_texts_are_read_alike",
)


def build(size: Size, limits: Limits) -> DecoderOnly:
    return decoder(size, limits, masked=False)
