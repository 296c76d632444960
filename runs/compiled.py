"""Compiling the repeated block with `torch.compile`, where there is a compiler; its cache is kept between runs."""

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
    named = os.environ.get("CXX")
    if shutil.which(named or "") is None and not any(map(shutil.which, COMPILERS)):
        say("training.compile: no C++ compiler here (CXX, g++, clang++); training goes on without compiling")
        return False
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache / "inductor"))
    torch._dynamo.config.cache_size_limit = max(torch._dynamo.config.cache_size_limit, 64)  # a block for each layer
    for block in model.modules():
        if isinstance(block, Block):
            block.compile(dynamic=True)
    return True


def recompute_blocks(model: Any) -> None:
    """Keep the inputs of blocks for the backward pass, not what they compute inside (1604.06174)."""
    for stack in model.modules():
        if isinstance(stack, Stack):
            stack.recompute = True
