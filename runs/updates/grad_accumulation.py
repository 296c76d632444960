"""Gradient accumulation: if a batch does not fit into memory, its rows are processed in parts, one after another.

Masked positions and loss weights are fixed for the whole batch first, so the gradients of the parts add up to that of
the batch, up to rounding (except dropout, which drops other elements).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor

Result = TypeVar("Result")
MAX_PARTS = 4096  # parts of one batch

# What PyTorch's CPU allocator and cuBLAS raise instead of torch.OutOfMemoryError.
OUT_OF_MEMORY_MESSAGES = ("DefaultCPUAllocator", "CUBLAS_STATUS_ALLOC_FAILED", "out of memory")


def is_out_of_memory(error: BaseException) -> bool:
    """True if an error means that the machine or the GPU is out of memory."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(word in str(error) for word in OUT_OF_MEMORY_MESSAGES)


def retry_in_parts(
    call: Callable[[int], Result],
    parts: int = 1,
    most: int = MAX_PARTS,
    anywhere: Callable[[bool], bool] = lambda short: short,
) -> Result:
    """The result of ``call`` for so many parts; if memory does not suffice, for twice as many, and so on.

    ``anywhere`` says from whether memory was short here whether it was so on any rank. Raises what PyTorch raises where
    ``most`` parts, or more, do not fit either.
    """
    while True:
        result: Result | None = None
        try:
            result = call(parts)
        except (RuntimeError, MemoryError) as error:
            if parts >= most or not is_out_of_memory(error):
                raise
        if not anywhere(result is None) and result is not None:
            return result
        parts *= 2
        empty_cache()


def retry_halving_rows(
    call: Callable[[Tensor, Tensor | None], list[Result]], source: Tensor, source_mask: Tensor | None
) -> list[Result]:
    """The results of ``call`` for sources (b, s) and their mask, one for each row.

    Where memory does not suffice, it gets half the rows at a time.

    Raises what PyTorch raises where a single row does not fit.
    """
    try:
        return call(source, source_mask)
    except (RuntimeError, MemoryError) as error:
        if len(source) < 2 or not is_out_of_memory(error):
            raise
    empty_cache()
    halves = (slice(len(source) // 2), slice(len(source) // 2, None))
    parts = [(source[rows], None if source_mask is None else source_mask[rows]) for rows in halves]
    return [result for part in parts for result in retry_halving_rows(call, *part)]


def empty_cache() -> None:
    """Release PyTorch's cached memory to the GPU, if there is one."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
