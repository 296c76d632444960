"""Feed-forward networks, applied to every position alike; FLOPs are those of a forward pass over ``tokens`` of them."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from architectures.initial import linear
from architectures.numbers import Amount
from architectures.product import Linear, activated, product

Activation = Callable[[Tensor], Tensor]
VECTOR = 32  # bfloat16 numbers that a processor computes at once; the rest of a row it computes one by one


class FeedForward(nn.Module):
    """``down(activation(up(x)))``; ReLU in the first transformer and T5, GELU in GPT-2 and BERT.

    ``nn.Identity()`` as activation makes it linear (an ablation). ``dropout`` is that of the hidden units.
    """

    def __init__(
        self, dim: int, hidden: int, activation: Activation = F.gelu, bias: bool = False, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.activation, self.dropout = activation, nn.Dropout(dropout)
        self.up = linear(dim, hidden, bias)
        self.down = linear(hidden, dim, bias, zero=True)

    def forward(self, x: Tensor) -> Tensor:
        hidden = _activated(x, self.up, self.activation)
        if hidden is None:
            hidden = self.activation(self.up(x))
        y: Tensor = self.down(self.dropout(hidden))
        return y

    def flops(self, tokens: Amount) -> Amount:
        return 4.0 * tokens * self.up.in_features * self.up.out_features


class NoFeedForward(nn.Module):
    """Nothing: what a block without a feed-forward network adds to the residual stream (an ablation)."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.zeros_like(x)

    def flops(self, tokens: Amount) -> Amount:
        return 0.0 * tokens


class GatedFeedForward(nn.Module):
    """``down(activation(gate(x)) * up(x))`` (2002.05202); gate and up are one matrix product.

    ``dropout`` is that of the hidden units.
    """

    def __init__(
        self, dim: int, hidden: int, activation: Activation = F.silu, bias: bool = False, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.activation, self.dropout = activation, nn.Dropout(dropout)
        self.gate_up = linear(dim, 2 * hidden, bias, splits=(hidden, hidden))
        self.down = linear(hidden, dim, bias, zero=True)

    def forward(self, x: Tensor) -> Tensor:
        count = self.down.in_features
        hidden = _activated(x, self.gate_up, self.activation, count)
        if hidden is None:
            gate, up = _halves(self.gate_up(x))
            hidden = self.activation(gate) * up
        else:
            weight, bias = self.gate_up.weight, self.gate_up.bias
            hidden.mul_(product(x, weight[count:], None if bias is None else bias[count:]))
        y: Tensor = self.down(self.dropout(hidden))
        return y

    def flops(self, tokens: Amount) -> Amount:
        return 6.0 * tokens * self.down.in_features * self.down.out_features


def _activated(x: Tensor, layer: nn.Module, activation: Activation, count: int | None = None) -> Tensor | None:
    """The first ``count`` outputs of a layer, activated in one go, where nobody watches it and that is faster."""
    if torch.is_grad_enabled() or type(layer) is not Linear or layer._forward_hooks or layer._forward_pre_hooks:
        return None
    return activated(x, layer.weight[:count], None if layer.bias is None else layer.bias[:count], activation)


def _halves(x: Tensor) -> tuple[Tensor, Tensor]:
    """The halves of (..., 2h), each (..., h); on a CPU without rows where these would not fill their vectors."""
    first, second = x.chunk(2, -1)
    ragged = x.device.type == "cpu" and x.dtype == torch.bfloat16 and first.shape[-1] % VECTOR
    return (first.contiguous(), second.contiguous()) if ragged else (first, second)
