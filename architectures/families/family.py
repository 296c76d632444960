"""The interface of all families, which training, scoring and generation use.

A family offers

    hidden(source, target, source_mask, target_mask, at) -> States   the states before the output head, in one pass
    forward(…) -> logits (b, t, v)                               the head applied to the target's states
    prefill(source, source_mask) -> cache                        reads the source
    decode(tokens, cache) -> logits (b, n, v), cache             writes on, ``tokens`` (b, n) start with BOS
    flops(source, target, outputs) -> Flops                      of one forward pass

Masks are True (or 1) at tokens; positions count those, so padding may stand on either side.
"""

from abc import ABC, abstractmethod
from typing import Any

from torch import Tensor, nn

from archbench.architectures.components.embedding import Head, Targets, cross_entropy
from archbench.architectures.components.numbers import Amount, Flops
from archbench.architectures.components.states import StateIndex, States
from archbench.architectures.objectives.objective import Objective


class Family(nn.Module, ABC):
    """A family: how a model reads a source and predicts a target. A variant may define its own family.

    ``family`` is its name in reports, ``objective`` what it is trained and scored by. ``causal``: a target is read from
    left to right, not as a canvas whose cells see each other. ``source_predicts``: states of the source come with those
    of the target and may have a loss. ``hidden`` makes states; logits come from them in one way.
    """

    family: str
    causal: bool = True
    source_predicts: bool = False
    objective: Objective
    head: Head

    @abstractmethod
    def hidden(
        self,
        source: Tensor | None,
        target: Tensor,
        source_mask: Tensor | None = None,
        target_mask: Tensor | None = None,
        at: StateIndex | None = None,
    ) -> States:
        """States of source (b, s, d) and target (b, t, d) before the head, in one pass; (m, d) each with ``at``."""

    @abstractmethod
    def prefill(self, source: Tensor | None, source_mask: Tensor | None = None) -> Any:
        """Read a source (b, s) -> a cache with ``rows(index)``, from which a target is decoded."""

    @abstractmethod
    def decode(self, tokens: Tensor, cache: Any) -> tuple[Tensor, Any]:
        """Append tokens (b, n), BOS first -> logits (b, n, v) of the next tokens, and the longer cache."""

    @abstractmethod
    def flops(self, source: Amount, target: Amount, outputs: Amount) -> Flops:
        """FLOPs of a forward pass over ``source`` and ``target`` positions with logits at ``outputs`` of them."""

    def logits(self, states: Tensor) -> Tensor:
        """States (..., d) -> logits (..., v), for training, scoring and generation: override it to change logits."""
        y: Tensor = self.head(states)
        return y

    def loss(self, states: Tensor, targets: Targets) -> Tensor:
        """The weighted sum of the negative log-likelihoods of ``targets`` after states (n, d)."""
        if type(self).logits is Family.logits and type(self.head).forward is Head.forward:
            total: Tensor = self.head(states, targets)
            return total
        labels, weights, allowed_tokens, smoothing = targets  # the variant computes logits in its own way
        return (cross_entropy(self.logits(states), labels, allowed_tokens, smoothing) * weights).sum()

    def forward(
        self,
        source: Tensor | None,
        target: Tensor,
        source_mask: Tensor | None = None,
        target_mask: Tensor | None = None,
    ) -> Tensor:
        """Logits (b, t, v): at ``i`` of token ``i + 1`` of the target, or of cell ``i`` of an encoder's canvas."""
        states = self.hidden(source, target, source_mask, target_mask, StateIndex.every_target(target)).target
        return self.logits(states.view(*target.shape, states.shape[-1]))
