"""Compiling the repeated block with `torch.compile`, where there is a compiler; its cache is kept between runs."""

import importlib.util
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from architectures.stack import Block, Stack

COMPILERS = ("g++", "c++", "clang++")


def compile_blocks(model: Any, cache: Path, say: Callable[[str], None]) -> bool:
    """Compile every block of ``model`` in place, for any lengths; False, and a line, where no compiler is found."""
    missing = _missing(next(model.parameters()).device.type)
    if missing:
        say(f"training.compile: no {missing} here; training goes on without compiling")
        return False
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache / "inductor"))
    torch._dynamo.config.cache_size_limit = max(torch._dynamo.config.cache_size_limit, 64)  # a block for each layer
    for block in model.modules():
        if isinstance(block, Block):
            block.compile(dynamic=True)
    return True


def _missing(device: str) -> str:
    """What compiling for a device lacks here: on a CPU a C++ compiler, on CUDA Triton."""
    if device == "cuda":
        return "" if importlib.util.find_spec("triton") else "Triton"
    named = os.environ.get("CXX") or ""
    found = shutil.which(named) or any(map(shutil.which, COMPILERS))
    return "" if found else "C++ compiler (CXX, g++, clang++)"


def recompute_blocks(model: Any) -> None:
    """Keep the inputs of blocks for the backward pass, not what they compute inside (1604.06174)."""
    for stack in model.modules():
        if isinstance(stack, Stack):
            stack.recompute = True
