"""What the three families have in common.

Family modules offer

    hidden(source, target, source_mask, target_mask, at) -> States   the states before the output head, in one pass
    forward(…) -> logits (b, t, v)                               the head applied to the target's states
    prefill(source, source_mask) -> cache                        reads the source
    decode(tokens, cache) -> logits (b, n, v), cache             writes on, ``tokens`` (b, n) start with BOS
    flops(source, target, outputs) -> Flops                      of one forward pass

Masks are True (or 1) at tokens; positions count those, so padding may stand on either side.
"""

from abc import ABC, abstractmethod

from torch import Tensor, nn

from archbench.architectures.components.embedding import Head, Product
from archbench.architectures.components.states import StateIndex, States


class Family(nn.Module, ABC):
    """A family: it says how states are made, ``hidden``; logits come from them in one way."""

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
        """States of source (b, s) and target (b, t) before the head, in one pass; at some places alone: (m, d) each."""

    def logits(self, states: Tensor) -> Tensor:
        """States (..., d) -> logits (..., v)."""
        y: Tensor = self.head(states)
        return y

    def product(self, states: Tensor) -> Product | None:
        """What the head's last matrix product takes; None where logits are made in a way of the variant's own."""
        head = self.head
        usual = type(self).logits is Family.logits and type(head).forward is Head.forward
        return head.product(states) if usual and not head._forward_hooks and not head._forward_pre_hooks else None

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
