"""The properties of a pass again, on texts as long as a task's: some faults appear only from a certain length on."""

from collections.abc import Callable

import torch
from torch import Tensor

from archbench.architectures.contract.counter import counted as counted_flops
from archbench.architectures.contract.modes import MODES, SCORING, TRAINING, Mode
from archbench.architectures.contract.subject import (
    LIMITS,
    SIZE,
    Subject,
    equal,
    logits_of,
    padded,
    require,
    sequences,
    subject,
)
from archbench.architectures.families.size import Limits, Size
from archbench.architectures.objectives.objective import Batch
from archbench.tasks.base.example import BOS

LONG = (90, 60)  # tokens of source and target
LONGER = (200, 130)  # beside those, where more than quick trials are asked for
LABELLED = (40, 1)  # a class is a target of one token
NEAR = 0.05  # root mean square of what rounding to bfloat16 moves logits by, in their standard deviations
ROWS = 64  # of a large batch
MOST = 1024  # of either: longer texts are not tried


@torch.no_grad()
def long_texts_are_read_alike(case: Subject) -> None:
    """Look-ahead, padding, caches and FLOPs are right for texts of 150 and more tokens, and for targets of one token.

    A window, a table of positions or a shortcut may take effect only from a certain length. Look at code that depends
    on the number of tokens; `compare` tries the lengths of its tasks as well.
    """
    for lengths in (LABELLED, LONG, LONGER) if case.trials.sizes else (LABELLED, LONG):
        texts_of(*lengths)(case)
    if case.trials.sizes:
        _many_are_read_as_one(case.with_room(*LONGER))


def texts_of(source_length: int, target_length: int, size: Size = SIZE) -> Callable[[Subject], None]:
    """The check for texts of up to the given source and target lengths, each at most ``MOST``, in models of a size."""

    @torch.no_grad()
    def texts_are_read_alike(case: Subject) -> None:
        """Look-ahead, padding, caches and FLOPs are right in texts as long as the task's."""
        limits = Limits(LIMITS.vocabulary, min(source_length, MOST), min(max(target_length, 1), MOST))
        _read_alike(subject(case.build, size, limits))

    return texts_are_read_alike


def _read_alike(case: Subject) -> None:
    source, target = sequences(2, case.limits.source_length), sequences(2, case.limits.target_length, seed=1)
    _trains_as_it_scores(case, source, target)
    if case.causal:
        _looks_back_only(case, source, target)
        _remembers(case, source, target)
        _remembers(case, source[:, :0], target)
    _sees_no_padding(case, source, target)
    _counts_flops(case, source, target)


