"""One step of training: the same for every family, task and optimizer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from architectures.objectives import Pairs
from architectures.size import Limits, Size
from runs import optimizer
from runs.batches import Batch, Stream
from runs.optimizer import Optimizer
from runs.sections import Training
from tasks.values import Prepared


@dataclass
class Stepper:
    """A model on its device with its optimizer and its examples."""

    model: Any
    optimizer: Optimizer
    prepared: Prepared
    training: Training
    native: bool
    seed: int
    device: torch.device
    bf16: bool
    answers: Tensor

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

    def stream(self, tokens: int) -> Stream:
        """The training batches: an order that depends on the seed and nothing else of the model."""
        return Stream(self.prepared.train, self.training.batch_tokens, self.seed, tokens)

    def step(self, batch: Batch, number: int, progress: float) -> Tensor:
        """Train on a batch as step ``number``, ``progress`` (0 to 1) into the budget -> its loss in nats.

        All that is random in a step is a function of (seed, number), so that a resumed run goes on exactly. Where the
        loss or a gradient is not finite, the loss that is returned is not finite, and the weights are of no more use.
        """
        torch.manual_seed(mixed(self.seed, number))
        generator = torch.Generator().manual_seed(mixed(self.seed, number, 1))
        self.model.train()
        self.optimizer.set_learning_rate(optimizer.schedule(progress, self.training.warmup))
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            loss: Tensor = self.model.objective.loss(
                self.model,
                pairs(batch.to(self.device, non_blocking=True)),
                self.answers,
                generator,
                self.native,
                self.training.label_smoothing,
            )
        torch.autograd.backward(loss)
        limit = self.training.clip or float("inf")
        norm = torch.nn.utils.clip_grad_norm_(self.optimizer.parameters, limit, foreach=True)
        loss = loss.detach() + 0.0 * norm  # a gradient that is not finite shows in the loss
        self.optimizer.step()
        self.optimizer.zero_grad()
        return loss


def pairs(batch: Batch) -> Pairs:
    """The tensors of a batch, as objectives take them."""
    return Pairs(batch.source, batch.target, batch.source_mask, batch.target_mask)


def mixed(*numbers: int) -> int:
    """A seed of 63 bits that is a function of several numbers."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0]) >> 1
