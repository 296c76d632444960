"""The training loss: its definition, its share of each row, and where its gradient goes."""

import inspect
from collections.abc import Iterator
from itertools import combinations, product

import torch
from torch import Tensor
from torch.nn import functional as F

from archbench.architectures.components.states import mask_or_ones
from archbench.architectures.contract.inputs.batches import Compared, ShapedBatch
from archbench.architectures.contract.modes import TRAINING, TRAINING_BFLOAT16, Mode
from archbench.architectures.contract.passes.conditional import from_passes
from archbench.architectures.contract.subject import (
    BrokenError,
    Subject,
    allowed,
    equal,
    log_likelihood,
    loss_of,
    require,
    sequences,
    stacked,
    subject,
)
from archbench.architectures.contract.training.tokens import token_gradients, unique_tokens
from archbench.architectures.families.size import Limits
from archbench.architectures.objectives.causal import Causal
from archbench.architectures.objectives.masked import Masked, without_end
from archbench.architectures.objectives.objective import Batch, LossInputs, cell_tokens, length_nats, predicts_length
from archbench.tasks.base.example import BOS, END, MASK

SIGMAS = 5.0
Columns = tuple[tuple[int, ...], ...]  # of the positions with a loss, in each row
DRAWS = 64  # of what an objective hides
SMOOTHING = 0.1


def loss_by_definition(case: Subject, shaped: ShapedBatch, mode: Mode) -> Compared:
    """The loss of a known objective, and its definition."""
    for native, smoothing in ((False, 0.0), (True, 0.0), (True, SMOOTHING)):
        expected = _defined_loss(case, shaped.batch, mode, native, smoothing)
        if expected is not None:
            loss = loss_of(case, shaped.batch, mode, native=native, smoothing=smoothing).detach()
            words = f"{', with source loss' if native else ''}{f', smoothing {smoothing}' if smoothing else ''}"
            yield f"the training loss, compared with its definition{words}", loss[None], expected[None]


def loss_by_likelihood(case: Subject, shaped: ShapedBatch, mode: Mode) -> Compared:
    """A loss without random draws, and the negative log-likelihood, divided by the tokens of the batch."""
    if not case.model.objective.needs_pass_per_token:
        tokens = mask_or_ones(shaped.batch.target, shaped.batch.target_mask).sum()
        expected = -log_likelihood(case, shaped.batch, allowed(limits=case.limits)).sum(0, keepdim=True) / tokens
        yield (
            "the training loss, compared with the likelihood per token",
            loss_of(case, shaped.batch, mode)[None],
            expected,
        )


def loss_in_parts(case: Subject, shaped: ShapedBatch, mode: Mode) -> Compared:
    """Loss and likelihoods of a batch that is read in parts, as for lack of memory, and of the whole."""
    objective, allowed_tokens = case.model.objective, allowed(limits=case.limits)
    inputs = objective.prepare(case.model, shaped.batch, torch.Generator().manual_seed(0), True)
    whole = objective.loss(case.model, inputs, allowed_tokens)[None]
    for parts in (2, 3)[: len(shaped.lengths) - 1]:
        total = torch.stack([objective.loss(case.model, part, allowed_tokens) for part in inputs.split(parts)]).sum()
        yield f"the loss of a batch in {parts} parts, compared with that of all", total[None], whole
    if "parts" in inspect.signature(objective.log_likelihood).parameters:
        log_p = objective.log_likelihood(case.model, shaped.batch, allowed_tokens, parts=2)[0]
        expected = log_likelihood(case, shaped.batch, allowed_tokens)
        yield "likelihoods of a batch in 2 parts, compared with those of all", log_p, expected


