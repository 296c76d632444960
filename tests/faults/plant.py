"""How a fault is planted: into shared code, into what a variant builds, or into what it makes of its sizes.

Whatever takes the place of a function gets the original one first, then its arguments.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from torch import Tensor, nn
from torch.utils._python_dispatch import is_in_torch_dispatch_mode

from archbench.architectures.components.stack import Block
from archbench.architectures.components.states import States
from archbench.architectures.contract.trials import QUICK, Trials
from archbench.architectures.families.size import Limits, Size

Build = Callable[..., Any]
Plant = Callable[[pytest.MonkeyPatch, Build], Build]
Method = Callable[..., Any]

ENCODER, DECODER, ENCODER_DECODER = ("encoder",), ("decoder",), ("encoder-decoder",)
THREE = (*DECODER, *ENCODER, *ENCODER_DECODER)
CAUSAL = ("decoder", "prefix-decoder", "encoder-decoder")
WITH_POSITIONS = ("gpt2", "encoder", "encoder-decoder")


@dataclass(frozen=True)
class Fault:
    """A fault that ``plant`` puts into ``variants``; the check that names it says ``says``.

    A variant is a name, or a file beside the tests that has the fault in it; ``says`` is then empty: any finding does.
    ``trials`` are enough for this check to see it; the others have quick ones. ``alone``: every other check holds, but
    for the learning of a batch. ``also``: earlier checks that see it, too. ``plan``: the size at which the check of
    planned models sees it.
    """

    name: str
    says: str
    plant: Plant
    variants: tuple[str, ...] = DECODER
    trials: Trials = QUICK
    alone: bool = False
    also: tuple[str, ...] = ()
    plan: tuple[Size, Limits] | None = None


def around(original: Method, method: Method) -> Method:
    return lambda *inputs, **named: method(original, *inputs, **named)


def patch(owner: object, name: str, method: Method) -> Plant:
    """Plants a fault in shared code: ``method`` takes the place of a function."""

    def plant(monkeypatch: pytest.MonkeyPatch, build: Build) -> Build:
        monkeypatch.setattr(owner, name, around(getattr(owner, name), method))
        return build

    return plant


def combined(*plants: Plant) -> Plant:
    def plant(monkeypatch: pytest.MonkeyPatch, build: Build) -> Build:
        for part in plants:
            build = part(monkeypatch, build)
        return build

    return plant


def ask(size: Callable[[Size], Size] = lambda x: x, limits: Callable[[Limits], Limits] = lambda x: x) -> Plant:
    """Plants a fault in what a variant makes of its sizes."""
    return lambda monkeypatch, build: lambda requested, bounds: build(size(requested), limits(bounds))


def sized(edit: Callable[[Any, Size], object]) -> Plant:
    """Plants a fault in what a variant builds; ``edit`` gets the model and its size."""

    def plant(monkeypatch: pytest.MonkeyPatch, build: Build) -> Build:
        def built(size: Size, limits: Limits) -> Any:
            model = build(size, limits)
            edit(model, size)
            return model

        return built

    return plant


def change(edit: Callable[[Any], object]) -> Plant:
    return sized(lambda model, size: edit(model))


def changed(original: type, methods: dict[str, Method]) -> type:
    bound = {name: around(getattr(original, name), method) for name, method in methods.items()}
    return type("Changed", (original,), bound)


def with_methods(**methods: Method) -> Plant:
    """Gives a model other methods."""
    return change(lambda model: setattr(model, "__class__", changed(type(model), methods)))


def objective(**methods: Method) -> Plant:
    """Gives the model's objective other methods."""
    return change(lambda model: setattr(model, "objective", changed(type(model.objective), methods)()))


def states(edit: Callable[..., Tensor]) -> Plant:
    """Changes the states of the target; ``edit`` gets the model, the states (b, t, d) of one pass, and its inputs."""
    return sized_states(lambda size, *inputs: edit(*inputs))


def sized_states(edit: Callable[..., Tensor]) -> Plant:
    """The same for an ``edit`` that gets the model's size first."""

    def edit_model(model: Any, size: Size) -> None:
        def hidden(original, self, source, target, source_mask=None, target_mask=None, at=None):
            if is_in_torch_dispatch_mode():  # who counts FLOPs sees nothing of it
                return original(self, source, target, source_mask, target_mask, at)
            result = original(self, source, target, source_mask, target_mask)
            edited = edit(size, self, result.target, source, target, source_mask, target_mask)
            return States(result.source, edited).at(at)

        model.__class__ = changed(type(model), {"hidden": hidden})

    return sized(edit_model)


def only(condition: Callable[[nn.Module, Tensor], bool], edit: Callable[[Tensor], Tensor]) -> Plant:
    return states(lambda model, x, *inputs: edit(x) if condition(model, x) else x)


def feedforwards(wrap: Callable[[nn.Module, Any, Size], nn.Module], most: int | None = None) -> Plant:
    """The feed-forward networks, ``most`` of them, become what ``wrap`` makes of one, its model and the size."""

    def edit(model: Any, size: Size) -> None:
        for block in [part for part in model.modules() if isinstance(part, Block)][:most]:
            block.feedforward = wrap(block.feedforward, model, size)

    return sized(edit)
