"""Chains: follow pointers for k steps (after Depo, 2512.17351).

    source  " 4 0 2 4 0 1 1 2 2 > > >"      where each node points, in random order; a node and k marks
    target  " 1"                            the node k steps further: 2, 4, 0, 1

All nodes lie on one cycle. k is drawn from 1 to ``steps``. Chance: 1 / ``nodes``. Each step needs the answer of the one
before, so that a model in one pass needs layers for them; no classical row solves it.
"""

import random
from collections.abc import Sequence

from archbench.tasks.builtin_data.skills.skill import LONGER, Example, Parameters, Skill, numbers

STEP = ">"


def draw(rng: random.Random, parameters: Parameters, trains: bool) -> Example:
    nodes = rng.sample(vocabulary(parameters)[:-1], int(parameters["nodes"]))
    count = rng.randint(int(parameters.get("fewest", 1)), int(parameters["steps"]))
    pointers = [[node, nodes[(place + 1) % len(nodes)]] for place, node in enumerate(nodes)]
    start = rng.randrange(len(nodes))
    rng.shuffle(pointers)
    source = [symbol for pointer in pointers for symbol in pointer] + [nodes[start]] + [STEP] * count
    return source, [nodes[(start + count) % len(nodes)]]


def vocabulary(parameters: Parameters) -> Sequence[str]:
    return [*numbers(int(parameters["vocabulary"])), STEP]


def lengths(parameters: Parameters) -> tuple[int, int]:
    return 2 * int(parameters["nodes"]) + 1 + int(parameters["steps"]), 1


def slices(parameters: Parameters) -> dict[str, Parameters]:
    """Each number of steps that was trained, and `LONGER` times the most."""
    most = int(parameters["steps"])
    values = dict.fromkeys([*range(1, most + 1), *(round(most * factor) for factor in LONGER)])
    return {f"steps={count}": {"steps": count, "fewest": count} for count in values}


def problem(parameters: Parameters) -> str:
    nodes, steps = int(parameters["nodes"]), int(parameters["steps"])
    if nodes > int(parameters["vocabulary"]):
        return f"nodes={nodes}: expected at most vocabulary={parameters['vocabulary']}"
    return f"steps={steps}: the cycle has {nodes} nodes; raise nodes above it" if steps >= nodes else ""


SKILL = Skill(
    "chains",
    "follow pointers for a number of steps",
    {"steps": 3, "nodes": 8, "vocabulary": 32},
    draw,
    vocabulary,
    lengths,
    slices,
    problem,
)