def _defined_loss(case: Subject, batch: Batch, mode: Mode, native: bool, smoothing: float) -> Tensor | None:
    """The loss of a known objective by its definition; None for another one."""
    objective = case.model.objective
    if type(objective) is Causal:
        return _causal_loss(case, batch, mode, native, smoothing)
    if type(objective).loss not in (Causal.loss, Masked.loss):
        return None
    inputs = objective.prepare(case.model, batch, torch.Generator().manual_seed(0), native)
    if type(objective) is Masked:
        _hidden_cells(case, batch, inputs, native)
    loss: Tensor = _weighted_loss(case, inputs, mode, smoothing) / inputs.tokens
    return loss


def _causal_loss(case: Subject, batch: Batch, mode: Mode, native: bool, smoothing: float) -> Tensor:
    """Mean negative log-likelihood of the target, plus that of the source without its first token."""
    source, target, source_mask, target_mask = batch
    inputs = torch.cat([torch.full_like(target[:, :1], BOS), target[:, :-1]], 1)
    with mode.of(case.model):
        logits = case.model(source, inputs, source_mask, target_mask).detach()
        states = case.model.hidden(source, inputs, source_mask, target_mask).source
    allowed_tokens, real = allowed(limits=case.limits), mask_or_ones(target, target_mask)
    loss = _nats(logits, target, allowed_tokens, smoothing)[real].mean()
    if native and case.model.source_predicts and source.shape[1] > 1:
        later = mask_or_ones(source, source_mask)[:, 1:]  # padding stands at the right
        source_logits = case.model.logits(states).detach()[:, :-1]
        loss = loss + _nats(source_logits, source[:, 1:], torch.ones_like(allowed_tokens), smoothing)[
            later
        ].sum() / max(int(later.sum()), 1)
    return loss


def likelihood_by_definition(case: Subject, shaped: ShapedBatch, mode: Mode) -> Compared:
    """The likelihoods of a known objective, and sums over the logits of its passes."""
    if not isinstance(case.model.objective, Causal | Masked):
        return
    text, allowed_tokens = without_end(case.model, shaped.batch), allowed(limits=case.limits)
    target, target_mask = text.target, text.target_mask
    read = case.model.objective.example_inputs(case.model, shaped.batch)  # an encoder's source ends with BOS
    if target_mask is not None and not case.causal:
        target = target.masked_fill(~target_mask, MASK)
    cells = target_mask if predicts_length(case.model) else None
    lengths = None if cells is None else cells.sum(1)
    logits = from_passes(case, read.source, target, read.source_mask, cells)
    token_nats = _nats(logits, text.target, cell_tokens(allowed_tokens, lengths), 0.0)
    expected = -(token_nats * mask_or_ones(target, target_mask)).sum(1)
    if lengths is not None:
        expected = expected - length_nats(case.model, read.source, read.source_mask, lengths)
    actual = log_likelihood(case, shaped.batch, allowed_tokens)
    yield "likelihood, compared with the sum over plain logits", actual, expected


def _weighted_loss(case: Subject, inputs: LossInputs, mode: Mode, smoothing: float) -> Tensor:
    """The weighted sum over the predicted positions, from the logits of every position."""
    read = inputs.source, inputs.target, inputs.source_mask, inputs.target_mask
    with mode.of(case.model):
        states = case.model.hidden(*read)
        logits = case.model(*read).detach().flatten(0, 1)[inputs.at]
    allowed_tokens = cell_tokens(allowed(limits=case.limits), inputs.lengths)
    loss = (_nats(logits, inputs.labels, allowed_tokens, smoothing) * inputs.weights).sum()
    if inputs.lengths is not None:
        loss = loss + length_nats(case.model, inputs.source, inputs.source_mask, inputs.lengths).detach().sum()
    if inputs.source_at is not None and inputs.source_labels is not None and states.source is not None:
        assert inputs.source_weights is not None
        source_logits = case.model.logits(states.source.flatten(0, 1)[inputs.source_at]).detach()
        source_nats = _nats(source_logits, inputs.source_labels, torch.ones_like(allowed_tokens), smoothing)
        loss = loss + (source_nats * inputs.source_weights).sum()
    return loss


