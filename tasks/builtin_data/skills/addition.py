"""Addition of two numbers of ``digits`` digits, zeros in front.

    source  " 0 7 5 + 9 2 6"
    target  " 1 0 0 1"                                the sum
    target  " 1 1 0 1 0 1 = 1 0 0 1"                  steps=yes: first digit and carry of each place, the ones first

Chance: 1 in 10 for each digit, 1 in 2 for the first. No classical row solves it; the nearest training example shares
some digits. Written steps (2112.00114, 2307.03381) make each symbol depend on three others.
"""

import random
from collections.abc import Sequence

from archbench.tasks.builtin_data.skills.skill import Example, Parameters, Skill, longer, numbers


def draw(rng: random.Random, parameters: Parameters, trains: bool) -> Example:
    digits = int(parameters["digits"])
    first, second = (rng.randrange(10**digits) for _ in range(2))
    answer = list(str(first + second).zfill(digits + 1))
    source = [*str(first).zfill(digits), "+", *str(second).zfill(digits)]
    return source, [*_steps(first, second, digits), "=", *answer] if parameters["steps"] == "yes" else answer


def _steps(first: int, second: int, digits: int) -> list[str]:
    """Digit and carry of each place, the ones first."""
    written, carry = [], 0
    for place in range(digits):
        carry, digit = divmod(first // 10**place % 10 + second // 10**place % 10 + carry, 10)
        written += [str(digit), str(carry)]
    return written


def vocabulary(parameters: Parameters) -> Sequence[str]:
    return [*numbers(10), "+", "="]


def lengths(parameters: Parameters) -> tuple[int, int]:
    digits = int(parameters["digits"])
    return 2 * digits + 1, digits + 1 + (2 * digits + 1 if parameters["steps"] == "yes" else 0)


SKILL = Skill(
    "addition",
    "add two numbers",
    {"digits": 4, "steps": "no"},
    draw,
    vocabulary,
    lengths,
    longer("digits"),
    choices={"steps": ("no", "yes")},
)
