"""One training step on either side: the same optimizer, precision, clipping and threads."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from archbench.architectures.objectives.objective import Batch, mean_loss
from archbench.runs.bench.shapes import BenchShape
from archbench.runs.experiment.sections import Training
from archbench.runs.training import optimizer
from archbench.runs.training.step import Trainer, TrainingStep, seed_from

TRAINING = Training(optimizer="adamw", learning_rate=1e-4)
PROGRESS = 0.5  # into the budget, of every step: one learning rate
CLOSE = {"float32": 1e-4, "bf16": 1e-2}  # nats, or part of a loss over 1: how far two may be apart

Inputs = Mapping[str, Tensor]


@dataclass(frozen=True)
class Where:
    """The device, and whether training multiplies in bfloat16 there."""

    device: str
    bf16: bool

    @property
    def precision(self) -> str:
        return "bf16" if self.bf16 else "float32"

    def autocast(self, enabled: bool) -> Any:
        return torch.autocast(self.device, torch.bfloat16, enabled=enabled)

    def settled(self) -> None:
        """Wait until the device has finished."""
        if self.device == "cuda":
            torch.cuda.synchronize()


def trainer(model: Any, where: Where, shape: BenchShape) -> Trainer:
    """Our training step around a model that is there; every token may be answered, the target alone is learnt."""
    training = TRAINING.model_copy(update={"batch_tokens": shape.batch_tokens})
    unread: Any = None  # the examples: batches come from outside
    allowed = every_token(shape.vocabulary, where.device)
    return Trainer(
        training_step=TrainingStep(model, model.objective, allowed),
        optimizer=optimizer.build(model, training, where.device),
        prepared=unread,
        training=training,
        native=False,
        seed=0,
        device=torch.device(where.device),
        bf16=where.bf16,
        train=unread,
        allowed_tokens=allowed,
    )


class TheirTrainer:
    """The same step for a model of ``transformers``, whose loss comes with its output."""

    def __init__(self, model: Any, where: Where) -> None:
        self.model, self.where = model.train(), where
        self.optimizer = optimizer.build(model, TRAINING, where.device)
        self.optimizer.set_schedule_factor(optimizer.schedule(PROGRESS, TRAINING.warmup))

    def step(self, inputs: Inputs, forward: Callable[..., Any] | None = None) -> Tensor:
        """Train on a batch -> its loss in nats; ``forward`` in the place of the model is it, compiled."""
        with self.where.autocast(self.where.bf16):
            loss: Tensor = (self.model if forward is None else forward)(**inputs).loss
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(self.optimizer.parameters, TRAINING.clip, foreach=True)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return loss.detach()


def every_token(vocabulary: int, device: str) -> Tensor:
    return torch.ones(vocabulary, dtype=torch.bool, device=device)


@torch.no_grad()
def our_loss(model: Any, batch: Batch, where: Where, bf16: bool) -> float:
    """Loss of the batch with the draws of step 0, in nats."""
    generator = torch.Generator().manual_seed(seed_from(0, 0, 1))
    moved = batch.to(where.device)
    allowed_tokens = every_token(len(model.embedding.weight), where.device)
    with where.autocast(bf16):
        return float(mean_loss(model.train(), moved, allowed_tokens, generator))


@torch.no_grad()
def their_loss(model: Any, inputs: Inputs, where: Where, bf16: bool) -> float:
    with where.autocast(bf16):
        return float(model.train()(**inputs).loss)


def tokens_read(model: Any, batch: Batch) -> Tensor:
    """What our encoder reads in step 0: source, BOS and canvas (b, s + 1 + c), [MASK] at cells that are hidden."""
    read: list[Tensor] = []
    hook = model.embedding.register_forward_pre_hook(lambda module, inputs: read.append(inputs[0]))
    allowed_tokens = every_token(len(model.embedding.weight), str(batch.target.device))
    try:
        with torch.no_grad():
            mean_loss(model, batch, allowed_tokens, torch.Generator().manual_seed(seed_from(0, 0, 1)))
    finally:
        hook.remove()
    return read[0]
