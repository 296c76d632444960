"""Checks of FLOPs: the counts that budgets match are those that run, forward and backward, at planned sizes too."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from archbench.architectures.contract.counts.capacity import constants_fit, left_out_is_explained
from archbench.architectures.contract.counts.counter import Mixing, counted
from archbench.architectures.contract.inputs.batches import Compared, Found, ShapedBatch, unpadded
from archbench.architectures.contract.inputs.weights import random
from archbench.architectures.contract.modes import Mode
from archbench.architectures.contract.relation import no_more
from archbench.architectures.contract.subject import (
    LIMITS,
    SIZE,
    BrokenError,
    Subject,
    allowed,
    fresh,
    require,
    sequences,
    subject,
)
from archbench.architectures.families.size import Limits, Size
from archbench.architectures.kernels.table import KERNELS, SELECTION, Kernel
from archbench.architectures.objectives.masked import Masked
from archbench.architectures.objectives.objective import Batch, LossInputs, mean_loss
from archbench.tasks.base.decoding import Decoding

OTHER_SIZE = Size(dim=64, heads=4, depth=1, hidden=40)
SIZES = (SIZE, OTHER_SIZE)
LEAN = Size(dim=16, heads=2, depth=2, hidden=4)  # in which attention is a larger part
SHAPES = ((5, 4), (0, 6), (7, 1))  # tokens of source and target
ROUNDS = 2  # in which a canvas is filled
SHORT, LONG = (5, LIMITS.target_length), (80, 60)  # tokens of source and target
TOLERANCE = 0.01  # of FLOPs
ROWS = 384  # of a batch; so many that the number of positions with a loss, where it is random, is near its mean
DROPOUT = 0.1
DRAWN_ROWS = 48  # of a batch in each of many steps
FEW_ROWS = 4  # of a planned model's batch
MOST_ROWS, MOST_TOKENS = 2**14, 2**20  # of a batch from which positions with a loss are drawn
LOSS_TOLERANCE = 0.1  # of their number: five standard errors or more
LONGEST = 1024  # tokens of source or target for which visible pairs are measured
PAIRS = 20_000_000  # of positions, in all layers, that are tried to measure how many are visible


@dataclass(frozen=True)
class Measured:
    """FLOPs of one training step on a batch, forward and backward, as they were executed.

    ``mixing``: the forward pass's FLOPs of products of activations with activations, for each call of a module;
    ``shares``: the share of (query, key) pairs that this call uses, 1 where that cannot be measured.
    """

    total: int
    mixing: tuple[int, ...]
    shares: tuple[float, ...] = ()

    def visible(self, shares: tuple[float, ...]) -> float:
        """The share of ``total`` that remains if attention counts only the pairs that it uses."""
        unused = sum(flops * (1.0 - share) for flops, share in zip(self.mixing, shares, strict=True))
        return 1.0 - 3.0 * unused / self.total  # the backward pass has two products for each


def of_two_sizes(case: Subject) -> Found:
    """Pairs of texts without padding for models of two sizes, and pairs as long as the trials decode."""
    for tested in (case, subject(case.build, size=OTHER_SIZE)):
        for s, t in SHAPES:
            yield tested, unpadded("", *_batch(2, s, t)[:2])
    yield case.with_room(5, case.trials.decoded), unpadded("", *_batch(2, 5, case.trials.decoded)[:2])


def attended(case: Subject) -> Found:
    """As many rows as positions, for two sizes and in longer texts: each row tests one position."""
    for size, (s, t) in ((SIZE, SHORT), (LEAN, SHORT), (SIZE, LONG)):
        limits = replace(LIMITS, source_length=s + 2, target_length=t)
        yield subject(case.build, size, limits), unpadded("", *_batch(s + t + 1, s, t)[:2])


def flops_of_answers(case: Subject, shaped: ShapedBatch, mode: Mode) -> Compared:
    """FLOPs of decoding, and at most those declared, with hidden pairs of positions.

    Decoding is greedy; where a canvas is filled in, it also is in rounds.
    """
    room, objective, source = case.limits.target_length, case.model.objective, shaped.batch.source
    words, greedy = allowed(end=False), Decoding(max_tokens=min(shaped.batch.target.shape[1], room))
    s, t = source.shape[1], greedy.max_tokens
    passes = (
        case.model.flops(float(s), float(t), float(t)),
        case.model.flops(s + 1.0, float(room), 1.0),
    )
    hidden = max(float(flops.executed / flops.model) for flops in passes)
    costs = {greedy: objective.answer_flops(case.model, float(s), float(t))}
    if isinstance(objective, Masked):
        rounds = objective.rounds_flops(case.model, float(s), float(t), ROUNDS)
        costs[replace(greedy, strategy="confident", rounds=ROUNDS)] = rounds
    for decoding, cost in costs.items():
        with counted(case.model, (source,)) as counter:
            objective.generate(case.model, source, None, words, decoding)
        declared, how = len(source) * float(cost), "" if decoding is greedy else f" in {ROUNDS} rounds"
        message = f"source {s}, {t} tokens written{how}: {declared:.0f} FLOPs by `answer_flops`, {{1:.0f}} executed"
        yield _compared(message, counter.total, declared * hidden)


def flops_of_many(case: Subject, shaped: ShapedBatch, mode: Mode) -> Compared:
    """FLOPs of arrays of lengths, as a share of the FLOPs of each, and 1."""
    objective = case.model.objective
    formulas: dict[str, Callable[..., Any]] = {
        "a pass": lambda s, t: case.model.flops(s, t, t).model,
        "training": lambda s, t: objective.training_flops(case.model, s, t, True).model,
        "answers": lambda s, t: objective.answer_flops(case.model, s, t),
    }
    for what, flops in formulas.items():
        together = torch.as_tensor(flops(*torch.tensor(SHAPES, dtype=torch.float64).numpy().T)).double()
        apart = torch.tensor([float(flops(float(s), float(t))) for s, t in SHAPES], dtype=torch.float64)
        yield f"FLOPs of {what} on many examples at once, divided by those of each", together / apart, apart / apart


def flops_of_steps(case: Subject, shaped: ShapedBatch, mode: Mode) -> Compared:
    """FLOPs of training steps at two sizes, and those declared."""
    for size, (s, t) in zip(SIZES, (SHORT, (3, 5)), strict=True):
        model = subject(case.build, size=size).model
        for native in (True, False):
            declared = ROWS * model.objective.training_flops(model, float(s), float(t), native).executed
            where = f"{_named(size)}, source {s}, target {t}, {_supervision(native)}"
            yield _step_compared(where, measured(model, _batch(ROWS, s, t), native).total, declared)


def flops_of_padded_steps(case: Subject, shaped: ShapedBatch, mode: Mode) -> Compared:
    """FLOPs of a step on a padded batch, and those declared for its widths."""
    batch, (s, t) = _padded(*SHORT), SHORT
    declared = ROWS * case.model.objective.training_flops(case.model, float(s), float(t), True).executed
    try:
        with mode.of(case.model):
            executed = measured(case.model, batch, native=True).total
    except RuntimeError:
        if not mode.bfloat16:  # a check of its own says what does not go with bfloat16
            raise
        return
    message = f"padded to source {s}, target {t}: {{:.0f}} FLOPs by formula, {{:.0f}} executed"
    yield _compared(f"{message}; padding must not cost a pass of its own", executed, declared)


def mean_flops_of_steps(case: Subject, shaped: ShapedBatch, mode: Mode) -> Compared:
    """FLOPs of a step with dropout, on average over many seeds, and those declared: some may execute more."""
    steps, (s, t) = case.trials.steps, SHORT
    rows, model = max(ROWS // steps, DRAWN_ROWS), fresh(case.build, size=replace(SIZE, dropout=DROPOUT))
    declared = rows * model.objective.training_flops(model, float(s), float(t), True).executed
    totals = [measured(model, _batch(rows, s, t), native=True, seed=seed).total for seed in range(steps)]
    where = f"source {s}, target {t}, dropout {DROPOUT}, mean of {steps} steps"
    yield _step_compared(where, sum(totals) / steps, declared)


def visible_flops(case: Subject, shaped: ShapedBatch, mode: Mode) -> Compared:
    """The share of FLOPs that remains with the pairs that attention uses, and the declared one; then in bfloat16."""
    batch, (lengths, *_) = shaped.batch, shaped.lengths
    exact = measured(case.model, batch, native=False, uses=True)
    yield _share_compared(case.model, lengths, False, exact.visible(exact.shares))
    try:
        with torch.autocast("cpu", torch.bfloat16):
            half = measured(case.model, batch, native=False, uses=True, kernels=KERNELS).shares
    except RuntimeError:
        return  # a check of its own says what does not go with bfloat16
    for call, (seen, expected) in enumerate(zip(half, exact.shares, strict=False)):
        message = f"call {call + 1} of those that mix positions uses {{1:.1%}} of the pairs in bfloat16"
        message = f"{message}, in float32 {expected:.1%}; masks must not depend on precision"
        yield _compared(message, seen, expected + TOLERANCE)


def flops_as_on_random_texts(case: Subject, shaped: ShapedBatch, mode: Mode) -> Compared:
    """FLOPs of a batch, and of random tokens of the same shape with random weights."""
    usual = random(case)
    batch = Batch(*(sequences(len(tokens), tokens.shape[1], limits=case.limits) for tokens in shaped.batch[:2]))
    taken, expected = (_flops(each, read) for each, read in ((case, shaped.batch), (usual, batch)))
    yield "a pass on random tokens takes {:.0f} FLOPs with random weights, {:.0f} are executed", taken, expected


def _flops(case: Subject, batch: Batch) -> Tensor:
    with counted(case.model, batch[:2]) as counter:
        case.model(*batch)
    return torch.tensor(float(counter.total))


def planned(size: Size, limits: Limits, native: bool) -> Callable[[Subject], None]:
    """The check of FLOPs and tables at one planned size, without memory for weights if the model allows that."""

    def planned_flops_are_counted(case: Subject) -> None:
        """At the planned size and lengths, FLOPs and pairs match their declarations; tables and buffers are explained.

        A formula may be right for small models only. `objective.training_flops` must be what a step on a model of this
        size executes; take every width and length from the model.
        """
        with torch.device("meta"):
            left_out_is_explained(case.build(size, limits), size, limits)
        constants_fit(case.build, size)
        shapes = {(limits.source_length, limits.target_length)}
        shapes.add(((limits.source_length + 1) // 2, (limits.target_length + 1) // 2))
        for lengths in sorted(shapes, reverse=True):
            _plan_is_counted(case, size, limits, lengths, native)
        _plan_is_visible(case, size, limits, native)

    return planned_flops_are_counted


@torch.enable_grad()
def measured(
    model: Any,
    batch: Batch,
    native: bool,
    limits: Limits = LIMITS,
    uses: bool = False,
    seed: int = 0,
    kernels: Sequence[Kernel] = SELECTION,
) -> Measured:
    """FLOPs of one training step on a batch; with ``uses``, also the pairs that attention uses."""
    allowed_tokens = allowed(limits=limits).to(batch.target.device)
    with counted(model, batch, kernels) as counter:
        loss = mean_loss(model.train(), batch, allowed_tokens, torch.Generator().manual_seed(seed), native=native)
        counter.is_forward = False
        torch.autograd.backward(loss, retain_graph=uses)
    shares = tuple(_used(call) for call in counter.mixing) if uses else ()
    model.zero_grad()
    return Measured(counter.total, tuple(call.flops for call in counter.mixing), shares)


def _used(call: Mixing) -> float:
    """The share of pairs of positions whose output has a gradient with respect to its input; row i tests one output.

    The share is 1 where it cannot be measured: without a gradient, or where positions read something other than each
    other, as in cross-attention. With fewer rows than positions, half a row's share is subtracted as a tolerance.
    """
    length = call.inputs.shape[1]
    rows = torch.arange(min(len(call.inputs), length))
    if call.outputs.grad_fn is None:
        return 1.0
    outputs = call.outputs[rows, ((rows + 0.5) * length / len(rows)).long()]
    direction = torch.randn(outputs.shape, generator=torch.Generator().manual_seed(0))
    (slopes,) = torch.autograd.grad(outputs, call.inputs, direction, retain_graph=True, allow_unused=True)
    used = 0 if slopes is None else int(slopes[rows].ne(0).any(-1).sum())
    if used <= len(rows) and not call.is_self_attention:
        return 1.0
    missed = 0.0 if len(rows) == length else 0.5 / len(rows)
    return max(0.0, used / (len(rows) * length) - missed)


def _padded(source: int, target: int) -> Batch:
    """A batch of rows that lack up to two tokens of these lengths."""
    generator, full = torch.Generator().manual_seed(0), _batch(ROWS, source, target)
    masks = (
        torch.arange(width) < width - torch.randint(3, (ROWS, 1), generator=generator) for width in (source, target)
    )
    return Batch(full.source, full.target, *masks)


def _plan_is_counted(case: Subject, size: Size, limits: Limits, lengths: tuple[int, int], native: bool) -> None:
    """Requires a step of the planned model to execute its declared FLOPs, given how many positions have a loss."""
    (model, batch, measurement), (s, t) = _step(case, size, limits, lengths, native), lengths
    rows, objective = len(batch.target), model.objective
    declared = rows * float(objective.training_flops(model, float(s), float(t), native).executed)
    more, fewer = (float(model.flops(float(s), float(t), outputs).executed) for outputs in (2.0, 1.0))
    declared += 3.0 * (more - fewer) * _surplus(model, batch, native)
    many = Batch(*(tokens[:1].expand(_many(lengths), -1) for tokens in batch[:2]))
    expected, surplus = objective.loss_tokens(model, float(s), float(t), native), _surplus(model, many, native)
    message = f"{_named(size)}: {expected:.2f} positions have a loss by formula, {surplus / len(many[0]):+.2f} by draws"
    require(abs(surplus) <= LOSS_TOLERANCE * expected * len(many[0]), message)
    where = f"{_named(size)}, source {s}, target {t}, {_supervision(native)}"
    what, executed, most = _step_compared(where, measurement.total, declared)
    no_more(executed, most, what)


def _surplus(model: Any, batch: Batch, native: bool) -> float:
    """How many more positions of a batch have a loss than ``loss_tokens`` says; the draws have a fixed seed."""
    inputs: LossInputs = model.objective.prepare(model, batch, torch.Generator().manual_seed(0), native)
    rows, s, t = (float(count) for count in (*batch.source.shape, batch.target.shape[1]))
    expected = rows * float(model.objective.loss_tokens(model, s, t, native))
    return len(inputs.at) + (0 if inputs.source_at is None else len(inputs.source_at)) - expected


def _plan_is_visible(case: Subject, size: Size, limits: Limits, native: bool) -> None:
    """Requires the planned model to declare the pairs that a narrow model of equal depth is measured to use."""
    s, t = lengths = min(limits.source_length, LONGEST), min(limits.target_length, LONGEST)
    model, _, step = _step(case, size, limits, lengths, native)
    narrow = subject(
        case.build, size=replace(SIZE, depth=size.depth), limits=replace(limits, vocabulary=LIMITS.vocabulary)
    ).model
    rows = max(8, min(s + t + 1, PAIRS // ((s + t + 1) ** 2 * size.depth)))
    shares = measured(narrow, _batch(rows, s, t), native, uses=True).shares
    calls = f"{len(step.mixing)} calls that mix positions, {len(shares)} where `size.dim` is {SIZE.dim}"
    require(len(shares) == len(step.mixing), f"{_named(size)}: {calls}; build the same layers at every width")
    what, used, declared = _share_compared(model, lengths, native, step.visible(shares))
    no_more(used, declared, what)


def _step(
    case: Subject, size: Size, limits: Limits, lengths: tuple[int, int], native: bool
) -> tuple[Any, Batch, Measured]:
    """A planned model, a batch of these lengths, and what a step on it executes; on the meta device if that works."""
    try:
        with torch.device("meta"):
            model = case.build(size, limits)
            batch = Batch(*(torch.zeros(FEW_ROWS, length, dtype=torch.long) for length in lengths))
        return model, batch, measured(model, batch, native, limits)
    except BrokenError:
        raise
    except Exception:  # values are read, or an operator does without the meta device
        model = fresh(case.build, size=size, limits=limits)
        batch = _batch(FEW_ROWS, *lengths)
        return model, batch, measured(model, batch, native, limits)


def _many(lengths: tuple[int, int]) -> int:
    """Number of rows of a batch for a model on the meta device."""
    return max(FEW_ROWS, min(MOST_ROWS, MOST_TOKENS // (sum(lengths) + 1)))


def _share_compared(model: Any, lengths: tuple[int, int], native: bool, used: float) -> tuple[str, Tensor, Tensor]:
    s, t = lengths
    flops = model.objective.training_flops(model, float(s), float(t), native)
    message = f"source {s}, target {t}: model FLOPs are declared as {{:.1%}} of the executed ones"
    message = f"{message}; with the pairs that attention uses they are {{:.1%}}; count every pair that the mask shows"
    hint = "(if flops_are_counted fails too, mend that first)"
    return _compared(f"{message} {hint}", used, flops.model / flops.executed)


def _step_compared(where: str, executed: float, declared: float) -> tuple[str, Tensor, Tensor]:
    message = f"{where}: {{:.0f}} FLOPs of training by formula, {{:.0f}} executed"
    return _compared(f"{message}; count forward and backward pass of all that runs", executed, declared)


def _compared(what: str, actual: float, most: float) -> tuple[str, Tensor, Tensor]:
    """A count and its upper bound, for ``no_more``."""
    return what, torch.tensor(float(actual), dtype=torch.float64), torch.tensor(float(most), dtype=torch.float64)


def _batch(rows: int, source: int, target: int) -> Batch:
    return Batch(sequences(rows, source), sequences(rows, target, seed=1))


def _named(size: Size) -> str:
    return f"width {size.dim}, heads {size.heads}, depth {size.depth}, hidden {size.hidden}"


def _supervision(native: bool) -> str:
    return "native supervision" if native else "target supervision"
