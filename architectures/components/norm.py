"""Normalisation, and how a sublayer is wired to the residual stream.

A wiring has two steps around a sublayer ``f``: ``after(x, f(before(x)))``.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Norm = Callable[[int], nn.Module]


class LayerNorm(nn.Module):
    """Subtracts the mean and divides by the standard deviation over channels (1607.06450)."""

    def __init__(self, dim: int, bias: bool = False, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(dim))
        self.bias = nn.Parameter(torch.zeros(dim)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, x.shape[-1:], self.weight, self.bias, self.eps)


class RMSNorm(nn.Module):
    """Divides by the root mean square over channels (1910.07467)."""

    def __init__(self, dim: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        wide = x.to(torch.promote_types(x.dtype, self.weight.dtype))  # as PyTorch does itself, with a warning
        return F.rms_norm(wide, x.shape[-1:], self.weight, self.eps).to(x.dtype)


class PreNorm(nn.Module):
    """``x + f(norm(x))`` (2002.04745)."""

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.norm = norm

    def before(self, x: Tensor) -> Tensor:
        y: Tensor = self.norm(x)
        return y

    def after(self, x: Tensor, y: Tensor) -> Tensor:
        return x + y


class PostNorm(nn.Module):
    """``norm(x + f(x))``, as in the first transformer (1706.03762)."""

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.norm = norm

    def before(self, x: Tensor) -> Tensor:
        return x

    def after(self, x: Tensor, y: Tensor) -> Tensor:
        z: Tensor = self.norm(x + y)
        return z


class NoNorm(nn.Module):
    """``x + f(x)``; the norm that is handed in is dropped."""

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()

    def before(self, x: Tensor) -> Tensor:
        return x

    def after(self, x: Tensor, y: Tensor) -> Tensor:
        return x + y


class NoResidual(nn.Module):
    """``f(norm(x))``: nothing goes around the sublayer (an ablation; 2103.03404 says what becomes of the ranks).

    A sublayer that starts at zero then passes nothing on, and learns nothing: see ``components.initial.filled``.
    """

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.norm = norm

    def before(self, x: Tensor) -> Tensor:
        y: Tensor = self.norm(x)
        return y

    def after(self, x: Tensor, y: Tensor) -> Tensor:
        return y


Wiring = Callable[[nn.Module], PreNorm | PostNorm | NoNorm | NoResidual]
