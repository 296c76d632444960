"""Matrix products with weights, by the library that is faster for them."""

import functools
import math
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import register_flop_formula

WORTH = 500_000  # multiplications from which oneDNN is faster
ROWS = 8


def product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``x @ weight.T + bias`` of (..., d), (v, d) and (v,), in every way ``F.linear`` but for its last bits.

    On processors for which MKL, that PyTorch multiplies float32 with, keeps to its slow paths, oneDNN multiplies where
    no gradient is wanted.
    """
    if _takes_onednn(x, weight):
        y: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
        return y
    return F.linear(x, weight, bias)


class Linear(nn.Linear):
    """``nn.Linear`` that multiplies by ``product``."""

    def forward(self, x: Tensor) -> Tensor:
        return product(x, self.weight, self.bias)


def _takes_onednn(x: Tensor, weight: Tensor) -> bool:
    rows = x.numel() // max(x.shape[-1], 1)
    return (
        rows >= ROWS
        and rows * weight.numel() >= WORTH
        and x.dtype == weight.dtype == torch.float32
        and x.device.type == "cpu"
        and not torch.is_grad_enabled()
        and not torch.is_autocast_enabled("cpu")
        and onednn_is_faster()
    )


@functools.cache
def onednn_is_faster() -> bool:
    """Whether this is a processor for which MKL is slow (any but Intel's), and oneDNN is there."""
    try:
        told = Path("/proc/cpuinfo").read_text()
    except OSError:
        return False
    there = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return "AuthenticAMD" in told and there and hasattr(torch.ops.mkldnn, "_linear_pointwise")


if hasattr(torch.ops.mkldnn, "_linear_pointwise"):

    @register_flop_formula(torch.ops.mkldnn._linear_pointwise)
    def _flops(x: Sequence[int], weight: Sequence[int], *rest: object, **more: object) -> int:
        """What PyTorch counts for ``F.linear``."""
        return 2 * math.prod(x) * weight[0]