def _looks_back_only(case: Subject, source: Tensor, target: Tensor) -> None:
    """Changing the tokens from a position on leaves earlier logits and earlier states of the source unchanged.

    This is required in scoring, in training and in bfloat16.
    """
    length = target.shape[1]
    for mode in MODES:
        before = logits_of(case, Batch(source, target), mode)
        for position in sorted({1, length // 2, length - 1} - {0, length}):
            changed = torch.cat([target[:, :position], sequences(2, length - position, seed=3)], 1)
            actual = logits_of(case, Batch(source, changed), mode)[:, :position]
            what = f"logits before position {position} of {length}, when later tokens change{mode.note}"
            equal(actual, before[:, :position], what)
    half, states = source.shape[1] // 2, case.model.hidden(source, target).source
    if not case.model.source_predicts or states is None or not half:
        return
    changed = torch.cat([source[:, :half], sequences(2, source.shape[1] - half, seed=4)], 1)
    actual = case.model.hidden(changed, target).source[:, :half]
    equal(actual, states[:, :half], f"states of the first {half} source tokens, when later ones change")


def _trains_as_it_scores(case: Subject, source: Tensor, target: Tensor) -> None:
    """Training mode, and gradients in bfloat16, change nothing; a row is read the same alone and in a batch."""
    expected = logits_of(case, Batch(source, target))
    equal(logits_of(case, Batch(source, target), TRAINING), expected, f"logits of {target.shape[1]} tokens in training")
    watched, unwatched = (logits_of(case, Batch(source, target), Mode(False, on, True)) for on in (True, False))
    distance = ((watched - unwatched).pow(2).mean().sqrt() / unwatched.std()).item()
    message = f"logits of {target.shape[1]} tokens, {source.shape[1]} of source, in bfloat16 with gradients"
    require(distance <= NEAR, f"{message} and without differ by {distance:.2g} standard deviations")
    for row in range(len(source)):
        alone = logits_of(case, Batch(source[row : row + 1], target[row : row + 1]))
        equal(alone, expected[row : row + 1], f"logits of row {row} of texts of {target.shape[1]} tokens, read alone")


def _remembers(case: Subject, source: Tensor, target: Tensor) -> None:
    """Reading the source, then half of the target at once, then the rest token by token, equals one pass."""
    inputs = torch.cat([torch.full((2, 1), BOS), target[:, :-1]], 1)
    expected = case.model(source, inputs)
    cache, steps = case.model.prefill(source), []
    half = inputs.shape[1] // 2
    pieces = [inputs[:, :half], *torch.split(inputs[:, half : half + 4], 1, 1), inputs[:, half + 4 :]]
    for piece in pieces:
        if piece.shape[1]:
            logits, cache = case.model.decode(piece, cache)
            steps.append(logits)
    equal(torch.cat(steps, 1), expected, f"decoding {inputs.shape[1]} tokens from a cache, source {source.shape[1]}")


def _sees_no_padding(case: Subject, source: Tensor, target: Tensor) -> None:
    """Padding replaces up to 40 of the first tokens: texts with it are as long as the limits allow."""
    s, t = (min(40, tokens.shape[1] // 2) for tokens in (source, target))
    source, target = source[:, s:], target[:, t:]
    expected = case.model(source, target)
    for left in (True, False):
        wide, mask = padded(source, s * left, s * (not left), seed=5)
        equal(case.model(wide, target, mask), expected, f"{source.shape[1]} source tokens, {s} of padding")
        tall, mask = padded(target, t * left, t * (not left), seed=6)
        actual = case.model(source, tall, None, mask)[:, t * left : t * left + target.shape[1]]
        equal(actual, expected, f"{target.shape[1]} target tokens, {t} of padding")


def _many_are_read_as_one(case: Subject) -> None:
    """A row of many long ones, with padding, is read the same alone: large batches may be computed in parts."""
    masks, order = [], torch.randperm(ROWS, generator=torch.Generator().manual_seed(0))
    for room in (case.limits.source_length, case.limits.target_length):
        lengths = torch.linspace(room // 4, room, ROWS).round()[order]
        masks.append(torch.arange(room) < lengths[:, None])
    source, target = (sequences(ROWS, mask.shape[1], seed) for seed, mask in enumerate(masks))
    for mode in (SCORING, TRAINING):
        every = logits_of(case, Batch(source, target, *masks), mode)
        for row in range(0, ROWS, ROWS // 4 - 1):
            here = source[row, masks[0][row]][None], target[row, masks[1][row]][None]
            what = f"logits of row {row} of {ROWS} long rows with padding{mode.note}, compared with those of it alone"
            equal(every[row, masks[1][row]][None], logits_of(case, Batch(*here), mode), what)


def _counts_flops(case: Subject, source: Tensor, target: Tensor) -> None:
    with torch.enable_grad(), counted_flops(case.model, (source, target)) as counter:  # as training counts them
        case.model(source if source.shape[1] else None, target)
    s, t = source.shape[1], target.shape[1]
    executed, counted = 2 * case.model.flops(s, t, t).executed, counter.total
    message = f"source {s}, target {t}: {executed:.0f} FLOPs by formula, {counted} executed"
    require(abs(executed - counted) <= 0.01 * counted, message)
