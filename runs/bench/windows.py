"""Batches without padding: whole windows with a loss on every token, and long sources with one label.

          ours                     theirs (input_ids, labels)
gpt2      None -> a b c            BOS a b       a b c            all of a window of tokens
bert      None -> a b c            BOS a [M] c   -  -  b  -       the cells that ours hides
t5        a b  -> c d              a b           c d              half source, half target
"""

from typing import Any

import torch
from torch import Tensor

from archbench.architectures.objectives.objective import Batch
from archbench.runs.bench.shapes import BenchShape
from archbench.runs.bench.sides import tokens_read
from archbench.tasks.base.example import BOS, MASK, SPECIALS

IGNORED = -100  # a label without loss, in transformers


def full(model: str, shape: BenchShape, rows: int) -> Batch:
    """Windows as long as the model reads: ``rows`` of them, every token a target (of T5 the second half)."""
    source, target = 0, shape.context
    if model == "t5":
        source, target = shape.context // 2, shape.context // 2
    if model == "bert":
        target = shape.context - 1  # and BOS before them
    return _batch(rows, source, target, shape.vocabulary)


def labelled(model: str, shape: BenchShape, rows: int) -> Batch:
    """Sources as long as the model reads, each with a target of one token."""
    return _batch(rows, shape.context - 2, 1, shape.vocabulary)


def first_row(batch: Batch) -> Batch:
    """A batch of the first row alone."""
    return Batch(batch.source[:1], batch.target[:1])


def their_inputs(model: str, batch: Batch, ours: Any = None) -> dict[str, Tensor]:
    """The batch as a model of ``transformers`` takes it; of ``ours``, an encoder, the cells that it hides.

    Without ``ours`` an encoder hides half of the cells.
    """
    source, target = batch.source, batch.target
    bos = torch.full_like(target[:, :1], BOS)
    if model == "t5":
        return {"input_ids": source, "labels": target}
    if model == "bert":
        read = _half_hidden(source, bos, target) if ours is None else tokens_read(ours, batch)
        return _masked(read, source.shape[1] + 1, target)
    labels = torch.cat([torch.full_like(source, IGNORED), target], 1)
    read = torch.cat([source, bos, target[:, :-1]], 1)
    return {"input_ids": read, "labels": labels, "shift_labels": labels}  # not shifted again: no position in vain


def moved(inputs: dict[str, Tensor], device: str) -> dict[str, Tensor]:
    return {name: tensor.to(device) for name, tensor in inputs.items()}


def _batch(rows: int, source: int, target: int, vocabulary: int) -> Batch:
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(len(SPECIALS), vocabulary, (rows, source + target), generator=generator)
    return Batch(tokens[:, :source].contiguous(), tokens[:, source:].contiguous())


def _half_hidden(source: Tensor, bos: Tensor, target: Tensor) -> Tensor:
    hidden = torch.rand(target.shape, generator=torch.Generator().manual_seed(0)) < 0.5
    hidden[:, :1] = True
    return torch.cat([source, bos, target.masked_fill(hidden.to(target.device), MASK)], 1)


def _masked(read: Tensor, begin: int, target: Tensor) -> dict[str, Tensor]:
    """``begin`` is where the canvas begins; cells of the target that are read as [MASK] are the labels."""
    labels = torch.full_like(read, IGNORED)
    hidden = read[:, begin : begin + target.shape[1]] == MASK
    labels[:, begin : begin + target.shape[1]] = target.masked_fill(~hidden, IGNORED)
    return {"input_ids": read, "labels": labels}
