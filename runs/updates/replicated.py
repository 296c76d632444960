"""Training where every rank has the whole model: one process, or data parallelism (DDP)."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from archbench.architectures.objectives.objective import LossInputs
from archbench.runs.updates import grad_accumulation, optimizer
from archbench.runs.updates.ranks import ALONE, Ranks


class Replicated:
    """Setup around a training step whose model is whole on every rank. `sharded.Sharded` has the same methods."""

    reads_checkpoints = True  # every rank does

    def __init__(self, step: Any, ranks: Ranks = ALONE) -> None:
        self.step, self.ranks = step, ranks

    def deal(self, parts: Sequence[LossInputs], tokens: float) -> Iterator[tuple[int, LossInputs, float]]:
        """The micro-batches that this rank reads, with their places in the batch and the divisor of their losses."""
        for place in self.ranks.share(range(len(parts))):
            yield place, parts[place], tokens

    def within_memory(self, accumulate: Callable[[int], Tensor], parts: int, most: int) -> Tensor:
        """The result of ``accumulate`` for so many parts, or for up to ``most`` if memory is short on any rank."""
        return grad_accumulation.retry_in_parts(accumulate, parts, most, lambda short: any(self.ranks.any(short)))

    def reduce(self, losses: Tensor, parameters: Sequence[nn.Parameter]) -> Tensor:
        """Add up the gradients of all ranks; returns the losses of all micro-batches (parts,)."""
        self.ranks.all_reduce_gradients(parameters)
        return self.ranks.all_reduce(losses)

    @contextmanager
    def evaluated(self) -> Iterator[Any]:
        """The model in evaluation mode."""
        yield self.step.model.eval()

    def whole(self, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Weights of the model as whole tensors."""
        return tensors

    def optimizer_state(self, trained: torch.optim.Optimizer) -> dict[str, Tensor]:
        """The optimizer's state as whole tensors."""
        return optimizer.state(trained)

    def load(self, weights: Mapping[str, Tensor], trained: torch.optim.Optimizer, state: Mapping[str, Tensor]) -> None:
        """Take weights and the optimizer's state; that first, because its step of 0 turns weights of -0.0 into 0.0."""
        optimizer.load(trained, state)
        self.step.model.load_state_dict(weights)

    def placed(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Whole weights of a checkpoint where the model's are."""
        return {name: tensor.to(self.step.allowed_tokens.device) for name, tensor in weights.items()}

    def finish(self, weights: Mapping[str, Tensor]) -> None:
        """Leave the model with these weights."""
        self.step.model.load_state_dict(weights)
