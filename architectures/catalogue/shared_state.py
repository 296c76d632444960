"""The state that all architectures share and a variant may not change: classes, functions, constants, torch settings.

Two snapshots are compared, from before and after the code ran. Code that hides what it replaces, in C or in a closure,
goes unnoticed; this is why a user's variant is trained in a process of its own.
"""

import importlib
import sys
from collections.abc import Callable, Iterator
from types import BuiltinFunctionType, FunctionType, MethodDescriptorType, ModuleType
from typing import Any, NamedTuple

import numpy as np
import torch

OURS = frozenset({"archbench"})
LIBRARIES = frozenset({"json", "math", "numpy", "random", "rouge_score", "sacrebleu", "safetensors", "sklearn", "time"})
WATCHED = OURS | LIBRARIES | {"builtins", "functools", "itertools", "tokenizers", "torch"}
METRICS = ("rouge_score.rouge_scorer", "sacrebleu.metrics.bleu", "sacrebleu.metrics.chrf")
_BY_C = (np.ufunc, type(np.argmax), type(np.random.default_rng))
FUNCTIONS: tuple[type, ...] = (FunctionType, BuiltinFunctionType, MethodDescriptorType, *_BY_C)
CODE = (*FUNCTIONS, property, staticmethod, classmethod)
PLAIN = (bool, int, float, complex, str, bytes, type(None), tuple, frozenset)
CONTAINERS = (dict, list, set)

Place = tuple[str, ...]


class _Code(NamedTuple):
    """A function, and the parts of it that can be changed in place."""

    function: object
    parts: tuple[object, ...]


def snapshot() -> dict[Place, object]:
    """Everything that is watched, by its place: module, name, and the name within a class.

    The libraries of the metrics are loaded for it. The snapshot keeps the values alive, so that none of their addresses
    is used again.
    """
    for name in METRICS:
        importlib.import_module(name)
    state: dict[Place, object] = {("torch settings", name): _setting(read) for name, read in SETTINGS.items()}
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] in WATCHED and isinstance(module, ModuleType):
            state[(name,)] = module
            state.update(_entries(name, module))
    state.pop(("torch", "Storage"), None)  # follows the default dtype, which is watched itself
    return state


def changes(before: dict[Place, object]) -> list[str]:
    """The differences between the present state and a snapshot, as dotted names; modules loaded since do not count."""
    after, gone = snapshot(), object()
    known = {id(_function(value)) for value in before.values()}
    changed = {place for place, value in before.items() if _differs(value, after.get(place, gone))}
    changed |= {place for place in after.keys() - before.keys() if _is_added(place, before)}
    return sorted(".".join(place) for place in changed if not _is_by_torch(place, after.get(place), known))


def listed(names: list[str], most: int = 3) -> str:
    """The first few names, and the number of the others."""
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + rest


def _setting(read: Callable[[], Any]) -> object:
    """A setting's value, or the error that torch raises if settings of its old and new interface disagree."""
    try:
        return read()
    except RuntimeError as error:
        return f"{type(error).__name__}: {error}"


def _entries(name: str, module: ModuleType) -> Iterator[tuple[Place, object]]:
    is_ours = name.partition(".")[0] in OURS
    for key, value in list(vars(module).items()):
        kind = type(value)
        if issubclass(kind, type):
            yield (name, key), value
            if vars(value).get("__module__") == name:
                yield from (((name, key, *inner), part) for inner, part in _members(value, is_ours))
        elif issubclass(kind, FunctionType):
            yield (name, key), _code(value)
        elif issubclass(kind, CODE) or (is_ours and issubclass(kind, PLAIN)):
            yield (name, key), value
        elif is_ours and key.isupper() and issubclass(kind, CONTAINERS):
            yield (name, key), kind(value)


def _members(owner: type, is_ours: bool) -> Iterator[tuple[Place, object]]:
    """What a class defines: its code and, of our own classes, its plain values."""
    for key, value in list(vars(owner).items()):
        kind = type(value)
        if issubclass(kind, FunctionType):
            yield (key,), _code(value)
        elif issubclass(kind, CODE) or (is_ours and issubclass(kind, PLAIN)):
            yield (key,), value


