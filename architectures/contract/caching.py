"""Checks of step-by-step decoding: prefill, decode and the cache between them."""

import torch
from torch import Tensor
from torch.nn import functional as F

from archbench.architectures.contract.batches import NUMBERS, ShapedBatch, batches
from archbench.architectures.contract.conditional import from_cache, from_passes, shifted
from archbench.architectures.contract.subject import LIMITS, Subject, equal, sequences, stacked
from archbench.tasks.base.example import BOS, MASK

CELLS = 70  # of an encoder's canvas at most: each costs a pass
FEW = 5  # cells of a canvas where many batches are tried
PIECES = (1, 1, 3, 1, 1)  # tokens that are decoded at a time; then half of the rest, and the rest


@torch.no_grad()
def caches_are_values(case: Subject) -> None:
    """Decoding and reading another source leave a cache unchanged, and rows of a cache are independent.

    Beam search and sampling decode from one cache many times and select rows of it. `decode` must return a new cache
    and leave the old one unchanged. `cache.rows(index)` must select from everything in the cache: keys and values,
    the mask, positions, lengths, and the memory of cross-attention.
    """
    rows = [sequences(1, 4), sequences(1, 2, seed=1), sequences(1, 3, seed=2)]
    source, mask = stacked(rows)
    start, tokens = torch.full((3, 1), BOS), sequences(3, 1, seed=3)
    _, cache = case.model.decode(start, case.model.prefill(source, mask))
    _, cache = case.model.decode(sequences(3, 1, seed=5), cache)
    first, longer = case.model.decode(tokens, cache)
    onward, _ = case.model.decode(tokens, longer)
    others = sequences(3, 1, seed=4)
    branch, branched = case.model.decode(others, cache)
    branch_onward, _ = case.model.decode(tokens, branched)
    later, _ = case.model.decode(tokens, longer)
    again, _ = case.model.decode(tokens, cache)
    equal(again, first, "decoding from the same cache again")
    equal(later, onward, "decoding on after others wrote from the same cache")
    _, new = case.model.decode(start, case.model.prefill(source, mask))
    _, new = case.model.decode(sequences(3, 1, seed=5), new)
    expected, new = case.model.decode(others, new)
    equal(branch, expected, "decoding other tokens from a cache that was used, compared with those from a new cache")
    expected, _ = case.model.decode(tokens, new)
    equal(
        branch_onward, expected, "continuing from a second continuation of a cache, compared with that of a new cache"
    )
    read, other_source = case.model.prefill(source, mask), sequences(len(source), source.shape[1], seed=6)
    expected, _ = case.model.decode(start, read)
    read = case.model.prefill(source, mask)
    case.model.decode(start, case.model.prefill(other_source, mask))
    again, _ = case.model.decode(start, read)
    equal(again, expected, "decoding from a cache after another source was read")
    order = torch.tensor([2, 0])
    selected, _ = case.model.decode(tokens[order], cache.rows(order))
    equal(selected, first[order], "decoding from selected rows of a cache")
    for row, alone in enumerate(rows):
        _, alone_cache = case.model.decode(start[:1], case.model.prefill(alone))
        _, alone_cache = case.model.decode(sequences(3, 1, seed=5)[row : row + 1], alone_cache)
        actual, _ = case.model.decode(tokens[row : row + 1], alone_cache)
        equal(first[row : row + 1], actual, f"decoding row {row} in a batch, compared with alone")


