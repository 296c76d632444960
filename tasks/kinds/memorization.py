"""Memorization: how many bits of random strings a model holds. Primary metric: stored bits.

A string of n characters drawn uniformly from A has n log2 A bits. A model that knows only this distribution needs as
many bits for it, and a model that has memorized the string needs none. The stored bits are the difference, summed over
all strings (2404.05405, 2505.24832):

    stored bits = strings * (bits of a string - mean negative log-likelihood of a string after its key, in bits)

END counts like any other token, although it carries no information. Stored bits can be negative, as for an untrained
model, which puts probability elsewhere.
"""

import math

import numpy as np

from archbench.tasks.base.kind import TaskKind
from archbench.tasks.base.values import Baseline, Outputs, Prepared, Score
from archbench.tasks.builtin_data import random_strings
from archbench.tasks.kinds.text_to_text import decoding
from archbench.tasks.metrics.builtin import likelihood_scores, text_score
from archbench.tasks.metrics.intervals import Floats, ratio_score


def measure(prepared: Prepared, outputs: Outputs) -> list[Score]:
    """Stored bits, strings that are recalled exactly, likelihoods."""
    answers = outputs.answers
    wanted = outputs.references[: len(answers)]
    lossless = prepared.tokenizer.is_lossless(outputs.references)  # a checkpoint's own tokenizer may lack capitals
    return [
        *([stored(outputs.nats, len(prepared.train), random_strings.BITS)] if lossless else []),
        *([text_score("exact_match", wanted, answers)] if len(answers) else []),
        *likelihood_scores(outputs.nats, outputs.tokens, outputs.bytes, outputs.bound_nats, lossless),
    ]


def baselines(prepared: Prepared) -> list[Baseline]:
    """None: a method that looks strings up in the training data has them by definition."""
    return []


def stored(nats: Floats, strings: int, entropy: float) -> Score:
    """Stored bits of ``strings`` strings of ``entropy`` bits each, estimated from a sample of losses ``nats`` (n,)."""
    cost = ratio_score("stored_bits", nats, np.ones(len(nats)), 1 / math.log(2))
    value, lower, upper = (strings * (entropy - bits) for bits in (cost.value, cost.upper, cost.lower))
    per_string = strings * (entropy - nats / math.log(2))
    return Score("stored_bits", value, lower, upper, cost.n, tuple(per_string.tolist()))


KIND = TaskKind(
    name="memorization",
    does="recall the string stored under a key",
    form="pairs",
    columns=("key", "string"),
    metrics=("exact_match",),
    primary=("stored_bits",),
    judged=("stored_bits", "exact_match", "bits_per_byte"),
    source_length=random_strings.KEY,  # whole keys
    shortest_source=random_strings.KEY,
    target_length=random_strings.LENGTH + 1,
    tokenizer="char",
    tokenizers=("char",),  # an unknown word would be a string that costs nothing
    only_data=random_strings.FAMILY,  # the bits of other strings are unknown
    decoding=decoding,  # greedy: the likeliest next character is what a model believes the string to be
    measure=measure,
    baselines=baselines,
    numerics=9,
)
