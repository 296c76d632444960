"""Division by the root mean square, whose backward pass PyTorch puts together from many small steps on a CPU."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """``x * (mean(x ** 2, -1) + eps) ** -0.5 * weight`` of (..., d) and (d,) (1910.07467)."""
    return written_out(x, weight, eps) if applies(x, weight) else plain(x, weight, eps)


def applies(x: Tensor, weight: Tensor) -> bool:
    """Whether ``written_out`` is faster: with gradients, on a CPU in float32, outside of torch.compile."""
    training = torch.is_grad_enabled() and x.device.type == "cpu" and x.dtype == weight.dtype == torch.float32
    return training and not torch.compiler.is_compiling()


def plain(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    wide = x.to(torch.promote_types(x.dtype, weight.dtype))  # as PyTorch does itself, with a warning
    return F.rms_norm(wide, x.shape[-1:], weight, eps).to(x.dtype)


def written_out(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """The same with the backward pass written out."""
    y: Tensor = _RMSNorm.apply(x, weight, eps)  # type: ignore[no-untyped-call]
    return y


class _RMSNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        scale = x.square().mean(-1, keepdim=True).add_(eps).rsqrt_()
        normed = x * scale
        ctx.save_for_backward(normed, weight, scale)
        y: Tensor = normed * weight
        return y

    @staticmethod
    @once_differentiable
    @torch.autocast("cpu", enabled=False)  # type: ignore[untyped-decorator]
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        normed, weight, scale = ctx.saved_tensors
        along = grad_output * normed
        grad_weight = along.reshape(-1, len(weight)).sum(0)
        drift = (along @ weight)[..., None].mul_(-1 / len(weight))
        grad_x = torch.mul(grad_output, weight, out=along).addcmul_(normed, drift).mul_(scale)
        return grad_x, grad_weight, None