@torch.no_grad()
def forward_is_prefill_and_decode(case: Subject) -> None:
    """One pass over everything equals reading the sources and decoding one or several tokens at a time.

    `forward` trains a model; `prefill` and `decode` generate with it. Where they differ, the model that generates is
    not the model that was trained. The usual causes: positions that do not continue where each row's source ended (they
    count its tokens, not padding and not the width of the batch), a mask that treats cached keys differently, and a
    state that `cache.rows` does not select. Batches of up to 33 rows are tried, with padding on every side.
    """
    source, mask = stacked([sequences(1, n, seed, case.limits) for seed, n in enumerate((5, 3, 0))])
    target = sequences(3, LIMITS.target_length, seed=2, limits=case.limits)
    expected = from_passes(case, source, target, mask)
    for step, gradients in ((1, False), (2, False), (1, True)):
        with torch.set_grad_enabled(gradients):
            actual = from_cache(case, source, target, mask, step)
        words = " with gradients" if gradients else ""
        equal(actual, expected, f"logits of decoding {step} at a time{words}, compared with those of one pass")
    longest = max(NUMBERS.values())
    roomy = case.with_room(longest + 3, longest + 3 if case.causal else FEW)
    for shaped in batches(case.trials, roomy.limits):
        _is_decoded(roomy, shaped)


def _is_decoded(case: Subject, shaped: ShapedBatch) -> None:
    """Requires decoding in pieces to give the logits of one pass; after two, rows are reversed and one is dropped."""
    source, target, mask, _ = shaped.batch  # padding of the target is decoded like any text
    rows, steps = torch.arange(len(target)), []
    expected, inputs = from_passes(case, source, target, mask), shifted(target)
    cache = case.model.prefill(source, mask)
    for piece, tokens in enumerate(_pieces(inputs)):
        logits, cache = case.model.decode(tokens[rows], cache)
        steps.append(logits)
        if piece == 1:
            order = rows.flip(0)[: max(1, len(rows) - 1)]
            rows, cache, steps = order, cache.rows(order), [logits[order] for logits in steps]
    what = f"logits of decoding a batch ({shaped.name}), compared with those of one pass"
    equal(torch.cat(steps, 1), expected[rows], what)


def _pieces(tokens: Tensor) -> list[Tensor]:
    rest = tokens.shape[1] - sum(PIECES)
    sizes = [*PIECES, rest // 2, rest - rest // 2] if rest > 0 else [1] * tokens.shape[1]
    return [piece for piece in torch.split(tokens, sizes, 1) if piece.shape[1]]


@torch.no_grad()
def caches_last(case: Subject) -> None:
    """A cache stays correct over many steps while its rows are repeated, reordered and dropped as in beam search.

    Three faults appear only after several steps: memory allocated for a fixed number of tokens, rows moved in only some
    tensors, and masks kept from the first batch. The logits are compared with those of one pass over all generated
    tokens.
    """
    steps = case.trials.decoded if case.causal else min(case.trials.decoded, CELLS)
    long = case.with_room(6, steps + 1)
    source, mask = stacked([sequences(1, 4, seed=1), sequences(1, 6, seed=2), sequences(1, 1, seed=3)])
    draw = torch.Generator().manual_seed(0)
    rows = torch.tensor([0, 0, 1, 1, 1, 2])
    tokens = torch.full((len(rows), 1), BOS)
    cache = long.model.prefill(source, mask).rows(rows)
    history = tokens[:, :0]
    for step in range(steps):
        logits, cache = long.model.decode(tokens, cache)
        if step < 4 or step % 8 == 0 or step >= steps - 2:
            expected = _next(long, source[rows], mask[rows], history)
            equal(logits[:, -1], expected, f"logits of step {step} from a cache whose rows were reordered")
        order = torch.randint(len(rows), (int(torch.randint(2, 8, (1,), generator=draw)),), generator=draw)
        rows, cache = rows[order], cache.rows(order)
        tokens = sequences(len(rows), 1, seed=100 + step)
        history = torch.cat([history[order], tokens], 1)


def _next(case: Subject, source: Tensor, mask: Tensor, history: Tensor) -> Tensor:
    """Logits (b, v) of the token after ``history`` (b, n), from one pass."""
    if case.causal:
        start = torch.full_like(source[:, :1], BOS)
        last: Tensor = case.model(source, torch.cat([start, history], 1), mask)[:, -1]
        return last
    canvas = F.pad(history, (0, case.limits.target_length - history.shape[1]), value=MASK)
    cell: Tensor = case.model(source, canvas, mask)[:, history.shape[1]]
    return cell
