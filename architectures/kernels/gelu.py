"""GELU by its approximation with a hyperbolic tangent, which PyTorch computes slowly on a CPU.

``x / 2 * (1 + tanh(u))`` is ``x * sigmoid(2u)``, and the processor's exponential is several times faster than its
hyperbolic tangent. The derivative is made on the way forward, while its parts are at hand, and kept instead of ``x``.
"""

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from archbench.architectures.components.feedforward import FeedForward, GatedFeedForward, gelu_tanh

AT_ONCE = 2**18  # elements, so that intermediate results stay in a processor's cache
LINEAR = 2 * math.sqrt(2 / math.pi)
CUBIC = 0.044715 * LINEAR
_LINEAR = torch.tensor(LINEAR)


def activated(self: FeedForward | GatedFeedForward, x: Tensor) -> Tensor:
    """The activation of a feed-forward network; ``gelu_tanh`` by the exponential function on a CPU."""
    known = self.activation is gelu_tanh and x.device.type == "cpu" and x.dtype in (torch.float32, torch.bfloat16)
    return by_exponential(x) if known else self.activation(x)


def by_exponential(x: Tensor) -> Tensor:
    """``gelu_tanh`` of any shape, in float32 or bfloat16."""
    if not (torch.is_grad_enabled() and x.requires_grad):
        z = x.float()
        return torch.add(_LINEAR, z * z, alpha=CUBIC).mul_(z).sigmoid_().mul_(z).to(x.dtype)
    y: Tensor = _Gelu.apply(x)  # type: ignore[no-untyped-call]
    return y


class _Gelu(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        flat = x.contiguous().view(-1)
        y = torch.empty_like(flat)
        derivative = torch.empty_like(flat)
        buffers = torch.empty(3, min(AT_ONCE, len(flat)))
        for begin in range(0, len(flat), AT_ONCE):
            part = slice(begin, min(begin + AT_ONCE, len(flat)))
            z, square, sigmoid = buffers[:, : part.stop - begin].unbind()
            z.copy_(flat[part])
            torch.mul(z, z, out=square)
            torch.add(_LINEAR, square, alpha=CUBIC, out=sigmoid).mul_(z).sigmoid_()
            y[part] = z.mul_(sigmoid)
            slope = torch.add(_LINEAR, square, alpha=3 * CUBIC, out=square).mul_(z)
            derivative[part] = slope.addcmul_(slope, sigmoid, value=-1).add_(sigmoid)
        ctx.save_for_backward(derivative)
        return y.view(x.shape)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> Tensor:
        (derivative,) = ctx.saved_tensors
        grad_x: Tensor = grad_output * derivative.view(grad_output.shape)
        return grad_x
