"""Induction (2209.11895): go on as after the earlier place of the last symbol.

    source  " 4 17 9 30 2 11 17"        different symbols, then one of them again
    target  " 9 30"                     the ``answer`` symbols that came after it

Sources have ``shortest`` to ``length`` symbols and one more. Chance: 1 / (``length`` - ``answer``) for the first
symbol. Copying the source, the nearest training example and an n-gram model stay at chance, since the order of symbols
is new in every example.
"""

import random
from collections.abc import Sequence

from archbench.tasks.builtin_data.skills.skill import Example, Parameters, Skill, longer, numbers, wrong_range


def draw(rng: random.Random, parameters: Parameters, trains: bool) -> Example:
    length, answer = rng.randint(int(parameters["shortest"]), int(parameters["length"])), int(parameters["answer"])
    symbols = rng.sample(vocabulary(parameters), length)
    place = rng.randrange(length - answer)
    return [*symbols, symbols[place]], symbols[place + 1 : place + 1 + answer]


def vocabulary(parameters: Parameters) -> Sequence[str]:
    return numbers(int(parameters["vocabulary"]))


def lengths(parameters: Parameters) -> tuple[int, int]:
    return int(parameters["length"]) + 1, int(parameters["answer"])


def problem(parameters: Parameters) -> str:
    length, shortest = int(parameters["length"]), int(parameters["shortest"])
    if wrong := wrong_range(parameters, "shortest", "length"):
        return wrong
    if length > int(parameters["vocabulary"]):
        return f"length={length}: all symbols of a source differ; raise vocabulary={parameters['vocabulary']}"
    if int(parameters["answer"]) >= shortest:
        return f"answer={parameters['answer']}: expected less than shortest={shortest}"
    return ""


SKILL = Skill(
    "induction",
    "go on as after the earlier place of the last symbol",
    {"length": 20, "shortest": 4, "answer": 3, "vocabulary": 128},
    draw,
    vocabulary,
    lengths,
    longer("length", "shortest"),
    problem,
)
