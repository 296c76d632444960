"""One step of training: the same for every family, task and optimizer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from architectures.objectives import Asked, Asks, Pairs, Sent
from architectures.recording import CudaGraphs, Record, Recorder
from architectures.size import Limits, Size
from runs import micro, optimizer
from runs.batches import Batch, Stream
from runs.capacity import SMALL
from runs.optimizer import Optimizer
from runs.sections import Training
from tasks.values import Prepared

READ_STEPS = {"cpu": 1, "cuda": 16}  # steps after which losses are read: to read one waits for the device
LAUNCHING = {"bf16": 2e11, "float32": 2e10}  # FLOPs of a step, about, for whose launches a GPU waits: estimates


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
    longest: tuple[int, int] = (0, 0)
    recorder: Recorder | None = None
    parts: int = 1
    updating: bool = False  # from where on a step cannot be begun again

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
        stepper = cls(
            model,
            optimizer.build(model, training, device),
            prepared,
            training,
            native,
            seed,
            torch.device(device),
            precision == "bf16",
            torch.from_numpy(np.asarray(prepared.answers)).to(device),
            (limits.source_length, limits.target_length),
        )
        stepper.record_launching()
        return stepper

    def record_launching(self) -> None:
        """From now on steps are recorded as CUDA graphs, where they are mostly launching kernels."""
        precision = "bf16" if self.bf16 else "float32"
        launching = _is_launching(self.device, self.optimizer.parameters, self.training, precision)
        if launching and CudaGraphs.work:
            self.record(CudaGraphs())

    def record(self, record: Record) -> None:
        """From now on steps are recorded by ``record`` and replayed, where the objective says what it asks."""
        if isinstance(self.model.objective, Asks):
            changed = {"weights": self.optimizer.parameters, "buffers": list(self.model.buffers())}
            for name, tensor in self.optimizer.state().items():
                changed.setdefault(name.rsplit(".", 1)[-1], []).append(tensor)
            self.recorder = Recorder(self._told, record, changed=changed, kept_results=len(Stepped._fields))

    def forget(self) -> None:
        """Give recordings and their memory up; steps are done as ever from now on."""
        self.recorder = None

    def ready(self, batch: Batch) -> Batch:
        """A batch as ``step`` takes it, made ready ahead of it: in few shapes where steps are recorded, and pinned."""
        even = batch if self.recorder is None else batch.even(self.longest)
        return even.pinned() if self.device.type == "cuda" else even

    def stream(self, tokens: int) -> Stream:
        """The training batches: an order that depends on the seed and nothing else of the model."""
        return Stream(self.prepared.train, self.training.batch_tokens, self.seed, tokens)

    def split(self, parts: int) -> None:
        """From now on a batch is read in ``parts`` micro-batches."""
        self.parts = parts
        micro.split(self.model, parts)

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
            self.forget()
            micro.release()
            self.split(2 * self.parts)
            stepped = self._tried(moved, number, rate)
        return stepped

    def _tried(self, batch: Pairs, number: int, rate: float) -> Stepped | None:
        """The step on a batch; None where memory does not suffice for the gradient of its micro-batches."""
        self.updating = False
        try:
            if self.recorder is not None and self.recorder.works and self.parts == 1:
                return self._replayed(self.recorder, batch, number, rate)
            loss = self._gradient(batch, number)
        except (RuntimeError, MemoryError) as error:
            if self.updating or self.parts >= len(batch.target) or not micro.is_out_of_memory(error):
                raise
            return None
        return Stepped(loss, self._update(rate))

    def _gradient(self, batch: Pairs, number: int) -> Tensor:
        """Loss of a batch, and its gradient in the parameters."""
        self.optimizer.zero_grad()  # a recording that broke off may have left some
        self._seed(number)
        with self._autocast():
            loss: Tensor = self.model.objective.loss(
                self.model, batch, self.answers, self._drawn(number), self.native, self.training.label_smoothing
            )
        torch.autograd.backward(loss)
        return loss.detach()

    def _update(self, rate: float | Tensor) -> Tensor:
        """Change the weights by their gradient, at ``rate`` times the recipe's; return its norm."""
        self.updating = True
        self.optimizer.set_learning_rate(rate)
        limit = self.training.clip or float("inf")
        norm = torch.nn.utils.clip_grad_norm_(self.optimizer.parameters, limit, foreach=True)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return norm

    def _replayed(self, recorder: Recorder, batch: Pairs, number: int, rate: float) -> Stepped:
        """The step on a batch by a recording, where there is one of its shape."""
        asked = self.model.objective.asked(self.model, batch, self._drawn(number), self.native)
        rates = torch.full((), rate, device=self.device)
        loss, norm = recorder([rates, *asked.whole(self._answer)], partial(self._seed, number))
        assert loss is not None and norm is not None
        return Stepped(loss.clone(), norm.clone())

    def _told(self, rate: Tensor, *asked: Any) -> list[Tensor | None]:
        """The step on what is asked, nothing but work on the device: loss, norm and the gradients as they were used."""
        self.optimizer.zero_grad()
        with self._autocast(cached=False):
            loss = Asked(*asked).loss(self.model, self.answers, self.training.label_smoothing)
        torch.autograd.backward(loss)
        gradients = [parameter.grad for parameter in self.optimizer.parameters]
        return [loss.detach(), self._update(rate), *gradients]

    def _drawn(self, number: int) -> torch.Generator:
        """What an objective draws from in step ``number``."""
        return torch.Generator().manual_seed(mixed(self.seed, number, 1))

    def _seed(self, number: int) -> None:
        """Seed what dropout of step ``number`` draws from; `torch.manual_seed` takes 0.6 ms for all devices."""
        seed = mixed(self.seed, number)
        torch.default_generator.manual_seed(seed)
        if self.device.type == "cuda":
            torch.cuda.manual_seed(seed)

    def _autocast(self, cached: bool = True) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16, cache_enabled=cached)

    @cached_property
    def _answer(self) -> int:
        """The first token that an answer may use."""
        return int(self.answers.int().argmax())


def _is_launching(device: torch.device, trained: Sequence[Tensor], training: Training, precision: str) -> bool:
    """Whether a step is mostly launching kernels on a GPU, each by itself: those of more work take longer."""
    alone = training.compile is not True and not training.recompute
    parameters = sum(parameter.numel() for parameter in trained)
    small = parameters <= SMALL and 6.0 * parameters * training.batch_tokens <= LAUNCHING[precision]
    return device.type == "cuda" and alone and small


def pairs(batch: Batch) -> Pairs:
    """The tensors of a batch, as objectives take them."""
    return Pairs(batch.source, batch.target, batch.source_mask, batch.target_mask)


def mixed(*numbers: int) -> int:
    """A seed of 63 bits that is a function of several numbers."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0]) >> 1
