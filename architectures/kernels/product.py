"""Matrix products with weights, by the library that is faster for them, and in few shapes.

oneDNN, which multiplies on a CPU, writes machine code for every shape that it meets: 0.3 to 0.5 ms a product, more than
a small product takes. Batches of text hardly ever repeat their shape, so rows are rounded up.
"""

import functools
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from archbench.architectures.kernels.weight_prepack import is_packing, packed

WORTH = 500_000  # multiplications from which oneDNN is faster
ROWS = 8
ROUND = 64  # rows of a product by oneDNN are a multiple of this
FEW = 8  # or, where there are at most ``ROUND``, of this
WHEN = "on a CPU: bfloat16 autocast, or float32 without gradients where oneDNN is faster"
LARGE = 2**29  # multiplications in bfloat16, from which copying the rows costs more than code for another shape


def product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``x @ weight.T + bias`` of (..., d), (v, d) and (v,), equal to ``F.linear`` except for rounding.

    PyTorch multiplies float32 with MKL, which uses slow code on some processors; there, oneDNN multiplies when no
    gradient is needed. For oneDNN, rows are padded with zeros to a multiple of ``ROUND`` or ``FEW``, except for
    ``LARGE`` products in bfloat16.
    """
    if bf16_applies(x, weight):
        return product_bf16(x, weight, bias)
    if onednn_applies(x, weight):
        return product_onednn(x, weight, bias)
    return F.linear(x, weight, bias)


def multiply(self: nn.Module, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """``product``, as the method of a module."""
    return product(x, weight, bias)


def bf16_applies(x: Tensor, weight: Tensor) -> bool:
    """True where ``product_bf16`` is faster: in bfloat16 on a CPU, with rows that are to be rounded up."""
    if not in_bf16(x):
        return False
    rows = _rows(x)
    return rows % ROUND != 0 and rows * weight.numel() < LARGE


def product_bf16(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """The product in bfloat16, with rows of zeros up to a multiple of ``ROUND`` or ``FEW``."""
    y: Tensor = _Rounded.apply(x, weight, bias)  # type: ignore[no-untyped-call]
    return y


def onednn_applies(x: Tensor, weight: Tensor) -> bool:
    """True where oneDNN may be faster than PyTorch's own choice: float32 on its CPUs, without gradients."""
    return (
        x.dtype == weight.dtype == torch.float32
        and x.device.type == "cpu"
        and not torch.is_grad_enabled()
        and not torch.is_autocast_enabled("cpu")
        and onednn_is_faster()
    )


def product_onednn(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """The product by oneDNN, of enough rows or with a packed weight; a single row with the transposed matrix."""
    rows = _rows(x)
    pack = packed(weight, rows) if rows and is_packing() else None
    if pack is not None and rows == 1:
        row = x.reshape(1, -1)
        return (row @ pack if bias is None else torch.addmm(bias, row, pack)).view(*x.shape[:-1], -1)
    if pack is None and (rows < ROWS or rows * weight.numel() < WORTH):
        return F.linear(x, weight, bias)
    added = _whole(rows) - rows
    filled = F.pad(x.reshape(rows, -1), (0, 0, 0, added)) if added else x
    matrix = weight if pack is None else pack
    dense = None if bias is None else bias.contiguous()  # oneDNN may read past the strides of a bias
    y: Tensor = torch.ops.mkldnn._linear_pointwise(filled, matrix, dense, "none", [], "")
    return y[:rows].view(*x.shape[:-1], len(weight)) if added else y


def in_bf16(x: Tensor) -> bool:
    """True if products of ``x`` are computed in bfloat16 on a CPU."""
    on = x.device.type == "cpu" and torch.is_autocast_enabled("cpu")
    return on and torch.get_autocast_dtype("cpu") == torch.bfloat16


def rounded(x: Tensor, rows: int) -> Tensor:
    """``x`` (..., d), ``rows`` rows in all, in bfloat16, with rows of zeros up to a multiple: (n, d)."""
    whole = _whole(rows)
    if x.dtype == torch.bfloat16 and rows == whole and x.is_contiguous():
        return x.view(rows, x.shape[-1])
    y = torch.empty(whole, x.shape[-1], dtype=torch.bfloat16)
    y[:rows].view(x.shape).copy_(x)
    y[rows:].zero_()
    return y


def _rows(x: Tensor) -> int:
    """Rows of (..., d)."""
    return x.numel() // max(x.shape[-1], 1)


def _whole(rows: int) -> int:
    """``rows`` rounded up to a multiple of ``ROUND``, or of ``FEW``."""
    multiple = ROUND if rows > ROUND else FEW
    return -(-rows // multiple) * multiple


class _Rounded(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        rows = _rows(x)
        left, right = rounded(x, rows), weight.to(torch.bfloat16)
        y = left @ right.mT if bias is None else torch.addmm(bias.to(torch.bfloat16), left, right.mT)
        ctx.save_for_backward(left, right)
        ctx.dtypes = x.dtype, weight.dtype, None if bias is None else bias.dtype
        return y[:rows].view(*x.shape[:-1], len(weight))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        left, right = ctx.saved_tensors
        dtype, weight_dtype, bias_dtype = ctx.dtypes
        rows = _rows(grad_output)
        grad_rows = rounded(grad_output, rows)
        grad_x, grad_weight, grad_bias = None, None, None
        if ctx.needs_input_grad[0]:
            grad_x = (grad_rows @ right)[:rows].view(*grad_output.shape[:-1], right.shape[1]).to(dtype)
        if ctx.needs_input_grad[1]:
            grad_weight = (grad_rows.mT @ left).to(weight_dtype)
        if bias_dtype is not None and ctx.needs_input_grad[2]:
            grad_bias = grad_rows.sum(0, dtype=torch.float32).to(bias_dtype)
        return grad_x, grad_weight, grad_bias


@functools.cache
def onednn_is_faster() -> bool:
    """True on AMD's processors, where MKL is slow, if oneDNN is available."""
    try:
        cpuinfo = Path("/proc/cpuinfo").read_text()
    except OSError:
        return False
    has_onednn = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return "AuthenticAMD" in cpuinfo and has_onednn and hasattr(torch.ops.mkldnn, "_linear_pointwise")