def _hidden_cells(case: Subject, batch: Batch, inputs: LossInputs, native: bool) -> None:
    """Requires hidden cells to be [MASK] on the canvas, with the target's tokens as labels and the stated weights."""
    objective, batch = case.model.objective, without_end(case.model, batch)
    real, width = mask_or_ones(batch.target, batch.target_mask), inputs.target.shape[1]
    most = batch.target.shape[1] if inputs.lengths is not None else case.model.canvas
    require(width == most, f"the canvas is read with {width} cells, expected {most}")
    if inputs.lengths is not None:
        require(bool(torch.equal(inputs.lengths, real.sum(1))), "lengths are not those of the targets without END")
        inputs = inputs._replace(target=inputs.target.masked_fill(~real, MASK))
    filler = END if objective.ended else MASK
    canvas = F.pad(batch.target.masked_fill(~real, filler), (0, width - batch.target.shape[1]), value=filler)
    hidden = torch.zeros(canvas.numel(), dtype=torch.bool)
    hidden[inputs.at] = True
    cells = hidden.view(canvas.shape)
    after = cells.cummax(1).values  # every cell from the first hidden one on
    left = (inputs.target == canvas.masked_fill(after, MASK)).all(1) & bool(objective.suffix)
    left |= objective.next_cell or objective.suffix == 1
    require(
        bool(torch.equal(inputs.target, canvas.masked_fill(torch.where(left[:, None], after, cells), MASK))),
        "cells that are not hidden differ from the target",
    )
    require(
        bool(torch.equal(inputs.labels, canvas.flatten()[inputs.at])),
        "hidden cells have other labels than the target's tokens",
    )
    counts, lengths = cells.sum(1), real.sum(1)
    require(bool((counts >= lengths.clamp(max=1)).all()), "nothing of a target is hidden")
    what = "n / E[k]" if objective.equal and not objective.next_cell else "n / k"
    rows = inputs.at // width
    from_left, at_random = (
        2 * n / (n + 1) if what == "n / E[k]" else n / counts.clamp(min=1)
        for n in (lengths, torch.full_like(lengths, width) if objective.ended else lengths)
    )
    shares = torch.where(left, from_left, at_random)[rows]
    if 0 < objective.suffix < 1:  # random cells may be the last ones by chance
        others = at_random[rows]
        shares = torch.where((inputs.weights - others).abs() < (inputs.weights - shares).abs(), others, shares)
    equal(inputs.weights, shares, f"weights of hidden cells, compared with {what}")
    if native and inputs.source_at is not None and inputs.source_labels is not None:
        expected_labels = F.pad(batch.source, (0, 1), value=BOS).flatten()
        require(
            bool(torch.equal(inputs.source_labels, expected_labels[inputs.source_at])),
            "hidden source tokens have other labels",
        )
        read = inputs.source.flatten()[inputs.source_at]
        require(bool((read == MASK).all()), "a source token is read that should be predicted")


def every_token_counts(case: Subject, shaped: ShapedBatch, mode: Mode) -> Compared:
    """Requires every token of a target, END too, to be hidden and predicted in some draw."""
    objective = case.model.objective
    for length in (1, 3, case.limits.target_length):
        widths = (case.limits.source_length, length)
        source, target = (sequences(2, n, seed=n, limits=case.limits) for n in widths)
        target[0, -1] = END
        left = {(row, column) for row in range(2) for column in range(length)}
        if predicts_length(case.model):  # in the place of END
            left.remove((0, length - 1))
        drawn: dict[str, set[Columns]] = {}
        for seed in range(DRAWS):
            inputs = objective.prepare(case.model, Batch(source, target), torch.Generator().manual_seed(seed), True)
            left -= {divmod(int(at), inputs.target.shape[1]) for at in inputs.at[inputs.weights > 0]}
            for kind, columns in _columns(inputs).items():
                drawn.setdefault(kind, set()).add(columns)
        for row, column in sorted(left):
            what = "END" if target[row, column] == END else "a token"
            require(False, f"{what}, {column + 1} of {length} of a target, has no part in the training loss")
        for kind, patterns in drawn.items():
            _rows_draw_apart(kind, patterns)
        _source_tokens_count(drawn.get("source", set()), source.shape[1])
        if isinstance(objective, Masked) and objective.estimate_is_bound and not objective.next_cell:
            counts = sorted({len(columns) for pattern in drawn["target"] for columns in pattern})
            counts = [count for count in counts if count or not predicts_length(case.model)]  # END alone has no cell
            cells = case.model.canvas if objective.ended else length
            message = f"of {cells} cells {', '.join(map(str, counts))} are hidden in {DRAWS} draws"
            require(counts == list(range(1, cells + 1)), f"{message}; a bound needs every number")
    _targets_weigh_by_their_tokens(case)
    yield from ()


