"""Every kernel agrees with its plain version, whatever the memory layout of inputs and gradients."""

import pkgutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from archbench.architectures import kernels
from archbench.architectures.components.embedding import cross_entropy as plain_cross_entropy
from archbench.architectures.components.feedforward import gelu_tanh
from archbench.architectures.components.norm import RMSNorm
from archbench.architectures.kernels import (
    blockwise,
    cross_entropy,
    fused,
    gelu,
    product,
    rms,
    single,
    weight_prepack,
)

Shape = tuple[int, ...]
Result = Tensor | tuple[Tensor, ...]
NEAR = {torch.float32: 1e-5, torch.bfloat16: 0.1}  # relative error of a whole tensor: one laid out wrongly is off by 1
NOTHING = 0.01  # root mean square of gradients that are zero but for rounding, as where rows are repeated


@dataclass(frozen=True)
class Case:
    """A kernel and its plain version as functions of tensors of these ``shapes``, all of which get gradients.

    ``autocast``: the kernel runs in bfloat16 under autocast, its plain version in float32. ``gradients``: it has a
    backward pass.
    """

    shapes: tuple[Shape, ...]
    runs: Callable[..., Result]
    plain: Callable[..., Result]
    dtypes: tuple[torch.dtype, ...] = (torch.float32,)
    autocast: bool = False
    gradients: bool = True


BOTH = (torch.float32, torch.bfloat16)
LABELS = torch.arange(70) % 37
HEADS, SHARED, CHANNELS, STATES = 4, 2, 8, 40  # keys enough for bfloat16


def by_row(y: Tensor) -> Tensor:
    return y.transpose(1, 2).flatten(2)


def attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    return by_row(fused.attention(q, k, v, mask, False, 0.0, 0.5))


