"""Checks of one forward pass: what each position sees, and what enters the model."""

import torch
from torch import Tensor

from archbench.architectures.contract.batches import NUMBERS, batches, examples
from archbench.architectures.contract.conditional import from_cache
from archbench.architectures.contract.inside import changed_memory, crossing, embedded, memory_lengths
from archbench.architectures.contract.modes import EXACT, MODES, TRAINING, TRAINING_BFLOAT16, Mode
from archbench.architectures.contract.subject import (
    LIMITS,
    Subject,
    allowed,
    equal,
    log_likelihood,
    logits_of,
    loss_of,
    padded,
    require,
    sequences,
    stacked,
)
from archbench.architectures.objectives.objective import Batch, mean_loss
from archbench.tasks.base.example import SPECIALS

INFLUENCE = 1e-6  # logits that move by less did not read a token


@torch.no_grad()
def no_look_ahead(case: Subject) -> None:
    """No prediction depends on later tokens: neither a causal model's logits nor a token's likelihood.

    A model that sees the token to predict has an excellent loss but generates nonsense. The mask ensures causality
    (`AttentionContext(causal=True)`). Look for a target that was not shifted, a window or a convolution that reaches to
    the right, or, in an encoder, a cell that is scored while its token is on the canvas. One row is tried at a time, in
    scoring, in training and in bfloat16.
    """
    if case.causal:
        longest = max(case.trials.lengths)
        roomy = case.with_room(longest, longest)
        for length in (6, *case.trials.lengths):
            for mode in MODES:
                _causal_in(roomy, sequences(1, 5), sequences(1, length, seed=1), mode)
        for length in case.trials.lengths:
            _causal_in_the_source(roomy, sequences(1, length, seed=2))
    source, allowed_tokens = sequences(1, 5), allowed(end=False, limits=case.limits)
    words = allowed_tokens.nonzero()
    for length in range(3):
        start = sequences(1, 6, seed=1)[:, :length]
        expected = (
            log_likelihood(case, Batch(source, start), allowed_tokens)
            if length
            else torch.zeros(1, dtype=torch.float64)
        )
        longer = [
            log_likelihood(case, Batch(source, torch.cat([start, word[None]], 1)), allowed_tokens) for word in words
        ]
        total = torch.cat(longer).logsumexp(0, keepdim=True)
        equal(total, expected, f"likelihood of the first {length} tokens, compared with that of all {length + 1}")


