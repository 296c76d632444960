"""One step of training: the same for every family, task and optimizer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from archbench.architectures.families.size import Limits, Size
from archbench.architectures.objectives.objective import Pairs, Sent
from archbench.runs.experiment.sections import Training
from archbench.runs.training import grad_accumulation, optimizer
from archbench.runs.training.batches import Batch, Stream
from archbench.runs.training.optimizer import Optimizer
from archbench.tasks.base.values import Prepared

READ_STEPS = {"cpu": 1, "cuda": 16}  # steps after which losses are read: to read one waits for the device


class Stepped(NamedTuple):
    """The loss of a batch in nats, and the norm of its gradient before it was clipped; both on the device."""

    loss: Tensor
    norm: Tensor


@dataclass
class Stepper:
    """A model on its device with its optimizer and its examples; ``parts`` micro-batches make a batch."""

    model: Any
    optimizer: Optimizer
    prepared: Prepared
    training: Training
    native: bool
    seed: int
    device: torch.device
    bf16: bool
    answers: Tensor
    parts: int = 1

    @classmethod
    def build(
        cls,
        build: Callable[[Size, Limits], Any],
        size: Size,
        limits: Limits,
        prepared: Prepared,
        training: Training,
        native: bool,
        seed: int,
        device: str,
        precision: str,
    ) -> Stepper:
        """A new model, initialised from ``seed`` alone."""
        torch.manual_seed(seed)
        model = build(size, limits).to(device)
        return cls(
            model,
            optimizer.build(model, training, device),
            prepared,
            training,
            native,
            seed,
            torch.device(device),
            precision == "bf16",
            torch.from_numpy(np.asarray(prepared.answers)).to(device),
        )

    def ready(self, batch: Batch) -> Batch:
        """A batch as ``step`` takes it, made ready ahead of it: pinned for a GPU."""
        return batch.pinned() if self.device.type == "cuda" else batch

    def stream(self, tokens: int) -> Stream:
        """The training batches: an order that depends on the seed and nothing else of the model."""
        return Stream(self.prepared.train, self.training.batch_tokens, self.seed, tokens)

    def split(self, parts: int) -> None:
        """From now on a batch is read in ``parts`` micro-batches."""
        self.parts = parts
        grad_accumulation.split(self.model, parts)

    def step(self, batch: Batch, number: int, progress: float) -> Stepped:
        """Train on a batch as step ``number``, ``progress`` (0 to 1) into the budget.

        All that is random in a step is a function of (seed, number), so that a resumed run goes on exactly. Where the
        loss or the norm is not finite, the weights are of no more use. Where memory does not suffice, micro-batches are
        halved and the step begins again; raises what PyTorch raises where a single row does not fit.
        """
        if not self.model.training:
            self.model.train()
        rate = optimizer.schedule(progress, self.training.warmup)
        moved = Sent.of(pairs(batch.to(self.device, non_blocking=True)), (batch.source_mask, batch.target_mask))
        stepped = self._tried(moved, number, rate)
        while stepped is None:
            self.optimizer.zero_grad()
            grad_accumulation.release()
            self.split(2 * self.parts)
            stepped = self._tried(moved, number, rate)
        return stepped

    def _tried(self, batch: Pairs, number: int, rate: float) -> Stepped | None:
        """The step on a batch; None where memory does not suffice for the gradient of its micro-batches."""
        try:
            loss = self._gradient(batch, number)
        except (RuntimeError, MemoryError) as error:
            if self.parts >= len(batch.target) or not grad_accumulation.is_out_of_memory(error):
                raise
            return None
        return Stepped(loss, self._update(rate))

    def _gradient(self, batch: Pairs, number: int) -> Tensor:
        """Loss of a batch, and its gradient in the parameters."""
        self._seed(number)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            loss: Tensor = self.model.objective.loss(
                self.model, batch, self.answers, self._drawn(number), self.native, self.training.label_smoothing
            )
        torch.autograd.backward(loss)
        return loss.detach()

    def _update(self, rate: float) -> Tensor:
        """Change the weights by their gradient, at ``rate`` times the recipe's; return its norm."""
        self.optimizer.set_learning_rate(rate)
        limit = self.training.clip or float("inf")
        norm = torch.nn.utils.clip_grad_norm_(self.optimizer.parameters, limit, foreach=True)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return norm

    def _drawn(self, number: int) -> torch.Generator:
        """What an objective draws from in step ``number``."""
        return torch.Generator().manual_seed(mixed(self.seed, number, 1))

    def _seed(self, number: int) -> None:
        """Seed what dropout of step ``number`` draws from; `torch.manual_seed` takes 0.6 ms for all devices."""
        seed = mixed(self.seed, number)
        torch.default_generator.manual_seed(seed)
        if self.device.type == "cuda":
            torch.cuda.manual_seed(seed)


def pairs(batch: Batch) -> Pairs:
    """The tensors of a batch, as objectives take them."""
    return Pairs(batch.source, batch.target, batch.source_mask, batch.target_mask)


def mixed(*numbers: int) -> int:
    """A seed of 63 bits that is a function of several numbers."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0]) >> 1
