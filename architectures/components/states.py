"""Hidden states of a source and a target, an index of the ones that are read, and the masks that go with them."""

from typing import NamedTuple

import torch
from torch import Tensor

from archbench.architectures.components.stack import select


class States(NamedTuple):
    """Hidden states before the head: of the source (b, s, d), where the family has them, of the target (b, t, d)."""

    source: Tensor | None
    target: Tensor

    def at(self, index: "StateIndex | None") -> "States":
        """The states at an index: (m, d) of the source and (n, d) of the target; all of them without an index."""
        if index is None:
            return self
        source = None if self.source is None or index.source is None else select(self.source, index.source)
        return States(source, select(self.target, index.target))


class StateIndex(NamedTuple):
    """Flat positions (row * width + column) in a source (b, s) and in a target (b, t) whose states are read.

    ``source`` (m,), None: none of them; ``target`` (n,). A model may leave out what only other states need.
    """

    source: Tensor | None
    target: Tensor

    @classmethod
    def every_target(cls, target: Tensor) -> "StateIndex":
        """Every position of a target (b, t), and none of the source."""
        return cls(None, torch.arange(target.numel(), device=target.device))

    def joined(self, source_width: int, target_width: int, positions: Tensor | None = None) -> Tensor:
        """The same positions, flat (m + n,) in rows ``[source, target]`` (b, source_width + target_width).

        ``positions`` (b, source_width + target_width) says to which column each one moved; None: none moved.
        """
        parts = []
        for index, width, before in ((self.source, source_width, 0), (self.target, target_width, source_width)):
            if index is not None and width:
                row, column = index // width, before + index % width
                column = column if positions is None else positions[row, column]
                parts.append(row * (source_width + target_width) + column)
        return torch.cat(parts) if parts else self.target

    def apart(self, x: Tensor) -> States:
        """States (m + n, d) in the order of ``joined``, apart again."""
        width = len(x) - len(self.target)
        return States(None if self.source is None else x[:width], x[width:])


def as_bool(mask: Tensor | None) -> Tensor | None:
    """A mask of 0 and 1 or of booleans, as booleans."""
    return None if mask is None else mask.bool()


def mask_or_ones(tokens: Tensor, mask: Tensor | None) -> Tensor:
    """``mask`` (b, n), or all True where there is none."""
    return torch.ones_like(tokens, dtype=torch.bool) if mask is None else mask


def position_ids(length: int, device: torch.device) -> Tensor:
    """Positions 0, 1, … (1, length), the same for all rows."""
    return torch.arange(length, device=device)[None]
