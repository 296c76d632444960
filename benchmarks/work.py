"""The work of either side: batches without padding, and one training step under equal conditions.

          ours                     theirs (input_ids, labels)
gpt2      None -> a b c            BOS a b       a b c            all of a window of tokens
bert      None -> a b c            BOS a [M] c   -  -  b  -       the cells that ours hides
t5        a b  -> c d              a b           c d              half source, half target
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.profiler import record_function

from archbench.architectures.objectives.objective import Batch, mean_loss
from archbench.benchmarks.models import BenchShape
from archbench.benchmarks.pairing import Work
from archbench.runs.experiment.sections import Training
from archbench.runs.training.step import Trainer, TrainingStep, seed_from
from archbench.runs.updates import optimizer
from archbench.tasks.base.example import BOS, MASK, SPECIALS

TRAINING = Training(optimizer="adamw", learning_rate=1e-4)
PROGRESS = 0.5  # into the budget, of every step: one learning rate
IGNORED = -100  # a label without loss, in transformers
DATA = "bench: data"  # the label of reading and collating in a profile

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


def windows(model: str, shape: BenchShape) -> Batch:
    """Windows as long as the model reads, every token a target (of T5 the second half)."""
    if model == "t5":
        return _batch(shape, shape.context // 2, shape.context // 2)
    return _batch(shape, 0, shape.context - (model == "bert"))  # which reads BOS before them


def labelled(model: str, shape: BenchShape) -> Batch:
    """Sources as long as the model reads, each with a target of one token."""
    return _batch(shape, shape.context - 2, 1)


def _batch(shape: BenchShape, source: int, target: int) -> Batch:
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(len(SPECIALS), shape.vocabulary, (shape.rows, source + target), generator=generator)
    return Batch(tokens[:, :source].contiguous(), tokens[:, source:].contiguous())


def their_inputs(model: str, batch: Batch, ours: Any = None) -> Inputs:
    """The batch as a model of ``transformers`` takes it; of ``ours``, an encoder, the cells that it hides.

    Without ``ours`` an encoder hides half of the cells.
    """
    source, target = batch.source, batch.target
    bos = torch.full_like(target[:, :1], BOS)
    if model == "t5":
        return {"input_ids": source, "labels": target}
    if model == "bert":
        read = torch.cat([source, bos, _half_hidden(target)], 1) if ours is None else _tokens_read(ours, batch)
        hidden = read[:, -target.shape[1] :] == MASK
        labels = [torch.full_like(read[:, : -target.shape[1]], IGNORED), target.masked_fill(~hidden, IGNORED)]
        return {"input_ids": read, "labels": torch.cat(labels, 1)}
    labels_of_all = torch.cat([torch.full_like(source, IGNORED), target], 1)
    read = torch.cat([source, bos, target[:, :-1]], 1)
    return {"input_ids": read, "labels": labels_of_all, "shift_labels": labels_of_all}  # not shifted again


def _half_hidden(target: Tensor) -> Tensor:
    hidden = torch.rand(target.shape, generator=torch.Generator().manual_seed(0)) < 0.5
    hidden[:, :1] = True
    return target.masked_fill(hidden.to(target.device), MASK)


def _tokens_read(model: Any, batch: Batch) -> Tensor:
    """Tokens that our encoder reads in step 0: source, BOS and canvas (b, s + 1 + c), [MASK] at hidden cells."""
    read: list[Tensor] = []
    hook = model.embedding.register_forward_pre_hook(lambda module, inputs: read.append(inputs[0]))
    try:
        _first_loss(model, batch)
    finally:
        hook.remove()
    return read[0]


def our_loss(model: Any, batch: Batch, where: Where, bf16: bool) -> float:
    """Loss of the batch with the draws of step 0, in nats."""
    with where.autocast(bf16):
        return float(_first_loss(model.train(), batch.to(where.device)))


@torch.no_grad()
def _first_loss(model: Any, batch: Batch) -> Tensor:
    allowed_tokens = every_token(len(model.embedding.weight), batch.target.device)
    return mean_loss(model, batch, allowed_tokens, torch.Generator().manual_seed(seed_from(0, 0, 1)))


@torch.no_grad()
def their_loss(model: Any, inputs: Inputs, where: Where, bf16: bool) -> float:
    with where.autocast(bf16):
        return float(model.train()(**inputs).loss)


def every_token(vocabulary: int, device: torch.device | str) -> Tensor:
    return torch.ones(vocabulary, dtype=torch.bool, device=device)


def our_steps(model: Any, where: Where, shape: BenchShape, batches: Iterator[Batch]) -> Work:
    """A training step of ours on the next batch -> its data tokens; it waits for its loss, as training does.

    Every token may be answered, the target alone is learnt.
    """
    training = TRAINING.model_copy(update={"batch_tokens": shape.batch_tokens})
    unread: Any = None  # the examples: batches come from outside
    step_module = TrainingStep(model, model.objective, every_token(shape.vocabulary, where.device))
    trainer = Trainer(step_module, optimizer.build(model, training), unread, training, native=False, bf16=where.bf16)

    def step() -> float:
        with record_function(DATA):
            batch = next(batches)
        trainer.step(batch, 0, PROGRESS).loss.item()
        return batch.tokens

    return step


def their_steps(
    model: Any, where: Where, batches: Iterator[tuple[Inputs, int]], forward: Callable[..., Any] | None = None
) -> Work:
    """The same step for a model of ``transformers``, whose loss comes with its output.

    ``batches`` are inputs with their data tokens; ``forward`` in the place of the model is it, compiled.
    """
    call = model.train() if forward is None else forward
    optimized = optimizer.build(model, TRAINING)
    optimizer.set_rate(optimized, optimizer.schedule(PROGRESS, TRAINING.warmup))
    trained = optimizer.parameters(model, optimized)

    def step() -> float:
        with record_function(DATA):
            inputs, tokens = next(batches)
            inputs = {name: tensor.to(where.device) for name, tensor in inputs.items()}
        with where.autocast(where.bf16):
            loss: Tensor = call(**inputs).loss
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(trained, TRAINING.clip, foreach=True)
        optimized.step()
        optimized.zero_grad()
        loss.item()
        return tokens

    return step
