"""Chains: follow pointers for k steps (after Depo, 2512.17351).

    source  " 4 0 | 2 4 | 0 1 | 1 2 | > > > 2 > 4"     where each node points, in random order; k marks and a node
    target  " > > > 2 1 > 4 0"                         each with the node k steps further

All nodes, ``fewest`` to ``nodes``, lie on one cycle; k is drawn from 1 to ``steps``. Chance: 1 in the number of nodes
for each question. Each step needs the answer of the one before, so that a model in one pass needs layers for them; no
classical row solves it.
"""

import random
from collections.abc import Sequence

from archbench.tasks.builtin_data.skills.skill import (
    LONGER,
    Example,
    Parameters,
    Skill,
    numbers,
    questions,
    wrong_range,
)

STEP, END = ">", "|"


def draw(rng: random.Random, parameters: Parameters, trains: bool) -> Example:
    size = rng.randint(int(parameters["fewest"]), int(parameters["nodes"]))
    nodes = rng.sample(numbers(int(parameters["vocabulary"])), size)
    pointers = [[node, nodes[(place + 1) % len(nodes)], END] for place, node in enumerate(nodes)]
    rng.shuffle(pointers)
    asked = list[tuple[list[str], str]]()
    for start in rng.sample(range(len(nodes)), min(len(nodes), int(parameters["queries"]))):
        count = rng.randint(int(parameters.get("least", 1)), int(parameters["steps"]))
        asked.append(([*[STEP] * count, nodes[start]], nodes[(start + count) % len(nodes)]))
    source, target = questions(asked)
    return [symbol for pointer in pointers for symbol in pointer] + source, target


def vocabulary(parameters: Parameters) -> Sequence[str]:
    return [*numbers(int(parameters["vocabulary"])), STEP, END]


def lengths(parameters: Parameters) -> tuple[int, int]:
    queries = min(int(parameters["nodes"]), int(parameters["queries"]))
    asked = queries * (1 + int(parameters["steps"]))
    return 3 * int(parameters["nodes"]) + asked, asked + queries


def slices(parameters: Parameters) -> dict[str, Parameters]:
    """Each number of steps that was trained, and `LONGER` times the most."""
    most = int(parameters["steps"])
    values = dict.fromkeys([*range(1, most + 1), *(round(most * factor) for factor in LONGER)])
    return {f"steps={count}": {"steps": count, "least": count} for count in values}


def problem(parameters: Parameters) -> str:
    nodes, steps = int(parameters["nodes"]), int(parameters["steps"])
    if nodes > int(parameters["vocabulary"]):
        return f"nodes={nodes}: expected at most vocabulary={parameters['vocabulary']}"
    if wrong := wrong_range(parameters, "fewest", "nodes"):
        return wrong
    return f"steps={steps}: the cycle has {nodes} nodes; raise nodes above it" if steps >= nodes else ""


SKILL = Skill(
    "chains",
    "follow pointers for a number of steps",
    {"steps": 3, "nodes": 8, "fewest": 2, "queries": 4, "vocabulary": 32},
    draw,
    vocabulary,
    lengths,
    slices,
    problem,
)
