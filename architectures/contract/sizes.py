"""Checks tried again in models of other sizes, and of the planned heads and depths."""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import replace

from archbench.architectures.contract.subject import LIMITS, SIZE, BrokenError, Build, Subject, subject
from archbench.architectures.contract.trials import QUICK
from archbench.architectures.families.size import Limits, Size

SIZES = (  # width, heads, depth, feed-forward width, vocabulary
    (48, 4, 1, 7, 57),
    (80, 2, 3, 33, 31),
    (16, 1, 4, 50, 29),
    (32, 1, 1, 100, 300),
    (112, 2, 2, 64, 37),
    (96, 4, 4, 17, 40),
    (128, 8, 3, 341, 27),
)
DEEP = (  # likewise: models with layers that others lack, such as each sixth
    (32, 2, 7, 24, 29),
    (32, 4, 12, 16, 25),
)
LEAST = 16  # half the width, at least, of a model with the heads and layers of a planned one
Check = Callable[[Subject], str | None]


def tried(case: Subject, sizes: Sequence[tuple[int, int, int, int, int]], checks: Sequence[Check]) -> str | None:
    """Requires the checks that hold at the usual size to hold at these; returns a reason if no other size is tried."""
    if not case.trials.sizes:
        return "no other size is tried"
    checks = [check for check in checks if _holds(check, subject(case.build))]  # what never holds is named already
    for dim, heads, depth, hidden, vocabulary in sizes:
        size, limits = Size(dim, heads, depth, hidden), replace(LIMITS, vocabulary=vocabulary)
        with contextlib.suppress(_NotBuiltError):  # what cannot be built cannot be compared either
            _hold(case.build, size, limits, checks)
    return None


def planned(case: Subject, size: Size, checks: Sequence[Check]) -> None:
    """Requires the checks to hold in a narrow model of the planned heads and depth, or in one of the planned width."""
    try:
        _hold(case.build, narrow(size), LIMITS, checks)
    except _NotBuiltError:  # a variant may need a wider head
        _hold(case.build, size, LIMITS, checks)


def narrow(size: Size) -> Size:
    """A size with these heads and this depth, but of little width."""
    half = -(-LEAST // size.heads)  # of a head: rotary positions need an even width
    return replace(SIZE, dim=2 * half * size.heads, heads=size.heads, depth=size.depth)


def _hold(build: Build, size: Size, limits: Limits, checks: Sequence[Check]) -> None:
    """Requires the checks to hold at a size; raises ``_NotBuiltError`` if there is no such model."""
    try:
        build(size, limits)
    except Exception as error:
        raise _NotBuiltError from error
    for check in checks:
        try:
            check(subject(build, size, limits, trials=QUICK))
        except BrokenError as error:
            where = f"width {size.dim}, {size.heads} heads, depth {size.depth}, hidden {size.hidden}"
            raise BrokenError(f"{check.__name__}: {error} (with {where}, vocabulary {limits.vocabulary})") from error


class _NotBuiltError(Exception):
    """A variant cannot be built at a size."""


def _holds(check: Check, case: Subject) -> bool:
    try:
        check(case)
    except Exception:
        return False
    return True
