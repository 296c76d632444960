"""The check of recomputation: what is computed again for the backward pass is what was computed at first."""

from dataclasses import replace
from itertools import product

import torch
from torch import Tensor
from torch.utils.checkpoint import CheckpointError

from archbench.architectures.catalogue.shared_state import listed
from archbench.architectures.components.stack import recompute_blocks
from archbench.architectures.contract.modes import TRAINING, TRAINING_BFLOAT16, Mode
from archbench.architectures.contract.subject import BrokenError, Subject, loss_of, require, sequences, stacked, subject
from archbench.architectures.objectives.objective import Batch

RATES = (0.0, 0.3)  # of dropout


def recomputing_changes_nothing(case: Subject) -> str | None:
    """With `training.recompute` a training step has the same loss and the same gradients, with dropout too.

    The setting saves memory and is no part of a run's name. A block then runs twice, and the second time finds its
    inputs and `context` as they were before the first. Keep what one layer leaves to another in `context`, as in
    `context.masks`, not in attributes, closures or globals: they may hold other values when the block runs again.
    """
    for rate, mode in product(RATES, (TRAINING, TRAINING_BFLOAT16)):
        size = replace(case.size, dropout=rate)
        plain, recomputed = (subject(case.build, size, case.limits) for _ in range(2))
        if not recompute_blocks(recomputed.model):
            return "its layers are not in a `Stack`, and nothing else recomputes"
        where = f"with recomputation and dropout {rate}, {mode}"
        expected = _step(plain, mode)
        try:
            actual = _step(recomputed, mode)
        except CheckpointError as error:
            raise BrokenError(f"{where}, a layer computes other tensors the second time") from error
        differing = [name for name in expected if name not in actual or not torch.equal(expected[name], actual[name])]
        require(not differing, f"{where}, {listed(differing)} differs from a step without it")
    return None


def _step(case: Subject, mode: Mode) -> dict[str, Tensor]:
    """The loss and the gradients of a step on padded rows; the seed is always the same."""
    source, source_mask = stacked([sequences(1, n, seed=n, limits=case.limits) for n in (5, 3, 4)])
    target, target_mask = stacked([sequences(1, n, seed=n + 9, limits=case.limits) for n in (4, 6, 2)])
    case.model.train()  # still when a block runs again
    torch.manual_seed(0)
    loss = loss_of(case, Batch(source, target, source_mask, target_mask), mode, native=True)
    torch.autograd.backward(loss)
    gradients = {f"the gradient of {name}": p.grad for name, p in case.model.named_parameters()}
    return {"the loss": loss.detach(), **{name: grad for name, grad in gradients.items() if grad is not None}}
