"""The structure of a model without its weights, to decide whether two models compute the same function."""

import hashlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from archbench.architectures.kernels.table import plain_class

HOOKS = ("_forward_hooks", "_forward_pre_hooks")
APART = frozenset({"canvas", "objective", "source_predicts"})  # how a model is used, not what it computes
OTHERS = frozenset({"_is_hf_initialized", "_compiled_call_impl"})  # notes that transformers and torch.compile leave


def structure(model: nn.Module) -> dict[str, Any]:
    """All that the parts of a model have besides weights, by name, and which names share one parameter.

    Parts have classes, settings, buffers, hooks and, where one was replaced on the part itself, methods.
    """
    parts: dict[str, Any] = {}
    for path, module in model.named_modules(remove_duplicate=False):
        parts[path] = plain_class(module)
        parts.update((f"{path}.{name}", value) for name, value in _attributes(module))
    first: dict[int, str] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        parts[name] = (tuple(parameter.shape), first.setdefault(id(parameter), name))
    return parts


def difference(model: nn.Module, wanted: nn.Module) -> str | None:
    """The first thing in which two models differ, in words; None where they compute the same function.

    What cannot be compared, such as two objects of a class without ``__eq__``, counts as different.
    """
    parts, wanted_parts = structure(model), structure(wanted)
    for name in [*parts, *wanted_parts]:
        if not _equal(parts.get(name), wanted_parts.get(name)):
            actual, expected = _printable(parts.get(name)), _printable(wanted_parts.get(name))
            return f"{name.strip('.') or 'the model'} is {actual}, not {expected}"
    return None


def _attributes(module: nn.Module) -> Iterator[tuple[str, Any]]:
    """Names and values of attributes that this module has and an empty one lacks; hooks where there are any."""
    usual = vars(nn.Module()).keys() | APART | OTHERS
    yield from ((name, _plain(value)) for name, value in vars(module).items() if name not in usual)
    yield from ((name, _plain(buffer)) for name, buffer in module.named_buffers(recurse=False))
    yield from ((name, list(vars(module)[name].values())) for name in HOOKS if vars(module)[name])


def _plain(value: Any) -> Any:
    """A value that ``==`` compares: tensors, also those in lists and dictionaries, as what they hold."""
    if isinstance(value, Tensor):
        return "tensor", str(value.dtype), tuple(value.shape), _digest(value)
    if isinstance(value, list | tuple):
        return type(value).__name__, [_plain(part) for part in value]
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    return value


def _digest(tensor: Tensor) -> str:
    if tensor.is_meta:
        return "without values"
    values = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
    return hashlib.sha256(values.numpy().tobytes()).hexdigest()


def _equal(value: Any, other: Any) -> bool:
    try:
        return bool(value == other)
    except Exception:  # arrays, for instance, are compared element by element
        return False


def _printable(value: object) -> str:
    return str(getattr(value, "__name__", value))
