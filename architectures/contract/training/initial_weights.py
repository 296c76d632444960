"""Checks of initial weights: random ones follow the seed of the run."""

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from archbench.architectures.contract.subject import Subject, fresh, require


class Draws(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Records what random operators draw, in order, and how many of them read a generator of the variant's ``own``."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.drawn: list[Tensor] = []
        self.own = 0

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if torch.Tag.nondeterministic_seeded in func.tags:
            tensors = [x for x in tree_leaves(result) if isinstance(x, Tensor) and not x.is_meta]
            self.drawn += [tensor.detach().clone() for tensor in tensors]
            generators = [x for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Generator)]
            self.own += any(generator is not torch.default_generator for generator in generators)
        return result


def initial_weights_follow_the_seed(case: Subject) -> None:
    """Every random initial weight changes with the seed, no two start equal under every seed, and no rows are copies.

    Several seeds measure how much results vary by chance. A seed set by the variant hides part of this variation, and
    may give layers equal weights. Units that start as copies, such as those of several experts, get equal gradients.
    Draw from torch's global generator, and set no seed in `build`.
    """
    models, draws = [], []
    for seed in (0, 1):
        with Draws() as watch, seeds_that_are_set() as seeded:
            models.append(fresh(case.build, seed))
        draws.append(watch.drawn)
    first, other = (dict(model.named_parameters()) for model in models)
    fixed = [name for name, weight in first.items() if _varies(weight) and torch.equal(weight, other[name])]
    same = sum(_varies(a) and a.shape == b.shape and torch.equal(a, b) for a, b in zip(*draws, strict=False))
    message = f"{same} of {len(draws[0])} random tensors are the same under another seed: `build` draws with its own"
    require(not same, f"{message} ({', '.join(fixed[:3])})" if fixed else message)
    calls, names = ", ".join(seeded[:1]), ", ".join(fixed[:3])
    require(not (calls and names), f"`build` calls {calls}, and {names} do not follow the seed")
    for index, name in enumerate(fixed):
        for later in fixed[index + 1 :]:
            alike = first[name].shape == first[later].shape and torch.equal(first[name], first[later])
            require(not alike, f"{name} and {later} start equal under every seed")
    for name, weight in first.items():
        copies = 0 if torch.equal(weight, other[name]) else _copied_rows(weight)
        require(not copies, f"{copies} of {len(weight)} rows of {name} start as copies of others")


@contextmanager
def seeds_that_are_set(*more: tuple[Any, str]) -> Iterator[list[str]]:
    """The functions called in this context that seed NumPy or `random`, create their generators, or are ``more``."""
    called: list[str] = []

    def noted(original: Callable[..., Any], name: str) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            called.append(name)
            return original(*args, **kwargs)

        return call

    with ExitStack() as patches:
        for module, name in ((np.random, "default_rng"), (np.random, "seed"), (random, "seed"), *more):
            call = noted(getattr(module, name), f"{module.__name__}.{name}")
            patches.enter_context(mock.patch.object(module, name, call))
        yield called


def _copied_rows(weight: Tensor) -> int:
    """How many rows of a matrix (m, ...) are equal to earlier ones; rows of one repeated value do not count."""
    rows = weight.detach().flatten(1) if weight.dim() > 1 else weight.new_zeros(0, 1)
    drawn = rows[(rows != rows[:, :1]).any(1)]
    return len(drawn) - len(torch.unique(drawn, dim=0))


def _varies(weight: Tensor) -> bool:
    """True if most values of a weight differ from each other, as random ones do and constants do not."""
    return 2 * len(set(weight.flatten().tolist())) > weight.numel() > 1