def single_query(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    return fused.attention(q, k[:, :, :5], v[:, :, :5], mask, False, 0.0, 0.5)


def packed_product(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    parameter = nn.Parameter(weight)
    with weight_prepack.prepacked_weights():
        for _ in range(weight_prepack.OFTEN):
            y = product.product_onednn(x, parameter, bias)
        assert weight_prepack.packed(parameter, len(x) * x.shape[1]) is not None
    return y


def normed(forward: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def run(x: Tensor, weight: Tensor) -> Tensor:
        module = RMSNorm(len(weight))
        module._parameters["weight"] = weight  # type: ignore[assignment]
        return forward(module, x)

    return run


def loss(plain: bool) -> Callable[..., Tensor]:
    def total(states: Tensor, matrix: Tensor, bias: Tensor, weights: Tensor) -> Tensor:
        if not plain:
            return cross_entropy.total(states, matrix, bias, LABELS, weights.detach(), None, 0.1)
        losses = plain_cross_entropy(F.linear(states, matrix, bias), LABELS, None, 0.1)
        return (losses * weights.detach()).sum()

    return total


MAPS: tuple[Shape, ...] = ((9, 3, 24), (40, 24), (40,))
HEADED: tuple[Shape, ...] = ((3, HEADS, 10, CHANNELS), (3, SHARED, 36, CHANNELS), (3, SHARED, 36, CHANNELS))
CASES: dict[str, Case] = {
    "product_bf16": Case(MAPS, product.product_bf16, F.linear, BOTH, autocast=True),
    "product_onednn": Case(((64, 9, 24), *MAPS[1:]), product.product_onednn, F.linear, gradients=False),
    "weight_prepack": Case(MAPS, packed_product, F.linear, gradients=False),
    "blockwise": Case(
        (*HEADED, (1, HEADS, 10, 36)),
        lambda q, k, v, mask: blockwise.attention(q, k, v, mask, False, 0.5),
        attention,
        BOTH,
        autocast=True,
    ),
    "single": Case(
        ((3, HEADS, 1, CHANNELS), *HEADED[1:], (3, 1, 1, 5)),
        lambda q, k, v, mask: single.attention(q, k, v, 5, mask, 0.5),
        single_query,
        gradients=False,
    ),
    "rms": Case(((3, 4, 5, 8), (8,)), normed(rms.forward), normed(RMSNorm.forward)),
    "gelu": Case(((3, 4, 5, 8),), gelu.by_exponential, gelu_tanh, BOTH),
    "cross_entropy": Case(((70, 12), (37, 12), (37,), (70,)), loss(plain=False), loss(plain=True)),
}


def turned(x: Tensor) -> Tensor:
    """The same numbers, laid out with dimensions in reverse."""
    order = tuple(reversed(range(x.ndim)))
    return x.permute(order).contiguous().permute(order)


def swapped(x: Tensor) -> Tensor:
    """The same numbers, laid out with the two dimensions before the last in the other order, as heads often are."""
    return x.transpose(-3, -2).contiguous().transpose(-3, -2) if x.ndim > 2 else turned(x)


def rows_first(x: Tensor) -> Tensor:
    """The same numbers, laid out with the first two dimensions in the other order."""
    return x.transpose(0, 1).contiguous().transpose(0, 1) if x.ndim > 1 else x


def sliced(x: Tensor) -> Tensor:
    """The same numbers within a larger tensor: an offset, and every second element of each dimension."""
    larger = torch.full([2 * n + 3 for n in x.shape], float("nan"), dtype=x.dtype)
    part = larger[tuple(slice(3, None, 2) for _ in x.shape)]
    return part.copy_(x)


def repeated(dimension: int) -> Callable[[Tensor], Tensor]:
    """The numbers at the first place of a dimension in every place of it, with a stride of 0."""

    def expanded(x: Tensor) -> Tensor:
        return x.narrow(dimension, 0, 1).expand_as(x) if x.ndim else x

    return expanded


LAYOUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "contiguous": lambda x: x,
    "turned": turned,
    "swapped": swapped,
    "rows first": rows_first,
    "sliced": sliced,
    "first repeated": repeated(0),
    "last repeated": repeated(-1),
}


TRIED = [(name, dtype) for name, case in CASES.items() for dtype in case.dtypes]


def parts(value: Result) -> list[Tensor]:
    return list(value) if isinstance(value, tuple) else [value]


def random_tensor(shape: Sequence[int], dtype: torch.dtype, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def derivatives(outputs: list[Tensor], inputs: list[Tensor], above: list[Tensor]) -> list[Tensor]:
    how = {"retain_graph": True, "allow_unused": True, "materialize_grads": True}
    return list(torch.autograd.grad(outputs, inputs, above, **how))


def check(actual: list[Tensor], expected: list[Tensor], near: float) -> None:
    for ours, theirs in zip(actual, expected, strict=True):
        assert ours.shape == theirs.shape
        assert (ours.float() - theirs).norm() <= near * (theirs.norm() + NOTHING * theirs.numel() ** 0.5)


@pytest.mark.skipif(not hasattr(torch.ops.mkldnn, "_linear_pointwise"), reason="PyTorch without oneDNN")
@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
@pytest.mark.parametrize(("name", "dtype"), TRIED)
def test_values_and_gradients_are_those_of_the_plain_version(
    name: str, dtype: torch.dtype, layout: Callable[[Tensor], Tensor]
) -> None:
    case = CASES[name]
    inputs = [layout(random_tensor(shape, dtype, seed)) for seed, shape in enumerate(case.shapes)]
    plain_inputs = [x.float().clone(memory_format=torch.contiguous_format) for x in inputs]
    for x in (*inputs, *plain_inputs):
        x.requires_grad_(case.gradients)
    near = NEAR[torch.bfloat16 if case.autocast else dtype]
    with torch.autocast("cpu", torch.bfloat16, enabled=case.autocast), torch.set_grad_enabled(case.gradients):
        outputs = parts(case.runs(*inputs))
    expected = parts(case.plain(*plain_inputs))
    check(outputs, expected, near)
    for gradient_layout in LAYOUTS.values() if case.gradients else ():
        above = [gradient_layout(random_tensor(y.shape, y.dtype, 9)) for y in outputs]
        plain_above = [x.float().contiguous() for x in above]
        ways = ((outputs, inputs, above), (expected, plain_inputs, plain_above))
        ours, theirs = (derivatives(*way) for way in ways)
        check(ours, theirs, near)


def test_every_kernel_has_a_case() -> None:
    modules = {module.name for module in pkgutil.iter_modules(kernels.__path__)}
    others = {"table", "attend", "selection", "fused", "product", "direct"}
    assert modules - others == {*CASES} - {"product_bf16", "product_onednn"}
