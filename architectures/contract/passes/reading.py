"""Readings of a batch that must agree: in other modes, beside other rows and tokens, with padding, and from a cache.

Each function is the ``pairs`` of a ``Relation``.
"""

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from archbench.architectures.components.states import StateIndex, mask_or_ones
from archbench.architectures.contract.counts.counter import counted
from archbench.architectures.contract.inputs.batches import Compared, ShapedBatch
from archbench.architectures.contract.modes import SCORING, TRAINING, Mode
from archbench.architectures.contract.passes.conditional import from_cache, from_passes, in_one_pass, shifted
from archbench.architectures.contract.passes.inside import embedded
from archbench.architectures.contract.subject import (
    Subject,
    allowed,
    log_likelihood,
    logits_of,
    loss_of,
    padded,
    require,
    sequences,
)
from archbench.architectures.objectives.objective import Batch, mean_loss
from archbench.tasks.base.example import BOS, MASK, SPECIALS

PIECES = (1, 1, 3, 1, 1)  # tokens that are decoded at a time; then half of the rest, and the rest
LONG = 50  # tokens from which on half of a target is decoded at first
MOST_PADDING = 40  # tokens in the place of half of a text
CELLS = 5  # of an encoder's canvas that are decoded: each costs two passes
NEAR = 1e-4  # of the mean distance between states: the same token
LARGE_CANVAS = 100  # cells from which on none is decoded


def in_another_mode(case: Subject, shaped: ShapedBatch, mode: Mode) -> Compared:
    """Logits, compared with those of scoring; in bfloat16, with those of evaluation mode with gradients."""
    expected = logits_of(case, shaped.batch, Mode(gradients=mode.bfloat16, bfloat16=mode.bfloat16))
    yield "logits without dropout", logits_of(case, shaped.batch, mode), expected


def loss_in_training_mode(case: Subject, shaped: ShapedBatch, mode: Mode) -> Compared:
    for native in (False, True):
        expected, actual = (
            loss_of(case, shaped.batch, each, native=native).detach()[None] for each in (Mode(gradients=True), TRAINING)
        )
        yield "the loss in training mode, compared with that in evaluation mode", actual, expected


def with_gradients_in_bfloat16(case: Subject, shaped: ShapedBatch, mode: Mode) -> Compared:
    watched, unwatched = (logits_of(case, shaped.batch, Mode(False, on, True)) for on in (True, False))
    yield "logits in bfloat16, with gradients and without,", watched, unwatched


def alone(case: Subject, shaped: ShapedBatch, mode: Mode) -> Compared:
    """Rows of a batch, read with the others and by themselves, with their padding."""
    every = logits_of(case, shaped.batch, mode)
    for row in shaped.some():
        by_itself = logits_of(case, shaped.row(row), mode)
        yield f"logits of row {row} of a batch", shaped.real(every, row), shaped.real(by_itself, row)


def beside_others(case: Subject, shaped: ShapedBatch, mode: Mode) -> Compared:
    """Rows of a batch, read beside some rows and beside others."""
    before = logits_of(case, shaped.batch, mode)
    for row in shaped.some(2):
        after = logits_of(case, shaped.other_rows(row, seed=5), mode)
        yield f"logits of row {row} of a batch with other rows", shaped.real(after, row), shaped.real(before, row)


def likelihood_alone(case: Subject, shaped: ShapedBatch, mode: Mode) -> Compared:
    words = allowed(limits=case.limits)
    scores = log_likelihood(case, shaped.batch, words)
    for row in shaped.some():
        alone = log_likelihood(case, shaped.row(row), words)
        yield f"likelihood of row {row} of a batch", scores[row : row + 1], alone


def when_later_tokens_change(case: Subject, shaped: ShapedBatch, mode: Mode) -> Compared:
    """Logits of a causal model before a position, when other tokens or none stand from there on."""
    if not case.causal:
        return
    (source, target, *_), length = shaped.batch, shaped.batch.target.shape[1]
    before = logits_of(case, shaped.batch, mode)
    for position in _positions(length):
        changed = _from(target, position, 2 + position, case)
        actual = logits_of(case, Batch(source, changed), mode)[:, :position]
        yield f"logits before position {position}, when later tokens change", actual, before[:, :position]
    half = length // 2
    if half and mode == SCORING:
        actual = logits_of(case, Batch(source, target[:, :half]))
        yield f"logits of {half} tokens without those that follow", actual, before[:, :half]


