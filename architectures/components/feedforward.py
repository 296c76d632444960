"""Feed-forward networks, applied to every position alike; FLOPs are those of a forward pass over ``tokens`` of them."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from archbench.architectures.components.initial import linear
from archbench.architectures.components.numbers import Amount
from archbench.architectures.kernels.product import Linear, product

Activation = Callable[[Tensor], Tensor]
APART = 256  # rows from which halves that lie by themselves make up for two products instead of one
VECTOR = 32  # bfloat16 numbers that a processor computes at once; the rest of a row it computes one by one


class FeedForward(nn.Module):
    """``down(activation(up(x)))``; ReLU in the first transformer and T5, GELU in GPT-2 and BERT.

    ``nn.Identity()`` as activation makes it linear (an ablation). ``dropout`` applies to the hidden units.
    """

    def __init__(
        self, dim: int, hidden: int, activation: Activation = F.gelu, bias: bool = False, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.activation, self.dropout = activation, nn.Dropout(dropout)
        self.up = linear(dim, hidden, bias)
        self.down = linear(hidden, dim, bias, zero=True)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.down(self.dropout(self.activation(self.up(x))))
        return y

    def flops(self, tokens: Amount) -> Amount:
        return 4.0 * tokens * self.up.in_features * self.up.out_features


class NoFeedForward(nn.Module):
    """Zeros: the output of a block without a feed-forward network (an ablation)."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.zeros_like(x)

    def flops(self, tokens: Amount) -> Amount:
        return 0.0 * tokens


class GatedFeedForward(nn.Module):
    """``down(activation(gate(x)) * up(x))`` (2002.05202); gate and up are one matrix.

    ``dropout`` applies to the hidden units.
    """

    def __init__(
        self, dim: int, hidden: int, activation: Activation = F.silu, bias: bool = False, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.activation, self.dropout = activation, nn.Dropout(dropout)
        self.gate_up = linear(dim, 2 * hidden, bias, splits=(hidden, hidden))
        self.down = linear(hidden, dim, bias, zero=True)

    def forward(self, x: Tensor) -> Tensor:
        if self._is_apart(x):
            weights, bias = self.gate_up.weight.chunk(2), self.gate_up.bias
            biases = (None, None) if bias is None else bias.chunk(2)
            gate, up = (product(x, *half) for half in zip(weights, biases, strict=True))
            hidden = self.activation(gate).mul_(up)
        else:
            gate, up = _halves(self.gate_up(x))
            hidden = self.activation(gate) * up
        y: Tensor = self.down(self.dropout(hidden))
        return y

    def flops(self, tokens: Amount) -> Amount:
        return 6.0 * tokens * self.down.in_features * self.down.out_features

    def _is_apart(self, x: Tensor) -> bool:
        """Whether it is faster to compute gate and up separately: without gradients they are multiplied in place."""
        if torch.is_grad_enabled() or torch.compiler.is_compiling() or x.numel() < APART * x.shape[-1]:
            return False
        layer = self.gate_up
        plain = x.dtype == torch.float32 and x.device.type == "cpu" and not torch.is_autocast_enabled("cpu")
        return plain and type(layer) is Linear and not layer._forward_hooks and not layer._forward_pre_hooks


def _halves(x: Tensor) -> tuple[Tensor, Tensor]:
    """The halves of (..., 2h), each (..., h); on a CPU without rows where these would not fill their vectors."""
    first, second = x.chunk(2, -1)
    ragged = x.device.type == "cpu" and x.dtype == torch.bfloat16 and first.shape[-1] % VECTOR
    return (first.contiguous(), second.contiguous()) if ragged else (first, second)
