"""Compiling the repeated block with `torch.compile`, where there is a compiler; its cache is kept between runs.

On a CPU compiling took 16 to 63 s with nothing in the cache, and steps were 0.99 to 1.16 times as fast afterwards
(docs/performance.md): `PAYS` is a run of about an hour there. On CUDA, where nothing was measured, it is a guess.
"""

import importlib.util
import os
import shutil
from pathlib import Path
from typing import Any

import torch

from archbench.architectures.components.stack import Block, Stack
from archbench.architectures.kernels.table import KERNELS, optimize
from archbench.runs.experiment.sections import Training
from archbench.tasks.base.errors import one_line
from archbench.tasks.base.progress import Say

COMPILERS = ("g++", "c++", "clang++")
PAYS = {"cpu": 5e14, "cuda": 2e16}  # FLOPs of training from which "auto" compiles


def chosen(training: Training, device: str, flops: float) -> Training:
    """``training`` with "auto" resolved from a run's FLOPs, not its time, so that the result is always the same."""
    if training.compile != "auto":
        return training
    return training.patched({"compile": flops >= PAYS[device]})


def compile_blocks(model: Any, cache: Path, say: Say) -> bool:
    """Have stacks train with compiled blocks, for any lengths; False, and a line, where no compiler is found.

    Validation and writing, which have shapes of their own, call the blocks as they are.
    """
    device = next(model.parameters()).device.type
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache / "inductor"))
    lacking = f"no {missing} here" if (missing := _missing(device)) else _tried(device)
    if lacking:
        say(f"training.compile: {lacking}; training continues without compiling")
        return False
    torch._dynamo.config.cache_size_limit = max(torch._dynamo.config.cache_size_limit, 64)  # a block for each layer
    for stack in model.modules():
        if isinstance(stack, Stack):
            optimize(stack.blocks, [kernel for kernel in KERNELS if kernel.compiles])
            stack.call = torch.compile(_call, dynamic=True)
    return True


def _call(block: Block, *inputs: Any, **named: Any) -> Any:
    return block(*inputs, **named)


def _missing(device: str) -> str:
    """The missing requirement for compiling on a device: a C++ compiler on a CPU, Triton on CUDA."""
    if device == "cuda":
        return "" if importlib.util.find_spec("triton") else "Triton"
    named = os.environ.get("CXX") or ""
    present = shutil.which(named) or any(map(shutil.which, COMPILERS))
    return "" if present else "C++ compiler (CXX, g++, clang++)"


def _tried(device: str) -> str:
    """Why compiling fails here, in a line: a compiler without Python's headers, say; empty where it works."""
    try:
        torch.compile(_probe)(torch.ones(8, device=device))
    except Exception as error:
        return one_line(error)
    return ""


def _probe(x: torch.Tensor) -> torch.Tensor:
    return x.mul(2).add(1).sum()
