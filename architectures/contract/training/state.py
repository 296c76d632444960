"""Everything that a variant can reach and change: attributes, buffers, closures, globals of its file, settings."""

import functools
import hashlib
import os
import random
import sys
import types
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

MOST = 100_000  # values that are looked at
PLAIN = (bool, int, float, complex, str, bytes, type(None))
KNOWN = {"archbench", "torch", "numpy", "transformers", *sys.stdlib_module_names}
INSTALLED = ("site-packages", "dist-packages")  # folders of libraries
HOOKS = {"_forward_hooks", "_backward_hooks"}  # by numbers that change where they are removed and added again


def reachable(**roots: object) -> dict[str, str]:
    """A fingerprint of every value that can be reached from ``roots``, by the path to it.

    The variant's own code is followed into its globals, closures and class attributes; known libraries are not.
    """
    fingerprints: dict[str, str] = {}
    seen: set[int] = set()
    held: list[object] = []  # so that no ``id`` is given twice
    waiting: deque[tuple[str, object]] = deque(roots.items())
    while waiting and len(fingerprints) < MOST:
        path, value = waiting.popleft()
        if isinstance(value, PLAIN):
            fingerprints[path] = repr(value)
            continue
        if id(value) in seen:
            continue
        seen.add(id(value))
        held.append(value)
        fingerprints[path] = _fingerprint(value)
        waiting.extend((f"{path}{step}", part) for step, part in _parts(value))
    return fingerprints


def settings() -> dict[str, str]:
    """Process-wide settings that a pass could change: those of PyTorch, random generators and the environment."""
    return {
        "os.environ": _hash(repr(sorted(os.environ.items())).encode()),
        "the state of Python's `random`": _hash(repr(random.getstate()).encode()),
        "the state of `numpy.random`": _hash(repr(np.random.get_state()).encode()),
        "the default type of PyTorch": str(torch.get_default_dtype()),
        "the threads of PyTorch": str(torch.get_num_threads()),
        "whether gradients are recorded": str(torch.is_grad_enabled()),
        "whether PyTorch is deterministic": str(torch.are_deterministic_algorithms_enabled()),
        "whether autocast is on": str(torch.is_autocast_enabled("cpu")),
    }


def _fingerprint(value: Any) -> str:
    if isinstance(value, Tensor):
        return _tensor(value)
    if isinstance(value, np.ndarray):
        return f"{value.shape} {_hash(value.tobytes())}"
    if isinstance(value, torch.Generator):
        return _tensor(value.get_state())
    if isinstance(value, random.Random):
        return _hash(repr(value.getstate()).encode())
    if isinstance(value, Mapping | list | tuple | set | frozenset | deque):
        return f"{type(value).__name__} of {len(value)}"
    if isinstance(value, types.GeneratorType):
        return f"generator at {value.gi_frame.f_lasti if value.gi_frame else 'its end'}"
    if type(value).__module__ == "itertools":
        return repr(value)
    return type(value).__name__


def _parts(value: Any) -> Iterator[tuple[str, object]]:
    """The parts of a value, each with its path from there."""
    if isinstance(value, Mapping):
        yield from ((f"[{_key(key)}]", part) for key, part in list(value.items()))
    elif isinstance(value, list | tuple | deque):
        yield from ((f"[{i}]", part) for i, part in enumerate(list(value)))
    elif isinstance(value, set | frozenset):
        yield "{}", tuple(sorted(repr(part) for part in value if isinstance(part, PLAIN)))
    elif isinstance(value, types.FunctionType):
        yield from _of_function(value)
    elif isinstance(value, types.MethodType):
        yield ".__self__", value.__self__
        yield ".__func__", value.__func__
    elif isinstance(value, functools.partial):
        yield from ((".func", value.func), (".args", value.args), (".keywords", value.keywords))
    elif isinstance(value, types.CellType):
        yield from _of_cell(value)
    elif isinstance(value, types.GeneratorType):
        yield ".locals", dict(value.gi_frame.f_locals) if value.gi_frame else {}
    elif isinstance(value, type | types.ModuleType):
        yield from _of_names(value)
    elif isinstance(value, Tensor):
        hooks = value._backward_hooks, getattr(value, "_post_accumulate_grad_hooks", None)
        yield ".hooks", [hook for each in hooks for hook in (each or {}).values()]
    elif not isinstance(value, np.ndarray | torch.Generator | random.Random):
        yield from _of_object(value)


def _of_function(value: types.FunctionType) -> Iterator[tuple[str, object]]:
    for name in ("__closure__", "__defaults__", "__kwdefaults__", "__dict__"):
        yield f".{name}", getattr(value, name)
    if _is_own(value.__module__):
        yield ".__globals__", {k: v for k, v in value.__globals__.items() if not k.startswith("__")}


def _of_cell(value: types.CellType) -> Iterator[tuple[str, object]]:
    try:
        yield "", value.cell_contents
    except ValueError:  # an empty cell
        return


def _of_names(value: Any) -> Iterator[tuple[str, object]]:
    """The attributes of a class or module that belongs to the variant."""
    if _is_own(value.__module__ if isinstance(value, type) else value.__name__):
        yield from ((f".{k}", v) for k, v in list(vars(value).items()) if not k.startswith("__"))


def _of_object(value: Any) -> Iterator[tuple[str, object]]:
    for name, part in list(getattr(value, "__dict__", {}).items()):
        yield f".{name}", list(part.values()) if name in HOOKS and isinstance(part, Mapping) else part
    for name in getattr(type(value), "__slots__", ()):
        if isinstance(name, str) and hasattr(value, name):
            yield f".{name}", getattr(value, name)
    yield ".__class__", type(value)


def _is_own(module: str | None) -> bool:
    """True if a module is the user's: neither a known library nor installed where libraries are."""
    if module is None or module.partition(".")[0] in KNOWN:
        return False
    file = getattr(sys.modules.get(module), "__file__", None)
    return file is None or not any(folder in file for folder in INSTALLED)


def _key(key: object) -> str:
    return repr(key) if isinstance(key, PLAIN) else type(key).__name__


def _tensor(value: Tensor) -> str:
    if value.is_meta or value.is_sparse:
        return f"{tuple(value.shape)} {value.dtype}"
    flat = value.detach().contiguous().view(-1)
    return f"{tuple(value.shape)} {value.dtype} {_hash(flat.view(torch.uint8).numpy().tobytes())}"


def _hash(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=8).hexdigest()
