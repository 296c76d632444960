"""Rotation of query and key channels; its backward pass is the rotation back."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def rotated(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate channel i with channel i + head_dim / 2 (b, h, n, e), as Llama lays them out.

    ``cos`` and ``sin`` (1 or b, 1, n, e) have the same halves and are not trained.
    """
    single = x.shape[2] == 1 and not torch.is_grad_enabled()
    if single or torch.compiler.is_compiling():
        half = x.shape[-1] // 2
        return x * cos.to(x.dtype) + torch.cat([-x[..., half:], x[..., :half]], -1) * sin.to(x.dtype)
    y: Tensor = _Rotation.apply(x, cos.to(x.dtype), sin.to(x.dtype))  # type: ignore[no-untyped-call]
    return y


class _Rotation(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        context.save_for_backward(cos, sin)
        return _rotate(x, cos, sin)

    @staticmethod
    @once_differentiable
    def backward(context: Any, above: Tensor) -> tuple[Tensor, None, None]:
        cos, sin = context.saved_tensors
        return _rotate(above, cos, -sin), None, None


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
