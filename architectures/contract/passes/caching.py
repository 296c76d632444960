"""Readings from caches that must agree with those from new caches and from one pass."""

import torch
from torch import Tensor
from torch.nn import functional as F

from archbench.architectures.contract.inputs.batches import Compared, ShapedBatch
from archbench.architectures.contract.modes import Mode
from archbench.architectures.contract.subject import Subject, sequences, stacked
from archbench.tasks.base.example import BOS, MASK

CELLS = 70  # of an encoder's canvas at most: each costs a pass


def from_a_used_cache(case: Subject, shaped: ShapedBatch, mode: Mode) -> Compared:
    """Logits (b, 1, v) decoded from a cache that was used, from its rows, and from new caches."""
    source, mask = shaped.batch.source, shaped.batch.source_mask
    rows = len(source)
    start = torch.full((rows, 1), BOS)
    opening, tokens, others = (sequences(rows, 1, seed, case.limits) for seed in (5, 3, 4))
    decode, prefill = case.model.decode, case.model.prefill

    def opened() -> object:
        return decode(opening, decode(start, prefill(source, mask))[1])[1]

    cache = opened()
    first, longer = decode(tokens, cache)
    onward, _ = decode(tokens, longer)
    branch, branched = decode(others, cache)
    branch_onward, _ = decode(tokens, branched)
    yield "decoding on after others wrote from the same cache", decode(tokens, longer)[0], onward
    yield "decoding from the same cache again", decode(tokens, cache)[0], first
    expected, new = decode(others, opened())
    yield "decoding other tokens from a cache that was used, compared with those from a new cache", branch, expected
    expected, _ = decode(tokens, new)
    yield "continuing from a second continuation of a cache, compared with a new cache", branch_onward, expected
    expected, _ = decode(start, prefill(source, mask))
    read = prefill(source, mask)
    decode(start, prefill(sequences(len(source), source.shape[1], 6, case.limits), mask))
    yield "decoding from a cache after another source was read", decode(start, read)[0], expected
    order = torch.tensor([rows - 1, 0])
    yield "decoding from selected rows of a cache", decode(tokens[order], cache.rows(order))[0], first[order]  # type: ignore[attr-defined]
    for row in range(rows):
        one = slice(row, row + 1)
        _, alone = decode(start[one], prefill(shaped.stripped(row).source))
        alone_logits, _ = decode(tokens[one], decode(opening[one], alone)[1])
        yield f"decoding row {row} in a batch, compared with alone", first[one], alone_logits


def from_reordered_rows(case: Subject, shaped: ShapedBatch, mode: Mode) -> Compared:
    """Logits (b, v) of many steps, while rows of the cache are repeated, reordered and dropped, and those of passes."""
    steps = case.trials.decoded if case.causal else min(case.trials.decoded, CELLS)
    long = case.with_room(6, steps + 1)
    source, mask = stacked([sequences(1, n, seed, case.limits) for seed, n in ((1, 4), (2, 6), (3, 1))])
    draw = torch.Generator().manual_seed(0)
    rows = torch.tensor([0, 0, 1, 1, 1, 2])
    tokens = torch.full((len(rows), 1), BOS)
    cache, history = long.model.prefill(source, mask).rows(rows), tokens[:, :0]
    for step in range(steps):
        logits, cache = long.model.decode(tokens, cache)
        if step < 4 or step % 8 == 0 or step >= steps - 2:
            expected = _next(long, source[rows], mask[rows], history)
            yield f"logits of step {step} from a cache whose rows were reordered", logits[:, -1], expected
        order = torch.randint(len(rows), (int(torch.randint(2, 8, (1,), generator=draw)),), generator=draw)
        rows, cache = rows[order], cache.rows(order)
        tokens = sequences(len(rows), 1, seed=100 + step, limits=case.limits)
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
