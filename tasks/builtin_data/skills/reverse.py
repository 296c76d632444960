"""Reversing (Joey NMT's second task): the target is the source from its end.

    source  " 7 0 19 3"
    target  " 3 19 0 7"

Parameters and chance are those of ``copy``. Neither copying the source nor an n-gram model solves it.
"""

import random

from archbench.tasks.builtin_data.skills import copy
from archbench.tasks.builtin_data.skills.skill import Example, Parameters, Skill


def draw(rng: random.Random, parameters: Parameters, trains: bool) -> Example:
    source = copy.symbols(rng, parameters)
    return source, source[::-1]


SKILL = Skill(
    "reverse", "reverse the source", copy.DEFAULTS, draw, copy.vocabulary, copy.lengths, copy.slices, copy.problem
)