def _targets_weigh_by_their_tokens(case: Subject) -> None:
    """Requires short and long targets of a batch to have weights in proportion to their tokens, on average over draws.

    Whether every token of a target weighs the same is the objective's decision.
    """
    target, mask = stacked([sequences(1, n, seed=n, limits=case.limits) for n in (2, case.limits.target_length)])
    target[torch.arange(2), mask.sum(1) - 1] = END
    batch = Batch(sequences(2, 3, limits=case.limits), target, None, mask)
    draws = []
    for seed in range(case.trials.samples):
        inputs = case.model.objective.prepare(case.model, batch, torch.Generator().manual_seed(seed), False)
        row, cell = inputs.at // inputs.target.shape[1], inputs.at % inputs.target.shape[1]
        weights = inputs.weights / inputs.tokens * (cell < mask.sum(1)[row])  # not what fills a canvas
        of_lengths = torch.full((2,), 0.0 if inputs.lengths is None else 1.0 / float(inputs.tokens))
        draws.append(of_lengths.index_add(0, row, weights))
    every, tokens = torch.stack(draws), mask.sum(1)
    error = SIGMAS * every.std(0) / len(draws) ** 0.5
    for row, (weight, expected) in enumerate(zip(every.mean(0), tokens / tokens.sum(), strict=True)):
        message = (
            f"a target of {int(tokens[row])} tokens weighs {weight:.3f} in the loss of a batch of {tokens.sum()} tokens"
        )
        require(abs(weight - expected) <= error[row] + 1e-5, f"{message}, expected {expected:.3f}")


def _rows_draw_apart(kind: str, drawn: set[Columns]) -> None:
    """Requires rows to draw the positions of their loss independently in every draw; spans at an end may be nested."""
    what = f"every row of a batch has its loss at the same places of its {kind}"
    for summary, how in ((lambda columns: columns, ""), (len, ", or at as many")):
        patterns = {tuple(map(summary, pattern)) for pattern in drawn}
        alike = len(patterns) > 1 and all(first == second for first, second in patterns)
        require(not alike, f"{what}{how}: each has to draw by itself")
    ends = all(set(row) == set(range(min(row, default=0), max(row, default=-1) + 1)) for rows in drawn for row in rows)
    require(ends or not all(map(_is_nested, drawn)), f"{what}, or at some of them: each has to draw by itself")
    for row in zip(*drawn, strict=True):
        in_order = len(set(row)) > 1 and all(map(_is_nested, combinations(set(row), 2)))
        require(ends or not in_order, f"a row has its loss at places of its {kind} in the same order in every draw")


def _is_nested(pair: Columns) -> bool:
    first, second = map(set, pair)
    return first <= second or second <= first


def _source_tokens_count(drawn: set[Columns], length: int) -> None:
    """Requires all but one token of a source to be predicted in some draw, if any is."""
    for row in (0, 1):
        seen = {column for columns in drawn for column in columns[row] if column < length}
        message = f"{length - len(seen)} of {length} source tokens have no part in the loss, whatever is drawn"
        require(not drawn or len(seen) >= length - 1, message)


