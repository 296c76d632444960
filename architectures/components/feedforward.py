"""Feed-forward networks, applied to every position alike; FLOPs are those of a forward pass over ``tokens`` of them."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from archbench.architectures.components.initial import linear
from archbench.architectures.components.numbers import Amount

Activation = Callable[[Tensor], Tensor]


def gelu_tanh(x: Tensor) -> Tensor:
    """``x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x ** 3)))`` of any shape (1606.08415), as in GPT-2."""
    return F.gelu(x, approximate="tanh")


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
        y: Tensor = self.down(self.dropout(self.activated(self.up(x))))
        return y

    def activated(self, x: Tensor) -> Tensor:
        return self.activation(x)

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
        gate, up = self.gate_up(x).chunk(2, -1)
        y: Tensor = self.down(self.dropout(self.activated(gate) * up))
        return y

    def activated(self, x: Tensor) -> Tensor:
        return self.activation(x)

    def flops(self, tokens: Amount) -> Amount:
        return 6.0 * tokens * self.down.in_features * self.down.out_features
