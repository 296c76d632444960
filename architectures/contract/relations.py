"""Logits that must be equal when the same batch is read in two ways, within a share of the largest logit."""

import torch
from torch import Tensor

from archbench.architectures.components.states import StateIndex
from archbench.architectures.contract.conditional import from_cache, from_passes
from archbench.architectures.contract.modes import EXACT, MODES, OTHERS
from archbench.architectures.contract.subject import Subject, equal, logits_of, padded, require, sequences
from archbench.architectures.objectives.objective import Batch

PADDING = 3
SLACK = 1e-3  # sharp attention makes rounding errors large
CELLS = 4  # of an encoder's canvas that are decoded: each costs two passes


def read_alike(case: Subject, batch: Batch, what: str) -> None:
    """Requires all ways to read a batch without padding to give the same logits."""
    expected = modes_alike(case, batch, what)
    rows_alike(case, batch, what)
    padding_is_unseen(case, batch, expected, what)
    if case.causal:
        starts_alike(case, batch, expected, what)
    decoded_alike(case, batch, what)


def modes_alike(case: Subject, batch: Batch, what: str) -> Tensor:
    """Requires training and scoring, and the states of the last tokens alone, to give equal logits (b, t, v)."""
    expected = logits_of(case, batch)
    require(bool(expected.isfinite().all()), f"some logits are not finite ({what})")
    for mode in OTHERS:
        near(logits_of(case, batch, mode), expected, f"logits {mode}, compared with those of scoring ({what})")
    rows, length = batch.target.shape
    last = StateIndex(None, torch.arange(1, rows + 1) * length - 1)
    selected = case.model.logits(case.model.hidden(*batch, last).target).detach().float()
    near(selected, expected[:, -1], f"logits of the last tokens alone, compared with those of all ({what})")
    return expected


def rows_alike(case: Subject, batch: Batch, what: str) -> None:
    """Requires each row to be read the same alone and, in bfloat16, beside other rows."""
    first, others = batch.split(len(batch.target)), torch.arange(len(batch.target)) > 0
    alone = next(iter(first))
    for mode in EXACT:
        actual, expected = (logits_of(case, each, mode)[:1] for each in (alone, batch))
        near(actual, expected, f"logits of a row alone{mode.note}, compared with those in a batch ({what})")
    for mode in MODES:
        actual, expected = (logits_of(case, each, mode)[:1] for each in (_changed(batch, others, 0, case), batch))
        near(actual, expected, f"logits of a row beside other rows{mode.note} ({what})")


def padding_is_unseen(case: Subject, batch: Batch, expected: Tensor, what: str) -> None:
    """Requires padding on either side of source and target not to change the logits at tokens."""
    for left, right in ((PADDING, 0), (0, PADDING)):
        source, source_mask = padded(batch.source, left, right, seed=3)
        target, target_mask = padded(batch.target, left, right, seed=4)
        actual = logits_of(case, Batch(source, target, source_mask, target_mask))
        actual = actual[:, left : left + batch.target.shape[1]]
        near(actual, expected, f"logits with padding {left}+{right}, compared with those without ({what})")


def starts_alike(case: Subject, batch: Batch, expected: Tensor, what: str) -> None:
    """Requires the first half of a target to be read the same whatever follows it, or nothing."""
    half = batch.target.shape[1] // 2
    every = torch.ones(len(batch.target), dtype=torch.bool)
    cut = batch._replace(target=batch.target[:, :half])
    near(logits_of(case, cut), expected[:, :half], f"logits of {half} tokens without those that follow ({what})")
    for mode in MODES:
        before, after = (logits_of(case, each, mode)[:, :half] for each in (batch, _changed(batch, every, half, case)))
        near(after, before, f"logits of {half} tokens, when later ones change{mode.note} ({what})")


def decoded_alike(case: Subject, batch: Batch, what: str) -> None:
    """Requires decoding token by token to give the logits of one pass."""
    target = batch.target if case.causal else batch.target[:, :CELLS]
    actual, expected = (read(case, batch.source, target).float() for read in (from_cache, from_passes))
    near(actual, expected, f"logits of decoding, compared with those of one pass ({what})")


def near(actual: Tensor, expected: Tensor, what: str) -> None:
    """Requires logits to agree within ``SLACK`` of the largest."""
    size = max(1.0, expected.abs().max().item())
    equal(actual / size, expected / size, what, tolerance=SLACK)


def _changed(batch: Batch, rows: Tensor, start: int, case: Subject) -> Batch:
    """Other tokens in these rows (b,) of the target from a position on; of the source as well from position 0."""
    source, target = (sequences(len(tokens), tokens.shape[1], 9, case.limits) for tokens in batch[:2])
    moved = rows[:, None] & (torch.arange(batch.target.shape[1]) >= start)
    kept = batch.source if start else torch.where(rows[:, None], source, batch.source)
    return Batch(kept, torch.where(moved, target, batch.target))
