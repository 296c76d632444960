"""The check of recomputation: what is computed again for the backward pass is what was computed at first."""

from dataclasses import replace

import torch
from torch import Tensor
from torch.utils.checkpoint import CheckpointError

from archbench.architectures.components.stack import recompute_blocks
from archbench.architectures.contract.inputs.batches import Compared, ShapedBatch
from archbench.architectures.contract.modes import Mode
from archbench.architectures.contract.subject import BrokenError, Subject, loss_of, sequences, stacked, subject
from archbench.architectures.objectives.objective import Batch

RATES = (0.0, 0.3)  # of dropout


def recomputed(case: Subject, shaped: ShapedBatch, mode: Mode) -> Compared:
    """The loss and the gradients of a training step with `training.recompute` and without it, with dropout too."""
    for rate in RATES:
        size = replace(case.size, dropout=rate)
        plain, again = (subject(case.build, size, case.limits) for _ in range(2))
        if not recompute_blocks(again.model):
            return
        expected = _step(plain, mode)
        try:
            actual = _step(again, mode)
        except CheckpointError as error:
            what = f"with recomputation and dropout {rate}, {mode}, a layer computes other tensors the second time"
            raise BrokenError(what) from error
        for name, value in expected.items():
            yield (
                f"with recomputation and dropout {rate}, {name} differs from a step without it",
                actual.get(name, value.new_zeros(0)),
                value,
            )


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
