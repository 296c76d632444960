"""Associative recall with several queries (MQAR; Zoology, 2312.04927).

    source  " k3 v7 k9 v1 k4 v4 k9 k3"      pairs of a key and a value, then keys that are asked for
    target  " k9 v1 k3 v7"                  each with its value

Examples have ``fewest`` to ``pairs`` pairs. Up to ``length`` symbols are filled up with "o", at random places between
pairs and queries. ``form=inline`` puts the values of all queries but the last behind them, as in one sequence of
Zoology:

    source  " k3 v7 k9 v1 k4 v4 k9 v1 k3"
    target  " v7"

Chance: one of the values in the source, so 1 in the number of pairs for each query. Copying the source solves nothing.
The nearest training example stays at chance with 8 pairs; with fewer it is better, since it often has the pair.
"""

import random
from collections.abc import Sequence

from archbench.tasks.builtin_data.skills.skill import (
    Example,
    Parameters,
    Skill,
    longer,
    numbers,
    questions,
    wrong_range,
)

FILLER = "o"


def draw(rng: random.Random, parameters: Parameters, trains: bool) -> Example:
    vocabulary, pairs = int(parameters["vocabulary"]), rng.randint(int(parameters["fewest"]), int(parameters["pairs"]))
    queries = min(int(parameters["queries"]), pairs)
    keys = rng.sample(numbers(vocabulary // 2, "k"), pairs)
    values = dict(zip(keys, rng.choices(numbers(vocabulary // 2, "v"), k=pairs), strict=True))
    asked = rng.sample(keys, queries)
    inline = parameters["form"] == "inline"
    parts = [[key, values[key]] for key in keys]
    parts += [[key, values[key]] if inline else [key] for key in asked[:-1]]
    filled = max(0, int(parameters["length"]) - sum(map(len, parts)) - 1)
    places = sorted(rng.choices(range(len(parts) + 1), k=filled))
    for place in reversed(places):
        parts.insert(place, [FILLER])
    source = [symbol for part in parts for symbol in part] + [asked[-1]]
    return source, [values[asked[-1]]] if inline else questions([([key], values[key]) for key in asked])[1]


def vocabulary(parameters: Parameters) -> Sequence[str]:
    half = int(parameters["vocabulary"]) // 2
    return [*numbers(half, "k"), *numbers(half, "v"), FILLER]


def lengths(parameters: Parameters) -> tuple[int, int]:
    inline = parameters["form"] == "inline"
    queries = int(parameters["queries"])
    least = 2 * int(parameters["pairs"]) + (2 * queries - 1 if inline else queries)
    return max(int(parameters["length"]), least), 1 if inline else 2 * queries


def problem(parameters: Parameters) -> str:
    pairs, half = int(parameters["pairs"]), int(parameters["vocabulary"]) // 2
    if pairs > half:
        return f"pairs={pairs}: a vocabulary of {parameters['vocabulary']} has {half} keys; raise vocabulary"
    if wrong := wrong_range(parameters, "fewest", "pairs"):
        return wrong
    if int(parameters["queries"]) > pairs:
        return f"queries={parameters['queries']}: expected at most pairs={pairs}"
    least = lengths({**parameters, "length": 1})[0]
    if 1 < int(parameters["length"]) < least:
        return f"length={parameters['length']}: the pairs and queries have {least} symbols; raise length"
    return ""


SKILL = Skill(
    "recall",
    "give the values of keys among pairs of keys and values",
    {"pairs": 8, "fewest": 1, "queries": 4, "vocabulary": 128, "length": 1, "form": "separate"},
    draw,
    vocabulary,
    lengths,
    longer("pairs", "fewest"),
    problem,
    {"form": ("separate", "inline")},
)
