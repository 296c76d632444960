"""One step of training: the same for every family, task and optimizer."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from archbench.architectures.families.size import Limits, Size
from archbench.architectures.objectives.objective import Batch, LossInputs, Objective
from archbench.runs.experiment.sections import FINETUNE, Training
from archbench.runs.training import grad_accumulation, optimizer
from archbench.runs.training.batches import EncodedExamples, Stream
from archbench.runs.training.optimizer import Optimizer
from archbench.runs.training.pretraining_objectives import (
    ObjectiveShares,
    pretraining_objective,
    pretraining_windows,
)
from archbench.runs.training.ranks import ALONE, Ranks
from archbench.runs.training.sharded import ShardedModel, gathered
from archbench.runs.training.weight_transfer import PretrainedWeights, copy_weights, with_head
from archbench.tasks.base.values import Prepared

READ_STEPS = {"cpu": 1, "cuda": 16}  # steps between reads of the losses, because reading one waits for the GPU


class TrainingStep(nn.Module):
    """A model and its objective as one module; its call is the forward pass of a training step.

        loss_sum, tokens = step(inputs)
        (loss_sum / tokens).backward()

    This is the module that ``torch.compile``, DDP and FSDP wrap. ``allowed_tokens`` (v,) are those that a target may
    use, ``smoothing`` is that of labels (1512.00567).
    """

    allowed_tokens: Tensor

    def __init__(self, model: nn.Module, objective: Objective, allowed_tokens: Tensor, smoothing: float = 0.0) -> None:
        super().__init__()
        self.model, self.objective, self.smoothing = model, objective, smoothing
        self.register_buffer("allowed_tokens", allowed_tokens, persistent=False)

    def forward(self, inputs: LossInputs) -> tuple[Tensor, int]:
        """The sum of the losses in nats (), and the number of target tokens that it is divided by."""
        return self.objective.loss(self.model, inputs, self.allowed_tokens, self.smoothing), inputs.tokens


class StepResult(NamedTuple):
    """The loss of a batch in nats, and the norm of its gradient before clipping; both on the device."""

    loss: Tensor
    norm: Tensor


@dataclass
class Trainer:
    """A model on its device with its optimizer and its examples; a batch is read in ``parts``, dealt to ``ranks``.

    ``train`` are the examples as the model reads them, which a pretraining rearranges. ``allowed_tokens`` (v,) are
    those that answers may use.
    """

    training_step: TrainingStep
    optimizer: Optimizer
    prepared: Prepared
    training: Training
    native: bool
    seed: int
    device: torch.device
    bf16: bool
    train: EncodedExamples
    allowed_tokens: Tensor
    ranks: Ranks = ALONE
    parts: int = 1
    sharded: ShardedModel | None = None

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
        objective: ObjectiveShares | None = None,
        mask_rate: float | None = None,
        start: PretrainedWeights | None = None,
        adapt: str = FINETUNE,
        ranks: Ranks = ALONE,
    ) -> Trainer:
        """A new model, initialised from ``seed`` alone, or with the weights that it starts from.

        ``objective`` and ``mask_rate`` are those of a pretraining; its targets may use sentinels as well. ``adapt`` is
        how a task trains the model: all of it, or with a new head.
        """
        torch.manual_seed(seed)
        model = build(size, limits).to(device)
        allowed_tokens = torch.from_numpy(np.asarray(prepared.allowed_tokens)).to(device)
        trained_tokens = allowed_tokens
        train: EncodedExamples = prepared.train
        if objective:
            model.objective = pretraining_objective(model, objective, mask_rate)
            train = pretraining_windows(model, prepared, objective)
            trained_tokens = allowed_tokens.clone()
            trained_tokens[list(prepared.tokenizer.label_ids)] = True
        if start is not None:
            copy_weights(model, start, prepared.tokenizer, training.pretrained_share)
        model = with_head(model, limits.vocabulary, adapt).to(device)
        step = TrainingStep(model, model.objective, trained_tokens, training.label_smoothing)
        ratio = size.dim / training.proxy_width if training.proxy_width else 1.0
        bf16 = precision == "bf16"
        sharded = None
        if training.strategy == "fsdp" and ranks.world_size > 1:
            sharded = ShardedModel(step, torch.device(device), ranks)
            chosen: Optimizer = sharded.optimizer(training, ratio, bf16)
        else:
            chosen = optimizer.build(model, training, device, ratio, bf16)
        return cls(
            training_step=step,
            optimizer=chosen,
            prepared=prepared,
            training=training,
            native=native,
            seed=seed,
            device=torch.device(device),
            bf16=bf16,
            train=train,
            allowed_tokens=allowed_tokens,
            ranks=ranks,
            parts=ranks.world_size,
            sharded=sharded,
        )

    @property
    def model(self) -> Any:
        return self.training_step.model

    @contextmanager
    def evaluated(self) -> Iterator[Any]:
        """The full model in evaluation mode; with sharding, all ranks enter together."""
        if self.sharded is None:
            yield self.model.eval()
            return
        with self.sharded.evaluated() as model:
            yield model.eval()

    def weights(self) -> dict[str, Tensor]:
        """A copy of the weights by name (tied weights twice); sharded tensors stay sharded."""
        return {name: tensor.detach().clone() for name, tensor in self.model.state_dict().items()}

    def whole(self, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Weights of this model as full tensors; of sharded ranks, only rank 0 has them."""
        return tensors if self.sharded is None else self.sharded.whole(tensors, everywhere=False)

    def resume(self, saved: Mapping[str, Mapping[str, Tensor]]) -> dict[str, Tensor]:
        """Take weights and optimizer state from whole tensors; returns the best weights. Sharded: those of rank 0."""
        if self.sharded is None:
            self.model.load_state_dict(saved["model"])
            self.optimizer.load(saved["optimizer"])
            return {name: tensor.to(self.device) for name, tensor in saved["best"].items()}
        self.sharded.load(saved.get("model", {}))
        self.optimizer.load(saved.get("optimizer", {}))
        return self.sharded.sharded(saved.get("best", {}))

    def finish(self, weights: Mapping[str, Tensor]) -> None:
        """Leave the model, whole, with these weights."""
        if self.sharded is None:
            self.model.load_state_dict(weights)
        else:
            self.training_step.model = self.sharded.final(weights)

    def stream(self, tokens: int) -> Stream:
        """The training batches: their order depends only on the seed, not on the model."""
        recipe = self.training
        return Stream(self.train, recipe.batch_tokens, self.seed, tokens, recipe.length_pool)

    def step(self, batch: Batch, number: int, progress: float) -> StepResult:
        """Train on a batch as step ``number``, ``progress`` (0 to 1) into the budget.

        All that is random in a step is a function of (seed, number), so that a resumed run goes on exactly. A loss or
        norm that is not finite makes the weights unusable. If memory runs out, the step restarts with twice as many
        micro-batches; if a single row does not fit, PyTorch's error is raised.
        """
        if not self.model.training:  # validation has set it so, and not the step
            self.training_step.train()
        drawn = torch.Generator().manual_seed(seed_from(self.seed, number, 1))
        inputs = self.training_step.objective.prepare(self.model, batch, drawn, self.native)
        loss = self._gradient(inputs, number)
        while loss is None:
            self.optimizer.zero_grad()
            grad_accumulation.empty_cache()
            self.parts *= 2
            loss = self._gradient(inputs, number)
        factor = self.training.token_factor * optimizer.schedule(progress, self.training.warmup)
        return StepResult(loss, self._update(factor))

    def _gradient(self, inputs: LossInputs, number: int) -> Tensor | None:
        """The loss, after its backward pass; None if there is too little memory for its parts, on any rank."""
        parts = list(inputs.split(self.parts))
        own = self.ranks.share(parts)
        losses: list[Tensor] = []
        too_large = False
        try:
            for part, number_of_part in zip(own, self.ranks.share(range(len(parts))), strict=True):
                self._seed(number, number_of_part)
                losses.append(self._backward(part, inputs.tokens))
            if self.sharded is not None:  # it needs equally many passes on all ranks; extra ones add a zero gradient
                for _ in range(-(-len(parts) // self.ranks.world_size) - len(own)):
                    self._backward(parts[0], math.inf)
        except (RuntimeError, MemoryError) as error:
            if self.sharded is not None and grad_accumulation.is_out_of_memory(error):
                raise RuntimeError(
                    f"out of memory with a batch in {len(parts)} parts; use more devices or smaller batch_tokens"
                ) from error
            if self.parts >= len(inputs.target) or not grad_accumulation.is_out_of_memory(error):
                raise
            too_large = True
        if any(self.ranks.any(too_large)):
            return None
        if self.sharded is None:
            self.ranks.all_reduce_gradients(self.optimizer.parameters)
        return losses[0] if len(parts) == self.ranks.world_size == 1 else self._sum(losses, len(parts))

    def _backward(self, part: LossInputs, tokens: float) -> Tensor:
        """Add the gradient of the loss of a part, divided by ``tokens``; returns that loss."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            loss_sum, _ = self.training_step(part.to(self.device))
        loss: Tensor = loss_sum / tokens
        torch.autograd.backward(loss)
        return loss.detach()

    def _sum(self, losses: list[Tensor], parts: int) -> Tensor:
        """The sum of the losses of all parts, in the order of the parts."""
        every = torch.zeros(parts, device=self.device)
        own = self.ranks.share(range(parts))
        if losses:
            every[own[0] : own[-1] + 1] = torch.stack(losses)
        return self.ranks.all_reduce(every).sum()

    def _update(self, factor: float) -> Tensor:
        """Update the weights at ``factor`` times the recipe's learning rate; return the gradient norm."""
        self.optimizer.set_schedule_factor(factor)
        limit = self.training.clip or float("inf")
        norm = torch.nn.utils.clip_grad_norm_(self.optimizer.parameters, limit, foreach=True)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return gathered(norm)

    def _seed(self, number: int, part: int) -> None:
        """Seed the dropout of a part of step ``number``; `torch.manual_seed` takes 0.6 ms for all devices."""
        seed = seed_from(self.seed, number, 2, part) if part else seed_from(self.seed, number)
        torch.default_generator.manual_seed(seed)
        if self.device.type == "cuda":
            torch.cuda.manual_seed(seed)


def seed_from(*numbers: int) -> int:
    """A seed of 63 bits that is a function of several numbers."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0]) >> 1
