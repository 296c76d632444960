"""What a model is, apart from the values of its weights: to tell whether two models compute the same function."""

from collections.abc import Callable
from typing import Any

from torch import nn

PLAIN = (bool, int, float, str, tuple, type(None))
APART = frozenset({"training", "canvas", "objective", "source_predicts"})  # how a model is used, not what it computes


def structure(model: nn.Module) -> dict[str, Any]:
    """Classes, settings and parameter shapes of all parts by name, and which names share one parameter."""
    found: dict[str, Any] = {}
    for path, module in model.named_modules(remove_duplicate=False):
        found[path] = type(module)
        for name, value in vars(module).items():
            if not name.startswith("_") and name not in APART and (isinstance(value, PLAIN) or _function(value)):
                found[f"{path}.{name}"] = value
    first: dict[int, str] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        found[name] = (tuple(parameter.shape), first.setdefault(id(parameter), name))
    return found


def difference(found: nn.Module, wanted: nn.Module) -> str | None:
    """The first thing in which two models differ, in words; None where they compute the same function."""
    mine, other = structure(found), structure(wanted)
    for name in [*mine, *other]:
        if mine.get(name) != other.get(name):
            return f"{name.strip('.') or 'the model'} is {_shown(mine.get(name))}, not {_shown(other.get(name))}"
    return None


def _function(value: object) -> bool:
    return isinstance(value, Callable) and not isinstance(value, nn.Module)  # type: ignore[arg-type]


def _shown(value: object) -> str:
    return str(getattr(value, "__name__", value))
