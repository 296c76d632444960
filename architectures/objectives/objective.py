"""Objectives: what is hidden in training, how a target is scored exactly, and how one is written.

Targets (b, t) hold no BOS, END where they have one, and padding at the right (``target_mask``, None: none). ``answers``
(v,) marks the tokens that a target may use; probabilities of targets are over these alone.

    target            the  cat  sat  END
    Causal reads      BOS  the  cat  sat         and predicts the row above, left to right
    Masked reads      the  [M]  [M]  END  [M]    and predicts the hidden cells; the canvas goes on past END
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor

from archbench.architectures.components.numbers import Amount, Flops
from archbench.architectures.components.states import Places, States
from archbench.architectures.kernels import cross_entropy
from archbench.architectures.objectives.generate import Decoding

LOGITS = 2**26  # at a time, where a likelihood is computed: 256 MiB in float32


class Pairs(NamedTuple):
    """A batch: source (b, s) and target (b, t) token ids, padded at the right, and their masks (None: no padding)."""

    source: Tensor
    target: Tensor
    source_mask: Tensor | None = None
    target_mask: Tensor | None = None


class Sent(Pairs):
    """A batch on a device; ``masks`` are its two masks in the host's memory, so that nobody waits to read them.

    What is made of it with ``_replace`` has no ``masks`` of its own.
    """

    masks: tuple[Tensor | None, Tensor | None] | None = None

    @classmethod
    def of(cls, pairs: Pairs, masks: tuple[Tensor | None, Tensor | None]) -> Sent:
        sent = cls(*pairs)
        sent.masks = masks
        return sent


class Asked(NamedTuple):
    """What a model reads in training, and what it is to tell: all that a loss takes besides the weights, as tensors.

    ``source`` (b, s) and ``target`` (b, t) with their masks are read as they are. Of the target's states those at
    ``at`` (n,), counted row by row, predict ``labels`` (n,) with ``weights`` (n,) or (1,); likewise, where there are
    any, those of the source.
    """

    source: Tensor
    target: Tensor
    source_mask: Tensor | None
    target_mask: Tensor | None
    at: Tensor
    labels: Tensor
    weights: Tensor
    source_at: Tensor | None = None
    source_labels: Tensor | None = None
    source_weights: Tensor | None = None

    def read(self, model: Any) -> States:
        """The states that are to predict something: (m, d) of the source, (n, d) of the target."""
        at = Places(self.source_at, self.at)
        states: States = model.hidden(self.source, self.target, self.source_mask, self.target_mask, at)
        return states

    def loss(self, model: Any, answers: Tensor, smoothing: float) -> Tensor:
        """The weighted sum of negative log-likelihoods in nats, of the target over ``answers`` (v,)."""
        states = self.read(model)
        loss = loss_of(model, states.target, self.labels, self.weights, answers, smoothing)
        if self.source_labels is None or self.source_weights is None or states.source is None:
            return loss
        return loss + loss_of(model, states.source, self.source_labels, self.source_weights, None, smoothing)


class Objective(Protocol):
    """The training loss, the exact likelihood and the writing of a target, for one way of hiding it.

    ``loss``, ``log_likelihood`` and ``bound`` read targets; ``generate`` gets sources alone, so that no answer can be
    copied from its reference.
    """

    @property
    def estimated(self) -> bool:
        """Whether validation in training takes ``estimate``: the exact likelihood takes a pass for each token."""
        ...

    @property
    def bounded(self) -> bool:
        """Whether the estimate is of a bound on -log p."""
        ...

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
        source: Tensor,
        source_mask: Tensor | None,
        answers: Tensor,
        decoding: Decoding,
        generator: torch.Generator | None = None,
        start: Tensor | None = None,
    ) -> list[Tensor]: ...

    def training_flops(self, model: Any, source: Amount, target: Amount, native: bool) -> Flops: ...

    def loss_tokens(self, source: Amount, target: Amount, model: Any, native: bool) -> Amount: ...

    def answer_flops(self, model: Any, source: Amount, target: Amount) -> Amount: ...

    def estimate(
        self, model: Any, pairs: Pairs, answers: Tensor, generator: torch.Generator, draws: int
    ) -> Tensor | None: ...


@runtime_checkable
class Asks(Protocol):
    """An objective that can say what a loss takes before a model reads it: its loss is that of ``asked``."""

    def asked(self, model: Any, pairs: Pairs, generator: torch.Generator | None, native: bool) -> Asked: ...


def present(pairs: Pairs) -> tuple[Tensor, Tensor]:
    """Which positions of the source (b, s) and of the target (b, t) are real, in the host's memory."""
    sent = pairs.masks if isinstance(pairs, Sent) else None
    held = sent or (pairs.source_mask, pairs.target_mask)
    source, target = (
        torch.ones(tokens.shape, dtype=torch.bool) if mask is None else mask.cpu()
        for tokens, mask in zip((pairs.source, pairs.target), held, strict=True)
    )
    return source, target


def places(chosen: Tensor, like: Tensor) -> Tensor:
    """Positions that are chosen on the host (b, n), counted row by row, as indices (m,) on the device of ``like``."""
    return on_device(chosen.flatten().nonzero().squeeze(1), like)


def on_device(held: Tensor, like: Tensor) -> Tensor:
    """A tensor of the host on the device of ``like``, for which nothing there is waited for."""
    return held.pin_memory().to(like.device, non_blocking=True) if like.is_cuda else held.to(like.device)


def loss_of(
    model: Any, states: Tensor, labels: Tensor, weights: Tensor, answers: Tensor | None, smoothing: float
) -> Tensor:
    """Sum of the negative log-likelihoods of ``labels`` (n,) after ``states`` (n, d), weighted by (n,) or (1,)."""
    product = model.product(states)
    if product is not None:
        vectors, matrix, bias = product
        return cross_entropy.total(vectors, matrix, bias, labels, weights, answers, smoothing)
    return (cross_entropy.plain(model.logits(states), labels, answers, smoothing) * weights).sum()


def in_parts(rows: int, logits: int) -> list[slice]:
    """``rows`` in parts of at most ``LOGITS`` logits, or one row each, where a row has so many."""
    most = max(1, LOGITS // max(1, logits))
    return [slice(begin, begin + most) for begin in range(0, rows, most)]


def log_softmax(logits: Tensor, answers: Tensor) -> Tensor:
    """Log-probabilities (..., v) in float32 over ``answers`` (v,); the rest is impossible."""
    return logits.float().masked_fill(~answers, float("-inf")).log_softmax(-1)


def evenly(labels: Tensor) -> Tensor:
    """The weight (1,) that makes a sum over labels (n,) their mean."""
    return torch.full((1,), 1.0 / max(len(labels), 1), device=labels.device)


def tripled(forward: Flops) -> Flops:
    return Flops(3.0 * forward.executed, 3.0 * forward.model)