def _causal_in(case: Subject, source: Tensor, target: Tensor, mode: Mode) -> None:
    """Requires a change of the tokens from a position on to leave the logits before it unchanged."""
    before, length = logits_of(case, Batch(source, target), mode), target.shape[1]
    positions = range(1, length) if length < 10 else sorted({1, length // 3, length // 2, length - 2, length - 1})
    for position in positions:
        changed = target.clone()
        changed[:, position:] = sequences(1, length - position, seed=2 + position)
        actual = logits_of(case, Batch(source, changed), mode)[:, :position]
        equal(actual, before[:, :position], f"logits before position {position}, when later tokens change{mode.note}")


def _causal_in_the_source(case: Subject, source: Tensor) -> None:
    """Requires a source with a loss of its own to have states that depend on no later source token and no target."""
    target, length = sequences(1, 3, seed=3), source.shape[1]
    states = case.model.hidden(source, target).source
    if not case.model.source_predicts or states is None:
        return
    for position in sorted({1, length // 2, length - 1}):
        changed = torch.cat([source[:, :position], sequences(1, length - position, seed=4)], 1)
        actual = case.model.hidden(changed, sequences(1, 3, seed=5)).source[:, :position]
        expected = states[:, :position]
        equal(actual, expected, f"states before source position {position} of {length}, when later tokens change")


@torch.no_grad()
def cross_attention_reads_the_source(case: Subject) -> str | None:
    """In cross-attention every target position reads every source token of its row, and no padding or other row.

    Cross-attention uses the source's mask, not the target's: it is not causal, and `present` is False at the source's
    padding (`CrossAttentionCache(..., AttentionContext(..., present=...))`).
    """
    if not crossing(case.model):
        two = case.model.family == "encoder-decoder"
        return "its blocks are not the shared ones" if two else "it has no cross-attention"
    source, target = sequences(2, 4), sequences(2, 5, seed=1)
    mask = torch.tensor([[True] * 4, [True, True, True, False]])
    if memory_lengths(case.model, lambda: _once(case, source, target, mask)) - {source.shape[1]}:
        return "its memory is longer or shorter than its source"
    for what, logits in (("in one pass", _once), ("from a cache", from_cache)):
        before = logits(case, source, target, mask)
        for row, key in ((0, 0), (0, 3), (1, 2), (1, 3)):
            with changed_memory(case.model, row, key):
                moved = (logits(case, source, target, mask) - before).abs().amax(-1) > INFLUENCE
            require(not moved[1 - row].any(), f"{what}, row {1 - row} reads the source of row {row}")
            if mask[row, key]:
                deaf = (~moved[row]).nonzero().flatten().tolist()
                require(not deaf, f"{what}, target positions {deaf} do not read source token {key} of their row")
            else:
                require(not moved[row].any(), f"{what}, cross-attention reads padding of the source")
    return None


@torch.no_grad()
def padding_is_invisible(case: Subject) -> None:
    """Padding on either side of source or target does not change the logits at tokens, whatever its content.

    Otherwise a score depends on the other texts in the batch. Padding has no visible keys
    (`AttentionContext.present`) and does not count as a position (`count_positions`). Rows are tried one at a time, in
    scoring and in training.
    """
    source, target = sequences(1, 4), sequences(1, 5, seed=1)
    expected = case.model(source, target)
    cached = from_cache(case, source, target)
    for left, right in ((0, 2), (2, 0), (1, 1)):
        wide, wide_mask = padded(source, left, right, seed=3)
        equal(case.model(wide, target, wide_mask), expected, f"logits with source padding {left}+{right}")
        actual = from_cache(case, wide, target, wide_mask)
        equal(actual, cached, f"logits from a cache with source padding {left}+{right}")
        tall, tall_mask = padded(target, left, right, seed=4)
        actual = case.model(source, tall, None, tall_mask)[:, left : left + target.shape[1]]
        equal(actual, expected, f"logits with target padding {left}+{right}")
        actual = case.model(wide, tall, wide_mask.long(), tall_mask.long())[:, left : left + target.shape[1]]
        equal(actual, expected, f"logits with padding {left}+{right} of both")
    _padded_rows(case)
    _padded_examples(case)


def _padded_rows(case: Subject) -> None:
    """Requires a row of a batch, alone with its padding, to give the same logits as without it."""
    longest = max(NUMBERS.values())
    roomy = case.with_room(longest + 3, longest + 3)
    for shaped in batches(case.trials, roomy.limits, left_out=("plain",)):
        for row in shaped.with_source():
            where = f"of row {row} of a batch ({shaped.name}), read alone with its padding and without"
            for mode in EXACT:
                actual = shaped.real(logits_of(roomy, shaped.row(row), mode), row)
                expected = logits_of(roomy, shaped.stripped(row), mode)[0]
                equal(actual[None], expected[None], f"logits{mode.note} {where}")
        actual, expected = (
            logits_of(roomy, batch, TRAINING_BFLOAT16) for batch in (shaped.batch, shaped.other_padding(seed=5))
        )
        for row in shaped.with_source():
            what = f"logits of row {row} of a batch ({shaped.name}) with other padding{TRAINING_BFLOAT16.note}"
            equal(shaped.real(actual, row)[None], shaped.real(expected, row)[None], what)


def _padded_examples(case: Subject) -> None:
    """Requires equal likelihoods with and without padding, and losses that do not depend on the padding's tokens."""
    allowed_tokens, limits = allowed(limits=case.limits), case.limits
    for shaped in examples(case.trials, limits):
        for row in shaped.with_source():
            actual, expected = (
                log_likelihood(case, batch, allowed_tokens) for batch in (shaped.row(row), shaped.stripped(row))
            )
            equal(actual, expected, f"likelihood of row {row} of a batch ({shaped.name}) with its padding and without")
        for native in (False, True):
            actual, expected = (
                loss_of(case, batch, TRAINING, native=native).detach()
                for batch in (shaped.batch, shaped.other_padding(seed=5))
            )
            equal(actual[None], expected[None], f"training loss of a batch ({shaped.name}) with other padding")


@torch.no_grad()
def an_empty_source_is_none(case: Subject) -> None:
    """No source, a source without tokens and a source of only padding are equivalent.

    Unconditional generation has an empty source, alone or in a batch with others. A softmax over no keys gives NaN: a
    decoder then reads nothing before BOS, and an encoder reads a single BOS.
    """
    target, noise = sequences(2, 4, seed=1), sequences(2, 3, seed=2)
    nothing = torch.zeros_like(noise, dtype=torch.bool)
    for what, logits in (("in one pass", _once), ("from a cache", from_cache)):
        expected = logits(case, None, target, None)
        equal(logits(case, noise[:, :0], target, None), expected, f"{what}, logits of a source of no tokens")
        equal(logits(case, noise, target, nothing), expected, f"{what}, logits of a source of padding")
    longest = max(NUMBERS.values())
    roomy = case.with_room(longest + 3, longest + 3)
    for shaped in batches(case.trials, roomy.limits, left_out=("plain",)):
        for row in shaped.without_source():
            for mode in EXACT:
                actual = shaped.real(logits_of(roomy, shaped.row(row), mode), row)
                alone = logits_of(roomy, shaped.stripped(row), mode)[0]
                equal(actual[None], alone[None], f"logits{mode.note} of a row without a source ({shaped.name})")


@torch.no_grad()
def rows_are_apart(case: Subject) -> None:
    """A row's logits and likelihood are the same alone and in a batch, with the same padding.

    Scores must not depend on the batch size. Look for statistics over the batch (BatchNorm), one row's mask used for
    all rows, or a `view` that mixes rows with positions. Batches of up to 33 rows are tried, in scoring and in
    training.
    """
    longest = max(NUMBERS.values())
    roomy = case.with_room(longest + 3, longest + 3)
    for shaped in batches(case.trials, roomy.limits):
        for mode in EXACT:
            logits = logits_of(roomy, shaped.batch, mode)
            for row in shaped.some():
                what = f"logits of row {row} of a batch: {shaped.name}{mode.note}"
                alone = shaped.real(logits_of(roomy, shaped.row(row), mode), row)
                equal(shaped.real(logits, row)[None], alone[None], what)
        for row in shaped.some(2):
            logits, other = (
                logits_of(roomy, batch, TRAINING_BFLOAT16) for batch in (shaped.batch, shaped.other_rows(row, seed=5))
            )
            what = f"logits of row {row} of a batch with other rows: {shaped.name}{TRAINING_BFLOAT16.note}"
            equal(shaped.real(other, row)[None], shaped.real(logits, row)[None], what)
    for shaped in examples(case.trials, case.limits):
        scores = log_likelihood(case, shaped.batch, allowed(limits=case.limits))
        for row in shaped.some():
            alone = log_likelihood(case, shaped.row(row), allowed(limits=case.limits))
            equal(scores[row : row + 1], alone, f"likelihood of row {row} of a batch: {shaped.name}")


@torch.no_grad()
def source_matters(case: Subject) -> None:
    """Changing any token of the source changes the logits.

    If part or all of the source is ignored, classification and translation are guesses. Look for a mask that hides
    it, or a window too small for the depth.
    """
    source, target = sequences(1, 4), sequences(1, 4, seed=1)
    before = case.model(source, target)
    for position in range(source.shape[1]):
        difference = (case.model(_other(source, position), target) - before).abs().max().item()
        require(difference > INFLUENCE, f"source token {position} has no influence on the logits")


@torch.no_grad()
def target_matters(case: Subject) -> None:
    """The next token's prediction depends on the token just generated and on the one before it.

    A model that does not read its own output repeats itself. Look for a target that was shifted twice (the objective
    puts BOS in front), or a causal mask that hides earlier tokens.
    """
    source, target = sequences(1, 3), sequences(1, 4, seed=1)
    if not case.causal:
        target[:, -1] = sequences(1, 1, seed=2)[:, 0]
    before = case.model(source, target)
    for position in range(target.shape[1] - 1):
        difference = (case.model(source, _other(target, position)) - before).abs().amax(-1)[0]
        for output_position in (position, position + 1):
            require(
                difference[output_position].item() > INFLUENCE,
                f"logits {output_position} do not depend on target token {position}",
            )


@torch.no_grad()
def inputs_are_only_read(case: Subject) -> None:
    """A pass leaves tokens and masks unchanged, and accepts them when they are not contiguous in memory.

    A batch is used again, for the next epoch or the next score. On inputs, use `x = x + y`, not `x += y`, and `reshape`
    or `flatten` in place of `view`.
    """
    source, source_mask = stacked([sequences(1, 4), sequences(1, 3)])
    target, target_mask = stacked([sequences(1, 3, seed=1), sequences(1, 5, seed=1)])
    inputs = (source, target, source_mask, target_mask)
    copies = [x.clone() for x in inputs]
    expected = case.model(*inputs)
    mean_loss(case.model, Batch(*inputs), allowed(), torch.Generator().manual_seed(0))
    log_likelihood(case, Batch(*inputs), allowed())
    names = ("source", "target", "source mask", "target mask")
    for name, tensor, copy in zip(names, inputs, copies, strict=True):
        require(bool(torch.equal(tensor, copy)), f"the {name} has changed")
    equal(case.model(*(x.t().contiguous().t() for x in inputs)), expected, "logits of inputs that are not contiguous")


@torch.no_grad()
def embedding_enters_once(case: Subject) -> str | None:
    """The first block reads each token's row of the table, with scale, segment, positions and norm each applied once.

    Scale, segments, norm and positions belong to `Embedding`; a family or variant that applies one of them again trains
    a model other than its name says.
    """
    source, target, read = sequences(2, 4), sequences(2, 5, seed=1), False
    for what, logits in (("in one pass", _once), ("from a cache", from_cache)):
        for expected, actual in embedded(case.model, lambda run=logits: run(case, source, target, None)):  # type: ignore[misc]
            equal(
                actual, expected, f"{what}, input of the first block, compared with the embedding made from its parts"
            )
            read = True
    return None if read else "its blocks are not the shared ones"


def _once(case: Subject, source: Tensor | None, target: Tensor, mask: Tensor | None) -> Tensor:
    logits: Tensor = case.model(source, target, mask)
    return logits


def _other(tokens: Tensor, position: int) -> Tensor:
    """Tokens with another text token at ``position``."""
    changed = tokens.clone()
    texts = LIMITS.vocabulary - len(SPECIALS)
    changed[:, position] = (changed[:, position] - len(SPECIALS) + 1) % texts + len(SPECIALS)
    return changed
