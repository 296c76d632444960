"""One step of training: the same for every family, task and optimizer."""

from __future__ import annotations

import math
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from archbench.architectures.objectives.objective import Batch, LossInputs, Objective
from archbench.runs.experiment.sections import Training
from archbench.runs.training.batches import EncodedExamples, Stream
from archbench.runs.updates import optimizer as optimizers
from archbench.runs.updates.replicated import Replicated
from archbench.runs.updates.sharded import Sharded, gathered

READ_STEPS = {"cpu": 1, "cuda": 16}  # steps between reads of the losses, because reading one waits for the GPU


class TrainingStep(nn.Module):
    """A model and its objective as one module; its call is the forward pass of a training step.

        loss_sum, tokens = step(inputs)
        (loss_sum / tokens).backward()

    This is the module that ``torch.compile``, DDP and FSDP wrap. ``allowed_tokens`` (v,) are those that a target may
    use, ``smoothing`` is that of labels (1512.00567). A part of the model may set its ``extra_loss`` () in a pass, in
    nats a token, such as one that balances experts: training adds it.
    """

    allowed_tokens: Tensor

    def __init__(self, model: nn.Module, objective: Objective, allowed_tokens: Tensor, smoothing: float = 0.0) -> None:
        super().__init__()
        self.model, self.objective, self.smoothing = model, objective, smoothing
        self.register_buffer("allowed_tokens", allowed_tokens, persistent=False)
        self.extra: list[Any] = [module for module in model.modules() if hasattr(module, "extra_loss")]

    def forward(self, inputs: LossInputs) -> tuple[Tensor, int]:
        """The sum of the losses in nats (), and the number of target tokens that it is divided by."""
        loss = self.objective.loss(self.model, inputs, self.allowed_tokens, self.smoothing)
        for part in self.extra:
            if part.extra_loss is not None:
                loss, part.extra_loss = loss + inputs.tokens * part.extra_loss, None
        return loss, inputs.tokens


class StepResult(NamedTuple):
    """The loss of a batch in nats, and the norm of its gradient before clipping; both on the device."""

    loss: Tensor
    norm: Tensor


class Trainer:
    """Trains a model on examples with an optimizer; `step` is a step.

    ``data`` are the examples as the model reads them, which a pretraining rearranges. ``native``: also on sources.
    Everything random is a function of ``seed``. ``around`` is how the step uses memory and devices; a batch is read in
    ``parts`` micro-batches.
    """

    def __init__(
        self,
        training_step: TrainingStep,
        optimizer: torch.optim.Optimizer,
        data: EncodedExamples,
        training: Training,
        native: bool = True,
        seed: int = 0,
        bf16: bool = False,
        around: Replicated | Sharded | None = None,
    ) -> None:
        self.training_step, self.optimizer, self.data = training_step, optimizer, data
        self.training, self.native, self.seed, self.bf16 = training, native, seed, bf16
        self.around = around or Replicated(training_step)
        self.parts = self.around.ranks.world_size
        self.parameters = optimizers.parameters(self.model, optimizer)

    @property
    def model(self) -> Any:
        return self.training_step.model

    @property
    def device(self) -> torch.device:
        return self.training_step.allowed_tokens.device

    def weights(self) -> dict[str, Tensor]:
        """A copy of the weights by name (tied weights twice); sharded tensors stay sharded."""
        return {name: tensor.detach().clone() for name, tensor in self.model.state_dict().items()}

    def stream(self, tokens: int) -> Stream:
        """The training batches: their order depends only on the seed, not on the model."""
        recipe = self.training
        return Stream(self.data, recipe.batch_tokens, self.seed, tokens, recipe.length_pool)

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
        factor = self.training.token_factor * optimizers.schedule(progress, self.training.warmup)
        return StepResult(loss, self._update(factor))

    def _gradient(self, inputs: LossInputs, number: int) -> Tensor:
        """The loss of a batch; parameters have its gradient, summed over micro-batches and ranks."""
        accumulate = partial(self._accumulate, inputs, number)
        losses = self.around.within_memory(accumulate, self.parts, len(inputs.target))
        return self.around.reduce(losses, self.parameters).sum()

    def _accumulate(self, inputs: LossInputs, number: int, parts: int) -> Tensor:
        """The losses of a batch in ``parts`` micro-batches (parts,), of which a rank reads its share."""
        self.parts = parts
        self.optimizer.zero_grad()  # of an attempt with fewer parts
        micro_batches = list(inputs.split(parts))
        losses = torch.zeros(len(micro_batches), device=self.device)
        for place, part, tokens in self.around.deal(micro_batches, inputs.tokens):
            self._seed(number, place)
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
                loss_sum, _ = self.training_step(part.to(self.device))
            loss = loss_sum / tokens
            torch.autograd.backward(loss)
            losses[place] += loss.detach()
        return losses

    def _update(self, factor: float) -> Tensor:
        """Update the weights at ``factor`` times the recipe's learning rate; returns the norm of the gradient."""
        optimizers.set_rate(self.optimizer, factor)
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, self.training.clip or math.inf, foreach=True)
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
