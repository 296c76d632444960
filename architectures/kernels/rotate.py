"""Rotation of query and key channels; its backward pass is the rotation back."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def rotated(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate channel i with channel i + head_dim / 2 (b, h, n, e), as Llama lays them out.

    ``cos`` and ``sin`` (1 or b, 1, n, e) have the same halves and are not trained.
    """
    run = written_out if applies(x) else plain
    return run(x, cos.to(x.dtype), sin.to(x.dtype))


def applies(x: Tensor) -> bool:
    """Whether ``written_out`` is faster: for more than single positions, outside of torch.compile."""
    single = x.shape[2] == 1 and not torch.is_grad_enabled()
    return not (single or torch.compiler.is_compiling())


def plain(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    half = x.shape[-1] // 2
    return x * cos + torch.cat([-x[..., half:], x[..., :half]], -1) * sin


def written_out(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """The same in place of its own result, with the backward pass written out."""
    y: Tensor = _Rotation.apply(x, cos, sin)  # type: ignore[no-untyped-call]
    return y


class _Rotation(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        ctx.save_for_backward(cos, sin)
        return _rotate(x, cos, sin)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor, None, None]:
        cos, sin = ctx.saved_tensors
        return _rotate(grad_output, cos, -sin), None, None


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    half = x.shape[-1] // 2
    y = x * cos
    if x.dtype == torch.bfloat16:
        y[..., :half].addcmul_(x[..., half:], sin[..., :half], value=-1)
        y[..., half:].addcmul_(x[..., :half], sin[..., half:])
    else:  # a fused multiply-add would round differently from Llama's
        y[..., :half] -= x[..., half:] * sin[..., :half]
        y[..., half:] += x[..., :half] * sin[..., half:]
    return y
