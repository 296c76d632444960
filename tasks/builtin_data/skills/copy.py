"""Copying (Joey NMT's first task): the target is the source.

    source  " 7 0 19 7"
    target  " 7 0 19 7"

Sources have ``shortest`` to ``length`` symbols. Chance: 1 / ``vocabulary`` for each symbol. The baseline ``copy``
solves it; an n-gram model cannot.
"""

import random
from collections.abc import Sequence

from archbench.tasks.builtin_data.skills.skill import Example, Parameters, Skill, longer, numbers, wrong_range

DEFAULTS: Parameters = {"length": 20, "shortest": 1, "vocabulary": 26}


def symbols(rng: random.Random, parameters: Parameters) -> list[str]:
    """Independent symbols, of a length that is drawn."""
    length = rng.randint(int(parameters["shortest"]), int(parameters["length"]))
    return rng.choices(vocabulary(parameters), k=length)


def draw(rng: random.Random, parameters: Parameters, trains: bool) -> Example:
    source = symbols(rng, parameters)
    return source, source


def vocabulary(parameters: Parameters) -> Sequence[str]:
    return numbers(int(parameters["vocabulary"]))


def lengths(parameters: Parameters) -> tuple[int, int]:
    return int(parameters["length"]), int(parameters["length"])


def problem(parameters: Parameters) -> str:
    return wrong_range(parameters, "shortest", "length")


slices = longer("length", "shortest")
SKILL = Skill("copy", "copy the source", DEFAULTS, draw, vocabulary, lengths, slices, problem)
