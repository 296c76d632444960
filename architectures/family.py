"""What the three families have in common: how sequences are laid out, what a pass returns, and the key/value cache.

Family modules offer

    hidden(source, target, source_mask, target_mask, at) -> States   the states before the output head, in one pass
    forward(…) -> logits (b, t, v)                               the head applied to the target's states
    prefill(source, source_mask) -> cache                        reads the source
    decode(tokens, cache) -> logits (b, n, v), cache             writes on, ``tokens`` (b, n) start with BOS
    flops(source, target, outputs) -> Flops                      of one forward pass

Masks are True (or 1) at tokens; positions count those, so padding may stand on either side.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from architectures.embedding import Head, Product
from architectures.key_values import KeyValues
from architectures.numbers import Amount
from architectures.stack import Memory, pick


class States(NamedTuple):
    """Hidden states before the head: of the source (b, s, d), where the family has them, of the target (b, t, d)."""

    source: Tensor | None
    target: Tensor

    def at(self, places: "Places | None") -> "States":
        """Those at ``places``: (m, d) of the source and (n, d) of the target; all where there are none."""
        if places is None:
            return self
        source = None if self.source is None or places.source is None else pick(self.source, places.source)
        return States(source, pick(self.target, places.target))


class Places(NamedTuple):
    """Positions of a source (b, s) and of a target (b, t) whose states are asked for, each counted row by row.

    ``source`` (m,), None: none of them; ``target`` (n,). What a model does for nobody else it may then leave out.
    """

    source: Tensor | None
    target: Tensor

    @classmethod
    def whole(cls, target: Tensor) -> "Places":
        """Every position of a target (b, t), and none of the source."""
        return cls(None, torch.arange(target.numel(), device=target.device))

    def joined(self, source: int, target: int, place: Tensor | None = None) -> Tensor:
        """Where they are in ``[source, target]`` of so many positions a row: (m + n,), counted row by row.

        ``place`` (b, source + target) says where in its row each position went.
        """
        found = []
        for index, width, before in ((self.source, source, 0), (self.target, target, source)):
            if index is not None and width:
                row, column = index // width, before + index % width
                column = column if place is None else place[row, column]
                found.append(row * (source + target) + column)
        return torch.cat(found)

    def apart(self, x: Tensor) -> States:
        """States (m + n, d) in the order of ``joined``, apart again."""
        width = len(x) - len(self.target)
        return States(None if self.source is None else x[:width], x[width:])


class Flops(NamedTuple):
    """FLOPs of a forward pass: ``executed`` counts attention as the full rectangle, ``model`` its visible fraction."""

    executed: Amount
    model: Amount


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
        at: Places | None = None,
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
        states = self.hidden(source, target, source_mask, target_mask, Places.whole(target)).target
        return self.logits(states.view(*target.shape, states.shape[-1]))


@dataclass(frozen=True)
class Cache:
    """Keys and values of all that was read and written so far, per row.

    ``layers``: one entry per layer, empty before the first token. ``positions`` (1 or b, n) are those of the keys,
    ``lengths`` (1 or b,) the next position of each row; one row of them serves all where nothing is padded.
    ``present`` (b, n) is False at padding, None where there is none.
    """

    layers: tuple[KeyValues, ...] = ()
    present: Tensor | None = None
    positions: Tensor | None = None
    lengths: Tensor | None = None
    memory: Memory | None = None

    def rows(self, index: Tensor) -> "Cache":
        """The cache of the rows at ``index`` (m,), repeated or left out as it says."""

        def pick(x: Tensor | None, shared: bool = False) -> Tensor | None:
            return x if x is None or shared else x[index]

        even = self.present is None
        memory = None if self.memory is None else self.memory.rows(index)
        layers = tuple(kv.rows(index) for kv in self.layers)
        return Cache(layers, pick(self.present), pick(self.positions, even), pick(self.lengths, even), memory)

    def extend(self, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Positions (1 or b, n) of the new tokens (b, n), positions (1 or b, m + n) and presence of all keys."""
        count = straight(tokens.shape[1], tokens.device)
        if self.positions is None or self.lengths is None:
            return count, count, None
        new = self.lengths[:, None] + count
        present = None
        if self.present is not None:
            present = torch.cat([self.present, torch.ones_like(tokens, dtype=torch.bool)], 1)
        return new, torch.cat([self.positions, new], 1), present


def truth(mask: Tensor | None) -> Tensor | None:
    """A mask of 0 and 1 or of booleans, as booleans."""
    return None if mask is None else mask.bool()


def full(tokens: Tensor, mask: Tensor | None) -> Tensor:
    """``mask`` (b, n), or all True where there is none."""
    return torch.ones_like(tokens, dtype=torch.bool) if mask is None else mask


def count_positions(present: Tensor) -> Tensor:
    """Position of every token (b, n), counted over tokens only; padding in front gets 0."""
    return (present.long().cumsum(1) - 1).clamp(min=0)


def straight(length: int, device: torch.device) -> Tensor:
    """Positions 0, 1, … (1, length), the same for all rows."""
    return torch.arange(length, device=device)[None]


@dataclass(frozen=True)
class Joined:
    """Source and target of each row in one sequence without a gap, padding at the right.

    ``tokens`` (b, s + t); ``place`` (b, s + t) says where each token of ``[source, target]`` went, None: nowhere else.
    """

    tokens: Tensor
    place: Tensor | None
    source_width: int

    def apart(self, x: Tensor) -> States:
        """States (b, s + t, d) of the joined sequence, put back to where their tokens came from."""
        if self.place is not None:
            x = x.gather(1, self.place[..., None].expand(-1, -1, x.shape[-1]))
        return States(x[:, : self.source_width], x[:, self.source_width :])


def join(source: Tensor | None, target: Tensor, source_mask: Tensor | None, target_mask: Tensor | None) -> Joined:
    """Close the gaps: ``[a b . .] + [c d .]`` becomes ``[a b c d . . .]``."""
    width = 0 if source is None else source.shape[1]
    tokens = target if source is None else torch.cat([source, target], 1)
    if source_mask is None and target_mask is None:
        return Joined(tokens, None, width)
    present = full(target, truth(target_mask))
    if source is not None:
        present = torch.cat([full(source, truth(source_mask)), present], 1)
    order = (~present).long().argsort(dim=1, stable=True)
    return Joined(tokens.gather(1, order), order.argsort(1), width)
