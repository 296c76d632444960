"""A mixture of experts in the place of a feed-forward network."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from archbench.architectures.components.feedforward import GatedFeedForward
from archbench.architectures.components.initial import linear
from archbench.architectures.components.numbers import Amount

Balance = Callable[[Tensor, Tensor], Tensor]


class Experts(nn.Module):
    """The likeliest of ``count`` networks for each token, times its probability (2101.03961).

    ``balance(probabilities, chosen)`` is a loss in nats a token that training adds: of the probabilities (n, count)
    and the numbers of the chosen experts (n,). Padding is among the n tokens.
    """

    def __init__(self, dim: int, hidden: int, count: int = 4, balance: Balance | None = None) -> None:
        super().__init__()
        self.router, self.balance = linear(dim, count), balance
        self.experts = nn.ModuleList(GatedFeedForward(dim, hidden) for _ in range(count))
        self.extra_loss: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.flatten(0, -2)  # (b, t, d) or (m, d) -> (n, d)
        probabilities = self.router(tokens).softmax(-1)
        probability, chosen = probabilities.max(-1)
        if self.balance is not None and self.training:
            self.extra_loss = self.balance(probabilities, chosen)
        y = torch.zeros_like(tokens)
        for number, expert in enumerate(self.experts):
            at = (chosen == number).nonzero().squeeze(1)
            y = y.index_add(0, at, (expert(tokens[at]) * probability[at, None]).to(y.dtype))
        return y.view_as(x)

    def flops(self, tokens: Amount) -> Amount:
        """FLOPs of a forward pass: of the router, and of one expert for each token."""
        one: GatedFeedForward = self.experts[0]  # type: ignore[assignment]
        return 2.0 * tokens * self.router.weight.numel() + one.flops(tokens)


def switch_balance(probabilities: Tensor, chosen: Tensor, weight: float = 0.01) -> Tensor:
    """The Switch Transformer's loss: number of experts * sum of (share of tokens * mean probability), times a weight.

    It is least, ``weight``, where all experts are equally likely (2101.03961).
    """
    count = probabilities.shape[-1]
    shares = torch.bincount(chosen, minlength=count) / len(chosen)
    return weight * count * (shares * probabilities.mean(0)).sum()
