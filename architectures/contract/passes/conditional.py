"""Logits of each target token given the tokens before it: from whole passes, and from a cache."""

import torch
from torch import Tensor
from torch.nn import functional as F

from archbench.architectures.contract.subject import Subject
from archbench.tasks.base.example import BOS, MASK


def shifted(target: Tensor) -> Tensor:
    """The inputs by which a causal model predicts ``target`` (b, t): BOS and all tokens but the last."""
    return torch.cat([torch.full_like(target[:, :1], BOS), target[:, :-1]], 1)


def from_passes(
    case: Subject, source: Tensor | None, target: Tensor, mask: Tensor | None = None, cells: Tensor | None = None
) -> Tensor:
    """Logits (b, t, v) from one pass of a causal model, or one for each cell of an encoder, with later ones masked.

    ``cells`` (b, t) are those of a canvas as long as the target; without them, it has the greatest length.
    """
    if case.causal:
        logits: Tensor = case.model(source, shifted(target), mask)
        return logits
    logits_of_cells, free = [], 0 if cells is not None else case.limits.target_length - target.shape[1]
    for cell in range(target.shape[1]):
        canvas = F.pad(target, (0, free))
        canvas[:, cell:] = MASK
        logits_of_cells.append(case.model(source, canvas, mask, cells)[:, cell])
    return torch.stack(logits_of_cells, 1)


def from_cache(
    case: Subject, source: Tensor | None, target: Tensor, mask: Tensor | None = None, step: int = 1
) -> Tensor:
    """Logits (b, t, v) of decoding ``step`` tokens at a time after the source was read."""
    cache, steps = case.model.prefill(source, mask), []
    for tokens in torch.split(shifted(target), step, 1):
        logits, cache = case.model.decode(tokens, cache)
        steps.append(logits.detach())
    return torch.cat(steps, 1)


def in_one_pass(case: Subject, source: Tensor | None, target: Tensor, mask: Tensor | None) -> Tensor:
    """Logits (b, t, v) of one pass over a target."""
    logits: Tensor = case.model(source, target, mask)
    return logits
