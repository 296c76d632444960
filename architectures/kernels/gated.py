"""Gate and up of a gated feed-forward network from one matrix: two products where halves by themselves are faster."""

from collections.abc import Callable

import torch
from torch import Tensor

from archbench.architectures.kernels.product import Linear, product

ROWS = 256  # rows from which two products with contiguous results are faster than one product
VECTOR = 32  # bfloat16 numbers that a processor computes at once; the rest of a row it computes one by one


class Halves(Linear):
    """A linear map (..., d) -> (..., h) twice, the halves of its output."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        run = halves_apart if applies(x) else halves
        return run(x, self.weight, self.bias)


def applies(x: Tensor) -> bool:
    """Whether halves apart are faster: many rows on a CPU in float32, without gradients."""
    if torch.is_grad_enabled() or torch.compiler.is_compiling() or x.numel() < ROWS * x.shape[-1]:
        return False
    return x.dtype == torch.float32 and x.device.type == "cpu" and not torch.is_autocast_enabled("cpu")


def halves(x: Tensor, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor]:
    """The halves of the product (..., 2h), each (..., h); copied in bfloat16 on a CPU unless ``VECTOR`` divides h."""
    first, second = product(x, weight, bias).chunk(2, -1)
    ragged = first.device.type == "cpu" and first.dtype == torch.bfloat16 and first.shape[-1] % VECTOR
    return (first.contiguous(), second.contiguous()) if ragged else (first, second)


def halves_apart(x: Tensor, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor]:
    """The same by two products."""
    (first, second), biases = weight.chunk(2), (None, None) if bias is None else bias.chunk(2)
    return product(x, first, biases[0]), product(x, second, biases[1])


def gated(activation: Callable[[Tensor], Tensor], gate: Tensor, up: Tensor) -> Tensor:
    """``activation(gate) * up``, multiplied in place where the factor is not needed elsewhere."""
    hidden = activation(gate)
    return hidden.mul_(up) if applies(gate) and hidden.data_ptr() != gate.data_ptr() else hidden * up