def when_later_source_tokens_change(case: Subject, shaped: ShapedBatch, mode: Mode) -> Compared:
    """States of a source that has a loss of its own, when later source tokens and the target change."""
    source, target, *_ = shaped.batch
    states, length = case.model.hidden(source, target).source, source.shape[1]
    if not case.causal or not case.model.source_predicts or states is None:
        return
    for position in sorted({1, length // 2, length - 1} - {0, length}):
        changed, other = _from(source, position, 4, case), _from(target, 0, 5, case)
        actual = case.model.hidden(changed, other).source[:, :position]
        what = f"states before source position {position} of {length}, when later tokens change"
        yield what, actual, states[:, :position]


def likelihood_of_continuations(case: Subject, shaped: ShapedBatch, mode: Mode) -> Compared:
    """The likelihood of the first tokens of a text, and the sum over all tokens that may come next."""
    (source, target, *_), words = shaped.batch, allowed(end=False, limits=case.limits)
    source, target = source[:1], target[:1]
    for length in range(3):
        start = target[:, :length]
        expected = log_likelihood(case, Batch(source, start), words) if length else torch.zeros(1, dtype=torch.float64)
        longer = [torch.cat([start, word[None]], 1) for word in words.nonzero()]
        total = torch.cat([log_likelihood(case, Batch(source, text), words) for text in longer]).logsumexp(0, True)
        yield f"likelihood of the first {length} tokens, compared with that of all {length + 1}", total, expected


def without_padding(case: Subject, shaped: ShapedBatch, mode: Mode) -> Compared:
    """Rows of a batch, and each of them alone without its padding."""
    yield from _stripped(case, shaped, mode, shaped.with_source(), "")


def without_source(case: Subject, shaped: ShapedBatch, mode: Mode) -> Compared:
    """Rows whose source is padding, and each of them alone, with a source of no tokens."""
    yield from _stripped(case, shaped, mode, shaped.without_source(), " without a source")


def _stripped(case: Subject, shaped: ShapedBatch, mode: Mode, rows: list[int], which: str) -> Compared:
    if rows and shaped.is_padded:
        every = logits_of(case, shaped.batch, mode)
        for row in rows:
            what = f"logits of row {row} of a batch{which}, compared with it alone without padding"
            yield what, shaped.real(every, row), logits_of(case, shaped.stripped(row), mode)


def with_other_padding(case: Subject, shaped: ShapedBatch, mode: Mode) -> Compared:
    if not shaped.is_padded:
        return
    actual, expected = (logits_of(case, batch, mode) for batch in (shaped.other_padding(seed=5), shaped.batch))
    for row in shaped.with_source():
        yield f"logits of row {row} of a batch with other padding", shaped.real(actual, row), shaped.real(expected, row)


def with_more_padding(case: Subject, shaped: ShapedBatch, mode: Mode) -> Compared:
    """The later half of each text, with padding in the place of the first, in sources, targets and both."""
    s, t = (min(MOST_PADDING, tokens.shape[1] // 2) for tokens in shaped.batch[:2])
    source, target = shaped.batch.source[:, s:], shaped.batch.target[:, t:]
    expected = logits_of(case, Batch(source, target), mode)
    for part in (0.0, 0.5, 1.0):
        (left, right), (above, below) = ((int(part * n), n - int(part * n)) for n in (s, t))
        (wide, wide_mask), (tall, tall_mask) = padded(source, left, right, seed=3), padded(target, above, below, seed=4)
        tokens = slice(above, above + target.shape[1])
        what = f"logits with source padding {left}+{right}"
        yield what, logits_of(case, Batch(wide, target, wide_mask), mode), expected
        what = f"logits with target padding {above}+{below}"
        yield what, logits_of(case, Batch(source, tall, None, tall_mask), mode)[:, tokens], expected
        both = Batch(wide, tall, wide_mask.long(), tall_mask.long())
        yield "logits with padding of both", logits_of(case, both, mode)[:, tokens], expected


def likelihood_without_padding(case: Subject, shaped: ShapedBatch, mode: Mode) -> Compared:
    words = allowed(limits=case.limits)
    for row in shaped.with_source():
        actual, expected = (log_likelihood(case, batch, words) for batch in (shaped.row(row), shaped.stripped(row)))
        yield f"likelihood of row {row} of a batch with its padding and without", actual, expected


def loss_with_other_padding(case: Subject, shaped: ShapedBatch, mode: Mode) -> Compared:
    for native in (False, True):
        actual, expected = (
            loss_of(case, batch, mode, native=native).detach()[None]
            for batch in (shaped.batch, shaped.other_padding(seed=5))
        )
        yield "training loss with other padding", actual, expected


def empty_sources(case: Subject, shaped: ShapedBatch, mode: Mode) -> Compared:
    """No source, one without tokens and one of padding alone."""
    noise, target, *_ = shaped.batch
    nothing = torch.zeros_like(noise, dtype=torch.bool)
    for what, logits in (("in one pass", in_one_pass), ("from a cache", from_cache)):
        expected = logits(case, None, target, None)
        yield f"{what}, logits of a source of no tokens", logits(case, noise[:, :0], target, None), expected
        yield f"{what}, logits of a source of padding", logits(case, noise, target, nothing), expected


def with_another_source_token(case: Subject, shaped: ShapedBatch, mode: Mode) -> Compared:
    """All logits of a row, as one number each, when a token of its source changes."""
    source, target, *_ = shaped.batch
    before = logits_of(case, shaped.batch, mode)
    for position in range(source.shape[1]):
        after = logits_of(case, Batch(_other(source, position, case), target), mode)
        what = f"source token {position} has no influence on the logits"
        yield what, after.flatten(1), before.flatten(1)


def with_another_target_token(case: Subject, shaped: ShapedBatch, mode: Mode) -> Compared:
    """Logits at a token and at the next one, when the token changes."""
    source, target, *_ = shaped.batch
    before = logits_of(case, shaped.batch, mode)
    for position in range(target.shape[1] - 1):
        after = logits_of(case, Batch(source, _other(target, position, case)), mode)
        for output in (position, position + 1):
            yield f"logits {output} do not depend on target token {position}", after[:, output], before[:, output]


def inputs_after_a_pass(case: Subject, shaped: ShapedBatch, mode: Mode) -> Compared:
    """Inputs before and after passes; then logits of inputs that are not contiguous."""
    inputs, words = shaped.batch, allowed(limits=case.limits)
    copies = [x.clone() for x in inputs if x is not None]
    expected = logits_of(case, inputs, mode)
    mean_loss(case.model, inputs, words, torch.Generator().manual_seed(0))
    log_likelihood(case, inputs, words)
    for name, tensor, copy in zip(("source", "target", "source mask", "target mask"), inputs, copies, strict=True):
        require(bool(torch.equal(tensor, copy)), f"the {name} has changed")  # type: ignore[arg-type]
    turned = Batch(*(x.t().contiguous().t() for x in inputs if x is not None))
    yield "logits of inputs that are not contiguous", logits_of(case, turned, mode), expected


def inputs_of_stacks(case: Subject, shaped: ShapedBatch, mode: Mode) -> Compared:
    """The input of the first block, and the embedding made from its parts."""
    source, target, *_ = shaped.batch
    for what, logits in (("in one pass", in_one_pass), ("from a cache", from_cache)):
        for expected, actual in embedded(case.model, lambda run=logits: run(case, source, target, None)):  # type: ignore[misc]
            yield f"{what}, input of the first block, compared with the embedding made from its parts", actual, expected


def of_selected_tokens(case: Subject, shaped: ShapedBatch, mode: Mode) -> Compared:
    """States read at some positions, and those of all; logits of all states, and those of ``forward``."""
    source, target, source_mask, target_mask = shaped.batch
    with mode.of(case.model):
        whole = case.model.hidden(*shaped.batch)
        yield (
            "logits of all states, compared with `forward`",
            *_detached(case.model.logits(whole.target), case.model(*shaped.batch)),
        )
    every, tokens = whole.target.flatten(0, 1), mask_or_ones(target, target_mask).flatten().nonzero().squeeze(1)
    last = _last_of_rows(mask_or_ones(target, target_mask))
    selections = {"every token": tokens, "every third token": tokens[::3], "the last tokens": last}
    selections["one token"] = tokens[len(tokens) // 2 :][:1]
    for name, index in selections.items():
        with mode.of(case.model):
            states = case.model.hidden(*shaped.batch, StateIndex(None, index)).target
        yield f"states of the target at {name}, compared with those of all", *_detached(states, every[index])
    if whole.source is None or not case.model.source_predicts or not source.shape[1]:
        return
    index = mask_or_ones(source, source_mask).flatten().nonzero().squeeze(1)[::2]
    with mode.of(case.model):
        states = case.model.hidden(*shaped.batch, StateIndex(index, last))
    yield "states of every second source token", *_detached(states.source, whole.source.flatten(0, 1)[index])
    yield "states of the last target tokens, with those of the source", *_detached(states.target, every[last])


def states_of_all_tokens(case: Subject, shaped: ShapedBatch, mode: Mode) -> Compared:
    """Requires every token, as a source and as a target, to have a state of its own."""
    tokens = torch.arange(len(SPECIALS), case.limits.vocabulary)[:, None]
    beside = torch.full_like(tokens, BOS if case.causal else MASK)
    for what, batch in (("source", Batch(tokens, beside)), ("target", Batch(beside, tokens))):
        states = case.model.hidden(*batch).target[:, -1]
        first, second = _nearest(states)
        message = f"{what} tokens {int(tokens[first])} and {int(tokens[second])} are read alike"
        require(first == second, message)
    yield from ()


def decoded(case: Subject, shaped: ShapedBatch, mode: Mode) -> Compared:
    """Decoding in pieces and one pass; after two pieces, rows are reversed and one is dropped."""
    source, target, mask, _ = shaped.batch  # padding of the target is decoded like any text
    if not case.causal:
        target = target[:, : 0 if case.limits.target_length > LARGE_CANVAS else CELLS]
    with mode.of(case.model):
        expected = from_passes(case, source, target, mask).detach() if target.shape[1] else target
        for sizes in _pieces(target.shape[1]):
            rows, logits = _decoded(case, source, shifted(target), mask, sizes)
            yield (
                f"logits of decoding {target.shape[1]} tokens, compared with those of one pass",
                logits,
                expected[rows],
            )


def decoded_without_source(case: Subject, shaped: ShapedBatch, mode: Mode) -> Compared:
    if case.causal:
        batch = Batch(shaped.batch.source[:, :0], shaped.batch.target)
        for what, actual, expected in decoded(case, replace(shaped, batch=batch), mode):
            yield f"{what}, without a source", actual, expected


def flops_by_formula(case: Subject, shaped: ShapedBatch, mode: Mode) -> Compared:
    """FLOPs of a pass, as they are executed and as the formula says."""
    (source, target, *_), (s, t) = shaped.batch, (shaped.batch.source.shape[1], shaped.batch.target.shape[1])
    flops = case.model.flops(s, t, t)
    formula, visible = torch.tensor(len(target) * float(flops.executed)), len(target) * float(flops.model)
    message = f"source {s}, target {t}: {formula:.0f} FLOPs by formula, of which {visible:.0f} are declared visible"
    require(0 < visible <= formula.item() * 1.000001, message)
    with mode.of(case.model), counted(case.model, (source, target)) as counter:
        case.model(source if s else None, target)
    yield (
        f"source {s}, target {t}: {{:.0f}} FLOPs by formula, {{:.0f}} executed",
        torch.tensor(float(counter.total)),
        formula,
    )


def _decoded(
    case: Subject, source: Tensor, inputs: Tensor, mask: Tensor | None, sizes: list[int]
) -> tuple[Tensor, Tensor]:
    """The rows (n,) that are left at the end, and their logits (n, t, v)."""
    rows, steps, cache = torch.arange(len(inputs)), [], case.model.prefill(source, mask)
    for piece, tokens in enumerate(torch.split(inputs, sizes, 1)):
        logits, cache = case.model.decode(tokens[rows], cache)
        steps.append(logits.detach())
        if piece == 1:
            order = rows.flip(0)[: max(1, len(rows) - 1)]
            rows, cache, steps = order, cache.rows(order), [logits[order] for logits in steps]
    return rows, torch.cat(steps, 1)


def _pieces(length: int) -> Iterator[list[int]]:
    """Numbers of tokens that are decoded at a time: one by one, some together, or half at first."""
    rest, half = length - sum(PIECES), length // 2
    if length:
        yield [1] * length if rest < 2 else [*PIECES, rest // 2, rest - rest // 2]
    if length >= LONG:
        yield [half, 1, 1, 1, 1, length - half - 4]


def _positions(length: int) -> list[int]:
    if length < 10:
        return list(range(1, length))
    return sorted({1, length // 3, length // 2, length - 2, length - 1})


def _from(tokens: Tensor, position: int, seed: int, case: Subject) -> Tensor:
    """Other tokens from a position on."""
    rows, length = tokens.shape
    return torch.cat([tokens[:, :position], sequences(rows, length - position, seed, case.limits)], 1)


def _other(tokens: Tensor, position: int, case: Subject) -> Tensor:
    """Tokens with another text token at ``position``."""
    changed = tokens.clone()
    texts = case.limits.vocabulary - len(SPECIALS)
    changed[:, position] = (changed[:, position] - len(SPECIALS) + 1) % texts + len(SPECIALS)
    return changed


def _last_of_rows(real: Tensor) -> Tensor:
    """The last token of each row (b,), as an index into all cells, from those that are tokens (b, t)."""
    rows, width = real.shape
    return torch.arange(rows) * width + torch.where(real, torch.arange(width), -1).amax(1)


def _detached(actual: Tensor, expected: Tensor) -> tuple[Tensor, Tensor]:
    return actual.detach(), expected.detach()


def _nearest(states: Tensor) -> tuple[int, int]:
    """The two states (n, d) that are nearest if they are nearly equal; else the first, twice."""
    distances = torch.cdist(states, states, compute_mode="donot_use_mm_for_euclid_dist")
    mean = distances.mean().item()
    nearest = divmod(int(distances.fill_diagonal_(torch.inf).argmin()), len(states))
    return nearest if distances[nearest].item() <= NEAR * mean else (0, 0)
