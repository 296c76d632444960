"""Decoder-only model without a causal mask: it sees the tokens that it is trained to predict.

Its loss falls to zero and is not a likelihood; without seeing the targets it generates nonsense.
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
