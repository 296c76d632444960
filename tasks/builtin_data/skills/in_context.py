"""In-context learning (2306.15063): find a rule from ``fewest`` to ``shots`` examples and apply it.

    source  " a3 b0 y2 a3 b6 y4 a6 b0 y2 a5 b6 a1 b0"     items with two attributes and their labels, then items
    target  " a5 b6 y4 a1 b0 y2"                          each with its label

A rule names the attribute that decides and gives each of its seven values a label of its own: 10,080 rules. Training
has ``rules`` of them; tests have rules that no training example has. A model that memorizes rules therefore fails,
and one that learns to infer them succeeds; with few rules the former is easier, so that a threshold is expected. The
deciding value of an item that is asked always occurs before. Chance for each: 1 / 7, or (``shots`` + 6) / (7 ``shots``)
for a model that repeats a random label of the source, which is 0.25 with 8 shots.
"""

import random
from collections.abc import Sequence
from functools import cache
from itertools import permutations

from archbench.tasks.builtin_data.skills.skill import Example, Parameters, Skill, numbers, questions, wrong_range

ATTRIBUTES, VALUES = "ab", 7
HELD_OUT = 1024  # rules of tests
_ORDER = 0x72756C65

Rule = tuple[int, tuple[int, ...]]  # the attribute that decides, and the label of each value


@cache
def rules() -> Sequence[Rule]:
    """All rules in an order that never changes."""
    every = [(place, labels) for place in range(len(ATTRIBUTES)) for labels in permutations(range(VALUES))]
    random.Random(_ORDER).shuffle(every)
    return every


def draw(rng: random.Random, parameters: Parameters, trains: bool) -> Example:
    known = range(HELD_OUT, HELD_OUT + int(parameters["rules"])) if trains else range(HELD_OUT)
    place, labels = rules()[rng.choice(known)]
    count = rng.randint(int(parameters["fewest"]), int(parameters["shots"]))
    shots = [[rng.randrange(VALUES) for _ in ATTRIBUTES] for _ in range(count)]
    items = [[rng.randrange(VALUES) for _ in ATTRIBUTES] for _ in range(int(parameters["queries"]))]
    for item in items:
        item[place] = rng.choice(shots)[place]
    told, asked = ([(_spelt(item), f"y{labels[item[place]]}") for item in part] for part in (shots, items))
    source, target = questions(asked)
    return questions(told)[1] + source, target


def _spelt(item: Sequence[int]) -> list[str]:
    return [f"{attribute}{value}" for attribute, value in zip(ATTRIBUTES, item, strict=True)]


def vocabulary(parameters: Parameters) -> Sequence[str]:
    return [symbol for letter in (*ATTRIBUTES, "y") for symbol in numbers(VALUES, letter)]


def lengths(parameters: Parameters) -> tuple[int, int]:
    queries = int(parameters["queries"])
    return (len(ATTRIBUTES) + 1) * int(parameters["shots"]) + len(ATTRIBUTES) * queries, (len(ATTRIBUTES) + 1) * queries


def slices(parameters: Parameters) -> dict[str, Parameters]:
    """Half, all, twice and four times the shots."""
    shots = int(parameters["shots"])
    values = dict.fromkeys([max(1, shots // 2), shots, 2 * shots, 4 * shots])
    return {f"shots={count}": {"shots": count, "fewest": count} for count in values}


def problem(parameters: Parameters) -> str:
    if wrong := wrong_range(parameters, "fewest", "shots"):
        return wrong
    most = len(rules()) - HELD_OUT
    return f"rules={parameters['rules']}: expected at most {most}" if int(parameters["rules"]) > most else ""


SKILL = Skill(
    "in-context",
    "find a rule from examples and apply it",
    {"shots": 8, "fewest": 1, "queries": 4, "rules": 4096},
    draw,
    vocabulary,
    lengths,
    slices,
    problem,
)
