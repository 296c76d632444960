"""Objectives: what is hidden in training, how a target is scored exactly, and how one is written.

Targets (b, t) hold no BOS, END where they have one, and padding at the right (``target_mask``, None: none). ``answers``
(v,) marks the tokens that a target may use; probabilities of targets are over these alone.

    target            the  cat  sat  END
    Causal reads      BOS  the  cat  sat         and predicts the row above, left to right
    Masked reads      the  [M]  [M]  END  [M]    and predicts the hidden cells; the canvas goes on past END
"""

from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from architectures import cross_entropy
from architectures.family import Flops
from architectures.generate import Decoding
from architectures.numbers import Amount


class Pairs(NamedTuple):
    """A batch: source (b, s) and target (b, t) token ids, padded at the right, and their masks (None: no padding)."""

    source: Tensor
    target: Tensor
    source_mask: Tensor | None = None
    target_mask: Tensor | None = None


class Objective(Protocol):
    """The training loss, the exact likelihood and the writing of a target, for one way of hiding it."""

    bounded: bool

    def loss(
        self,
        model: Any,
        pairs: Pairs,
        answers: Tensor,
        generator: torch.Generator | None = None,
        native: bool = False,
        smoothing: float = 0.0,
    ) -> Tensor: ...

    def log_likelihood(self, model: Any, pairs: Pairs, answers: Tensor) -> tuple[Tensor, Tensor]: ...

    def shown(self, model: Any, pairs: Pairs) -> Pairs: ...

    def generate(
        self,
        model: Any,
        pairs: Pairs,
        answers: Tensor,
        decoding: Decoding,
        generator: torch.Generator | None = None,
        start: Tensor | None = None,
    ) -> list[Tensor]: ...

    def training_flops(self, model: Any, source: Amount, target: Amount, native: bool) -> Flops: ...

    def loss_tokens(self, source: Amount, target: Amount, model: Any, native: bool) -> Amount: ...

    def answer_flops(self, model: Any, source: Amount, target: Amount) -> Amount: ...

    def bound(
        self, model: Any, pairs: Pairs, answers: Tensor, generator: torch.Generator, draws: int
    ) -> Tensor | None: ...


def select(x: Tensor, mask: Tensor | None) -> Tensor:
    """The real positions of (b, t, …) in one row (n, …)."""
    return x.flatten(0, 1) if mask is None else x[mask]


def loss_of(
    model: Any, states: Tensor, labels: Tensor, weights: Tensor, answers: Tensor | None, smoothing: float
) -> Tensor:
    """Sum of the negative log-likelihoods of ``labels`` (n,) after ``states`` (n, d), weighted by (n,) or (1,)."""
    product = model.product(states)
    if product is not None:
        vectors, matrix, bias = product
        return cross_entropy.total(vectors, matrix, bias, labels, weights, answers, smoothing)
    return (cross_entropy.plain(model.logits(states), labels, answers, smoothing) * weights).sum()


def log_softmax(logits: Tensor, answers: Tensor) -> Tensor:
    """Log-probabilities (..., v) in float32 over ``answers`` (v,); the rest is impossible."""
    return logits.float().masked_fill(~answers, float("-inf")).log_softmax(-1)


def tripled(forward: Flops) -> Flops:
    return Flops(3.0 * forward.executed, 3.0 * forward.model)
