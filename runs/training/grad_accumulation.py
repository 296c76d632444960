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
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from archbench.architectures.components.states import Places, States

Result = TypeVar("Result")
MOST = 4096  # micro-batches of one batch

# What PyTorch's CPU allocator and cuBLAS raise instead of torch.OutOfMemoryError.
WORDS = ("DefaultCPUAllocator", "CUBLAS_STATUS_ALLOC_FAILED", "out of memory")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory, of the machine or of the GPU, did not suffice."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(word in str(error) for word in WORDS)


def fitting(model: Any, call: Callable[[], Result]) -> Result:
    """What ``call`` gives; where memory does not suffice it reads more and more micro-batches, for this once.

    Raises what PyTorch raises where that does not help either.
    """
    before, parts = model.__dict__.get("hidden"), 1
    try:
        while True:
            try:
                return call()
            except (RuntimeError, MemoryError) as error:
                if parts >= MOST or not is_out_of_memory(error):
                    raise
            parts *= 2
            release()
            split(model, parts)
    finally:
        split(model, 1)
        if before is not None:
            model.__dict__["hidden"] = before


def by_rows(
    call: Callable[[Tensor, Tensor | None], list[Result]], source: Tensor, source_mask: Tensor | None
) -> list[Result]:
    """What ``call`` makes of sources (b, s) and their mask, a result for each row.

    Where memory does not suffice, it gets half the rows at a time.

    Raises what PyTorch raises where a single row does not fit.
    """
    try:
        return call(source, source_mask)
    except (RuntimeError, MemoryError) as error:
        if len(source) < 2 or not is_out_of_memory(error):
            raise
    release()
    halves = (slice(len(source) // 2), slice(len(source) // 2, None))
    parts = [(source[rows], None if source_mask is None else source_mask[rows]) for rows in halves]
    return [result for part in parts for result in by_rows(call, *part)]


def release() -> None:
    """Give memory that PyTorch holds in reserve back to the GPU, if there is one."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


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
    at: Places | None = None,
) -> States:
    rows = -(-len(target) // parts)
    cut = (
        repeat(None) if given is None else torch.split(given, rows)
        for given in (source, target, source_mask, target_mask)
    )
    read = partial(checkpoint, whole, use_reentrant=False) if torch.is_grad_enabled() else whole
    pieces = [read(*piece) for piece in zip(*cut, strict=False)]
    sources = [piece.source for piece in pieces if piece.source is not None]
    return States(torch.cat(sources) if sources else None, torch.cat([piece.target for piece in pieces])).at(at)
