"""The properties of a pass again, in models of other sizes, and of the planned heads and depths."""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import replace

from archbench.architectures.contract.caching import caches_last, forward_is_prefill_and_decode
from archbench.architectures.contract.learning import training_reads_as_scoring_does
from archbench.architectures.contract.losses import (
    gradients_stay_in_place,
    selected_states_are_those_of_one_pass,
    the_training_loss_is_the_likelihood,
)
from archbench.architectures.contract.passes import no_look_ahead, padding_is_invisible, rows_are_apart
from archbench.architectures.contract.recompute import recomputing_changes_nothing
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
READING: tuple[Callable[[Subject], str | None], ...] = (
    training_reads_as_scoring_does,
    rows_are_apart,
    no_look_ahead,
    padding_is_invisible,
    forward_is_prefill_and_decode,
    caches_last,
    selected_states_are_those_of_one_pass,
    the_training_loss_is_the_likelihood,
    gradients_stay_in_place,
    recomputing_changes_nothing,
)


def other_sizes_read_alike(case: Subject) -> str | None:
    """Models of other widths, heads, depths and vocabularies have the same properties of a pass.

    The models that `compare` trains are larger than those checked: a number that fits one size only (a head count, a
    width, the number of tokens) fails at another. Take every number from `size` and `limits`.
    """
    return _tried(case, SIZES)


def deep_models_read_alike(case: Subject) -> str | None:
    """Models of 7 and of 12 layers have the same properties of a pass.

    A layer may differ from the others by its number: each third, or the last of many. Look at code that depends on that
    number or on `size.depth`; `compare` tries the heads and the depth of its runs as well.
    """
    return _tried(case, DEEP)


def _tried(case: Subject, sizes: Sequence[tuple[int, int, int, int, int]]) -> str | None:
    if not case.trials.sizes:
        return "no other size is tried"
    checks = [check for check in READING if _holds(check, subject(case.build))]  # what never holds is named already
    for dim, heads, depth, hidden, vocabulary in sizes:
        size, limits = Size(dim, heads, depth, hidden), replace(LIMITS, vocabulary=vocabulary)
        with contextlib.suppress(_NotBuiltError):  # what cannot be built cannot be compared either
            _read_alike(case.build, size, limits, checks)
    return None


def layers_of(size: Size) -> Callable[[Subject], None]:
    """The check of models with the heads and the depth of a planned ``size``."""

    def planned_layers_read_alike(case: Subject) -> None:
        """Models with the planned heads and depth have the same properties of a pass."""
        try:
            _read_alike(case.build, narrow(size), LIMITS, READING)
        except _NotBuiltError:  # a variant may need a wider head
            _read_alike(case.build, size, LIMITS, READING)

    return planned_layers_read_alike


def narrow(size: Size) -> Size:
    """A size with these heads and this depth, but of little width."""
    half = -(-LEAST // size.heads)  # of a head: rotary positions need an even width
    return replace(SIZE, dim=2 * half * size.heads, heads=size.heads, depth=size.depth)


def _read_alike(build: Build, size: Size, limits: Limits, checks: Sequence[Callable[[Subject], str | None]]) -> None:
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


def _holds(check: Callable[[Subject], str | None], case: Subject) -> bool:
    try:
        check(case)
    except Exception:
        return False
    return True
