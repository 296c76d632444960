"""Initial matrices: normal with variance 1 / inputs; those that write into the residual stream start at zero."""

from typing import TypeVar

from torch import Tensor, nn
from torch.nn import functional as F

Part = TypeVar("Part", bound=nn.Module)


class Linear(nn.Linear):
    """A linear map (..., inputs) -> (..., outputs), or to some of its outputs."""

    def forward(self, x: Tensor) -> Tensor:
        return self.multiply(x, self.weight, self.bias)

    def rows(self, x: Tensor, rows: slice) -> Tensor:
        """The outputs that these rows of the matrix make."""
        return self.multiply(x, self.weight[rows], None if self.bias is None else self.bias[rows])

    def multiply(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return F.linear(x, weight, bias)


def linear(
    inputs: int, outputs: int, bias: bool = False, zero: bool = False, splits: tuple[int, ...] | None = None
) -> Linear:
    """A linear map from ``inputs`` to ``outputs`` channels.

    ``zero`` initialises it to zero, so that a new block leaves the residual stream unchanged. ``splits`` are the row
    counts of logical matrices stored as one, which an optimizer may treat separately (``weight.row_splits``).
    """
    layer = Linear(inputs, outputs, bias)
    if zero:
        nn.init.zeros_(layer.weight)
    else:
        nn.init.normal_(layer.weight, std=inputs**-0.5)
    if bias:
        nn.init.zeros_(layer.bias)
    if splits:
        layer.weight.row_splits = splits  # type: ignore[attr-defined]
    return layer


def filled(part: Part) -> Part:
    """The part, with the matrices initialised to zero (``output``, ``down``) drawn like the others."""
    for name, layer in part.named_modules():
        if isinstance(layer, Linear) and name.rpartition(".")[2] in ("output", "down"):
            nn.init.normal_(layer.weight, std=layer.in_features**-0.5)
    return part
