"""Gradient accumulation where a batch does not fit into memory: rows are read a micro-batch at a time.

The objective still sees the whole batch: what it hides and what it divides by stay the same, so that the gradient is
that of the whole batch up to rounding (dropout aside, which falls on other elements). States of a micro-batch are
computed once without what a backward pass needs, and again when its turn in the backward pass comes (1604.06174), so
that only one micro-batch's activations exist at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import repeat
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from architectures.family import States

# What PyTorch's CPU allocator and cuBLAS raise instead of torch.OutOfMemoryError.
WORDS = ("DefaultCPUAllocator", "CUBLAS_STATUS_ALLOC_FAILED", "out of memory")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory, of the machine or of the GPU, did not suffice."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(word in str(error) for word in WORDS)


def split(model: Any, parts: int) -> None:
    """Have ``model`` read every batch in ``parts`` micro-batches of rows; 1: whole again."""
    model.__dict__.pop("hidden", None)
    if parts > 1:
        model.__dict__["hidden"] = partial(_hidden, model.hidden, parts)


def _hidden(
    whole: Callable[..., States],
    parts: int,
    source: Tensor | None,
    target: Tensor,
    source_mask: Tensor | None = None,
    target_mask: Tensor | None = None,
) -> States:
    rows = -(-len(target) // parts)
    cut = (
        repeat(None) if given is None else torch.split(given, rows)
        for given in (source, target, source_mask, target_mask)
    )
    read = partial(checkpoint, whole, use_reentrant=False) if torch.is_grad_enabled() else whole
    pieces = [read(*piece) for piece in zip(*cut, strict=False)]
    sources = [piece.source for piece in pieces if piece.source is not None]
    return States(torch.cat(sources) if sources else None, torch.cat([piece.target for piece in pieces]))
