"""Division by the root mean square, whose backward pass PyTorch puts together from many small steps on a CPU."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from archbench.architectures.components.norm import RMSNorm


def forward(self: RMSNorm, x: Tensor) -> Tensor:
    """``RMSNorm.forward``; where gradients are needed, on a CPU in float32, with the backward pass written out."""
    same = x.dtype == self.weight.dtype == torch.float32
    if not (torch.is_grad_enabled() and x.device.type == "cpu" and same):
        return RMSNorm.forward(self, x)
    y: Tensor = _RMSNorm.apply(x, self.weight, self.eps)  # type: ignore[no-untyped-call]
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
