"""All kernels in one table, and the functions that put them into a model and take them out again.

A kernel replaces methods of a module's class by functions with the same arguments and, except for rounding, the same
results. A class that overrides one of these methods keeps its own.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar

from torch import nn

from archbench.architectures.components.attention import Attention
from archbench.architectures.components.embedding import Head
from archbench.architectures.components.feedforward import FeedForward, GatedFeedForward
from archbench.architectures.components.initial import Linear
from archbench.architectures.components.norm import RMSNorm
from archbench.architectures.components.stack import Block, Stack
from archbench.architectures.kernels import attend, cross_entropy, direct, gelu, product, rms, selection

Model = TypeVar("Model", bound=nn.Module)


@dataclass(frozen=True, eq=False)
class Kernel:
    """Fast ``methods`` of the class ``owner``, by name; ``when`` they are used, else they call the plain ones.

    ``test`` is the file in ``tests/`` that holds values and gradients to those of the plain methods. ``compiles``:
    ``torch.compile`` keeps it; the others it replaces by its own.
    """

    owner: type[nn.Module]
    methods: Mapping[str, Callable[..., Any]]
    when: str
    test: str
    compiles: bool = False


SELECTION = (  # these leave out what nothing reads, so FLOPs are counted with them
    Kernel(Block, {"forward": selection.block_forward}, "some states are read", "test_state_index.py", True),
    Kernel(
        Stack,
        {"forward": selection.stack_forward, "flops": selection.stack_flops},
        "some states are read",
        "test_state_index.py",
        compiles=True,
    ),
)
KERNELS = (
    *SELECTION,
    Kernel(Linear, {"multiply": product.multiply}, product.WHEN, "test_product.py"),
    Kernel(Head, {"multiply": product.multiply}, product.WHEN, "test_product.py"),
    Kernel(Head, {"loss": cross_entropy.loss}, "always: output matrix and loss together", "test_cross_entropy.py"),
    Kernel(
        Attention,
        {"attended": attend.attended},
        "always: PyTorch's fused attention, on a CPU blocks in bfloat16, and single queries in float32",
        "test_blockwise.py",
        compiles=True,
    ),
    Kernel(
        Attention,
        {"crossed": direct.crossed},
        "bfloat16 autocast on a CPU, few queries",
        "test_cross_attention_without_keys.py",
        compiles=True,
    ),
    Kernel(RMSNorm, {"forward": rms.forward}, "training in float32 on a CPU", "test_rms.py"),
    Kernel(FeedForward, {"activated": gelu.activated}, "gelu_tanh on a CPU", "test_gelu.py"),
    Kernel(GatedFeedForward, {"activated": gelu.activated}, "gelu_tanh on a CPU", "test_gelu.py"),
)


def optimize(model: Model, kernels: Sequence[Kernel] = KERNELS) -> Model:
    """The model itself, with these kernels in the place of its plain methods, and no others."""
    for module in model.modules():
        plain: Any = plain_class(module)
        module.__class__ = _with_kernels(plain, tuple(kernels))
    return model


def plain_class(module: nn.Module) -> type[nn.Module]:
    """The class of a module without kernels."""
    plain: type[nn.Module] = vars(type(module)).get("plain_class", type(module))
    return plain


@contextmanager
def only(model: nn.Module, kernels: Sequence[Kernel] = ()) -> Iterator[None]:
    """Within, the model has these kernels alone."""
    classes = [(module, type(module)) for module in model.modules()]
    optimize(model, kernels)
    try:
        yield
    finally:
        for module, before in classes:
            module.__class__ = before


@cache
def _with_kernels(plain: Any, kernels: tuple[Kernel, ...]) -> Any:
    """A subclass of ``plain`` with the methods of all kernels whose methods it does not override."""
    methods: dict[str, Any] = {}
    for kernel in kernels:
        if issubclass(plain, kernel.owner) and all(
            getattr(plain, name) is getattr(kernel.owner, name) for name in kernel.methods
        ):
            methods |= kernel.methods
    if not methods:
        return plain
    own = {"plain_class": plain, "__module__": plain.__module__, "__qualname__": plain.__qualname__}
    return type(plain.__name__, (plain,), own | methods)
