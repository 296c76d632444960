"""The properties of a pass again, in models of other sizes."""

from collections.abc import Callable
from dataclasses import replace

from archbench.architectures.contract.caching import caches_last, forward_is_prefill_and_decode
from archbench.architectures.contract.learning import training_reads_as_scoring_does
from archbench.architectures.contract.losses import (
    gradients_stay_in_place,
    selected_states_are_those_of_one_pass,
    the_training_loss_is_the_likelihood,
)
from archbench.architectures.contract.passes import no_look_ahead, padding_is_invisible, rows_are_apart
from archbench.architectures.contract.subject import LIMITS, BrokenError, Subject, subject
from archbench.architectures.contract.trials import QUICK
from archbench.architectures.families.size import Size

SIZES = (  # width, heads, depth, feed-forward width, vocabulary
    (48, 4, 1, 7, 57),
    (80, 2, 3, 33, 131),
    (16, 1, 4, 50, 29),
    (64, 4, 2, 11, 40),
    (32, 1, 1, 100, 23),
    (112, 2, 2, 64, 97),
    (96, 4, 4, 17, 300),
    (144, 1, 2, 48, 61),
    (128, 4, 3, 341, 1000),
)
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
)


def other_sizes_read_alike(case: Subject) -> str | None:
    """Models of other widths, heads, depths and vocabularies have the same properties of a pass.

    The models that `compare` trains are larger than those checked: a number that fits one size only (a head count, a
    width, the number of tokens) fails at another. Take every number from `size` and `limits`.
    """
    if not case.trials.sizes:
        return "no other size is tried"
    checks = [check for check in READING if _holds(check, subject(case.build))]  # what never holds is named already
    for dim, heads, depth, hidden, vocabulary in SIZES[: case.trials.sizes]:
        size, limits = Size(dim, heads, depth, hidden), replace(LIMITS, vocabulary=vocabulary)
        try:
            case.build(size, limits)
        except Exception:  # what cannot be built cannot be compared either
            continue
        for check in checks:
            try:
                check(subject(case.build, size, limits, trials=QUICK))
            except BrokenError as error:
                where = f"width {dim}, {heads} heads, depth {depth}, hidden {hidden}, vocabulary {vocabulary}"
                raise BrokenError(f"{check.__name__}: {error} (with {where})") from error
    return None


def _holds(check: Callable[[Subject], str | None], case: Subject) -> bool:
    try:
        check(case)
    except Exception:
        return False
    return True