def _columns(inputs: LossInputs) -> dict[str, Columns]:
    """The positions with a loss in each row, of target and source."""
    sides = {"target": (inputs.at, inputs.target)}
    if inputs.source_at is not None:
        sides["source"] = (inputs.source_at, inputs.source)
    return {
        kind: tuple(tuple((at[at // tokens.shape[1] == row] % tokens.shape[1]).tolist()) for row in range(len(tokens)))
        for kind, (at, tokens) in sides.items()
    }


def changes_of_one_row(case: Subject, shaped: ShapedBatch, mode: Mode) -> Compared:
    """The change of the loss by other tokens in one row, beside some rows and beside others."""
    for rows, (s, t) in ((2, (4, 5)), (3, (0, 3)), (5, (3, case.limits.target_length))):
        first, second = (
            Batch(*(sequences(rows, n, seed=seed + n, limits=case.limits) for n in (s, t))) for seed in (0, 50)
        )
        for native, row in product((False, True), (0, rows - 1)):
            change, other = (
                _with_row(case, second, others, row, mode, native) - _with_row(case, first, others, row, mode, native)
                for others in (first, second)
            )
            changed = f"other tokens in row {row} of {rows} change the loss by {change.item():.6f}"
            yield f"{changed}, but with other rows by {other.item():.6f}", other[None], change[None]


def _with_row(case: Subject, rows: Batch, others: Batch, row: int, mode: Mode, native: bool) -> Tensor:
    """The loss of other rows beside one row of a batch."""
    is_row = (torch.arange(len(rows.target)) == row)[:, None]
    batch = Batch(*(torch.where(is_row, a, b) for a, b in zip(rows[:2], others[:2], strict=True)))
    return loss_of(case, batch, mode, native=native).detach()


def positions_read_in_training(case: Subject, shaped: ShapedBatch, mode: Mode) -> Compared:
    """The target positions of a row that training reads beside short rows and beside long ones."""
    short, reads, longest = sequences(1, 2, limits=case.limits), [], case.limits.target_length
    for length in (2, longest):
        target, mask = stacked([short, sequences(1, length, seed=1, limits=case.limits)])
        batch = Batch(sequences(2, 3, limits=case.limits), target, None, mask)
        inputs = case.model.objective.prepare(case.model, batch, torch.Generator().manual_seed(0), False)
        reads.append(mask_or_ones(inputs.target, inputs.target_mask)[0].sum())
    beside_short, beside_long = reads
    message = f"training reads {beside_short} positions of a target of 2 tokens beside one of 2"
    yield f"{message}, {beside_long} beside one of {longest}", beside_long, beside_short


def gradients_stay_in_place(case: Subject) -> str | None:
    """The loss of a token sends no gradient to later tokens, to padding or to another row.

    If a token's loss sends a gradient to other tokens, it can learn to use them: a gradient to the embeddings of later
    tokens teaches the model to look ahead. Such gradients must be exactly zero, in float32 and in bfloat16; look for a
    mask that is missing in training.
    """
    shapes = [(3, 6, 5)] + [(rows, max(36 // rows, 2), max(60 // rows, 2)) for rows in case.trials.rows if rows != 3]
    known = [gradients_are_confined(case, rows, s, t) for rows, s, t in shapes]
    return None if all(known) else "its token table is not ours"


def gradients_are_confined(case: Subject, rows: int, source: int, target: int) -> bool:
    """Requires gradients of single losses to reach visible tokens alone; False if no token table was seen."""
    limits = Limits(case.limits.vocabulary + rows * (source + target), source, max(target, case.limits.target_length))
    larger = subject(case.build, case.size, limits, trials=case.trials)
    for padding in (False, True):
        batch = unique_tokens(rows, source, target, padding)
        inputs = larger.model.objective.prepare(larger.model, batch, torch.Generator().manual_seed(0), True)
        for mode in (TRAINING, TRAINING_BFLOAT16):
            if not all(_confined(larger, single, mode) for single in _single_positions(inputs)):
                return False
    return True


def _single_positions(inputs: LossInputs) -> Iterator[LossInputs]:
    """Requests for the loss of single positions: the first, the last, and some in between, of target and source."""
    weight, nothing = torch.ones(1), torch.zeros(0, dtype=torch.long)
    for i in sorted({0, len(inputs.at) // 2, len(inputs.at) - 1}):
        yield inputs._replace(
            at=inputs.at[i : i + 1], labels=inputs.labels[i : i + 1], weights=weight, source_at=None, source_labels=None
        )
    if inputs.source_at is None or inputs.source_labels is None or not len(inputs.source_at):
        return
    for i in sorted({0, len(inputs.source_at) // 2, len(inputs.source_at) - 1}):
        yield inputs._replace(
            at=nothing,
            labels=nothing,
            weights=torch.zeros(0),
            source_at=inputs.source_at[i : i + 1],
            source_labels=inputs.source_labels[i : i + 1],
            source_weights=weight,
        )


def _confined(case: Subject, inputs: LossInputs, mode: Mode) -> bool:
    """Requires the gradient of one position's loss to reach only tokens visible there; False if no table was seen."""
    with token_gradients(case.model, case.limits.vocabulary) as reached, mode.of(case.model):
        loss = case.model.objective.loss(case.model, inputs, allowed(limits=case.limits))
    torch.autograd.backward(loss)
    case.model.zero_grad()
    gradients = reached()
    if gradients is None:
        return False
    from_source = inputs.source_at is not None and not len(inputs.at)
    at, width = (inputs.source_at, inputs.source.shape[1]) if from_source else (inputs.at, inputs.target.shape[1])
    assert at is not None
    row, column = divmod(int(at[0]), width)
    visible = _visible(case, inputs, row, column, from_source)
    kind = "source" if from_source else "target"
    for token, size in gradients.items():
        if size and token not in visible:
            where = _where(inputs, token)
            what = f"the loss at {kind} position {column} of row {row} sends a gradient to {where}{mode.note}"
            raise BrokenError(what)
    return True


def _visible(case: Subject, inputs: LossInputs, row: int, column: int, from_source: bool) -> set[int]:
    """The tokens that may be read at a position of a row."""
    real = [mask_or_ones(inputs.source, inputs.source_mask)[row], mask_or_ones(inputs.target, inputs.target_mask)[row]]
    source, target = inputs.source[row], inputs.target[row]
    if not case.causal:
        return {*source[real[0]].tolist(), *target[real[1]].tolist()}
    if from_source:
        return set(source[: column + 1][real[0][: column + 1]].tolist())
    return {*source[real[0]].tolist(), *target[: column + 1][real[1][: column + 1]].tolist()}


def _where(inputs: LossInputs, token: int) -> str:
    for kind, tokens, mask in (
        ("source", inputs.source, inputs.source_mask),
        ("target", inputs.target, inputs.target_mask),
    ):
        positions = (tokens == token).nonzero()
        if len(positions):
            row, column = positions[0].tolist()
            padding = "" if mask_or_ones(tokens, mask)[row, column] else ", which is padding"
            return f"{kind} token {column} of row {row}{padding}"
    return "a token that was not read"


def _nats(logits: Tensor, labels: Tensor, allowed_tokens: Tensor, smoothing: float) -> Tensor:
    """Negative log-likelihood of labels among ``allowed_tokens`` in float64, with smoothing over these."""
    scores = logits.double()[..., allowed_tokens].log_softmax(-1)
    index = allowed_tokens.long().cumsum(0) - 1
    label_nats = -scores.gather(-1, index[labels].clamp(min=0)[..., None]).squeeze(-1)
    return (1 - smoothing) * label_nats - smoothing * scores.mean(-1)