def _code(function: FunctionType) -> _Code:
    keywords = tuple((function.__kwdefaults__ or {}).items())
    return _Code(function, (function.__code__, *(function.__defaults__ or ()), *keywords))


def _function(value: object) -> object:
    return value.function if isinstance(value, _Code) else value


def _differs(before: object, after: object) -> bool:
    if before is after:
        return False
    if isinstance(before, _Code) and isinstance(after, _Code):
        same = len(before.parts) == len(after.parts)
        same = same and all(a is b or _equals(a, b) for a, b in zip(before.parts, after.parts, strict=True))
        return before.function is not after.function or not same
    return not isinstance(before, (*PLAIN, *CONTAINERS)) or not _equals(before, after)


def _equals(a: object, b: object) -> bool:
    """Equality of plain values; values that cannot be compared count as different."""
    try:
        return type(a) is type(b) and bool(a == b)
    except Exception:  # of an array, for one, equality is no single truth
        return False


def _is_added(place: Place, before: dict[Place, object]) -> bool:
    """Whether a place is new in a class that was there before, and so overrides what the class inherits."""
    return len(place) == 3 and place[:2] in before


def _is_by_torch(place: Place, after: object, known: set[int]) -> bool:
    """Whether torch itself put something new there, as when `torch.compile` wraps functions of torch on loading.

    ``known`` has the addresses of what was watched before: a known value is not new, wherever it appears.
    """
    after = _function(after)
    function = getattr(after, "fget", None) or getattr(after, "__func__", after)
    file = getattr(getattr(function, "__code__", None), "co_filename", "")
    return place[0].partition(".")[0] == "torch" and file.startswith(_TORCH) and id(after) not in known


_TORCH = torch.__path__[0]

# What `torch.set_...` and its relatives change for the whole process.
SETTINGS: dict[str, Callable[[], Any]] = {
    "torch.get_default_dtype()": torch.get_default_dtype,
    "torch.get_default_device()": lambda: str(torch.get_default_device()),
    "torch.is_grad_enabled()": torch.is_grad_enabled,
    "torch.is_inference_mode_enabled()": torch.is_inference_mode_enabled,
    "torch.get_num_threads()": torch.get_num_threads,
    "torch.get_float32_matmul_precision()": torch.get_float32_matmul_precision,
    "torch.are_deterministic_algorithms_enabled()": torch.are_deterministic_algorithms_enabled,
    "torch.is_autocast_enabled('cpu')": lambda: torch.is_autocast_enabled("cpu"),
    "torch.is_autocast_enabled('cuda')": lambda: torch.is_autocast_enabled("cuda"),
    "torch.get_autocast_dtype('cpu')": lambda: torch.get_autocast_dtype("cpu"),
    "torch.is_anomaly_enabled()": torch.is_anomaly_enabled,
    "torch.backends.cuda.flash_sdp_enabled()": torch.backends.cuda.flash_sdp_enabled,
    "torch.backends.cuda.mem_efficient_sdp_enabled()": torch.backends.cuda.mem_efficient_sdp_enabled,
    "torch.backends.cuda.math_sdp_enabled()": torch.backends.cuda.math_sdp_enabled,
    "torch.backends.cuda.cudnn_sdp_enabled()": torch.backends.cuda.cudnn_sdp_enabled,
    "torch.backends.cudnn.allow_tf32": lambda: torch.backends.cudnn.allow_tf32,
    "torch.backends.cudnn.enabled": lambda: torch.backends.cudnn.enabled,
    "torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction": (
        lambda: torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction
    ),
    "torch.is_autocast_cache_enabled()": torch.is_autocast_cache_enabled,
    "torch.backends.mkldnn.enabled": lambda: torch.backends.mkldnn.enabled,
    "torch.is_warn_always_enabled()": torch.is_warn_always_enabled,
    "torch.set_flush_denormal()": lambda: (torch.full((), 1e-40) * 1.0).item() == 0.0,
    "hooks of all modules": lambda: tuple(len(hooks) for hooks in _global_hooks()),
    "numpy.geterr()": lambda: tuple(sorted(np.geterr().items())),
}


def _global_hooks() -> list[Any]:
    names = ("forward", "forward_pre", "backward", "backward_pre")
    return [getattr(torch.nn.modules.module, f"_global_{name}_hooks") for name in names]
