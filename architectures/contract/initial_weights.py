"""Checks of initial weights: random ones come from the seed of the run."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from architectures.contract.subject import Subject, fresh, require


class _Generators(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts random operations that are given a generator of their own."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.count = 0

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        given = (*args, *(kwargs or {}).values())
        self.count += any(isinstance(value, torch.Generator) for value in given)
        return func(*args, **(kwargs or {}))


def initial_weights_follow_the_seed(case: Subject) -> None:
    """Every random initial weight differs under another seed, and no two parameters start equal under every seed.

    Seeds measure how much results vary by chance. A generator of the variant's own with a fixed seed hides a part of
    this variation, and gives layers equal weights: draw from torch's global generator.
    """
    with _Generators() as generators:
        model = fresh(case.build, seed=0)
    first, other = (dict(each.named_parameters()) for each in (model, fresh(case.build, seed=1)))
    fixed = [name for name, weight in first.items() if _varies(weight) and torch.equal(weight, other[name])]
    drawn = bool(generators.count) and bool(fixed)
    require(not drawn, f"drawn from a generator with a fixed seed: {', '.join(fixed)}")
    for place, name in enumerate(fixed):
        for later in fixed[place + 1 :]:
            alike = first[name].shape == first[later].shape and torch.equal(first[name], first[later])
            require(not alike, f"{name} and {later} start equal under every seed")


def _varies(weight: Tensor) -> bool:
    """Whether most values of a weight differ, as random ones do and constants do not."""
    return 2 * len(set(weight.flatten().tolist())) > weight.numel() > 1
