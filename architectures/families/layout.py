"""The layout of source and target in a pass: positions count tokens only, and both are joined without a gap."""

from dataclasses import dataclass

import torch
from torch import Tensor

from archbench.architectures.components.states import States, as_bool, mask_or_ones


def count_positions(present: Tensor) -> Tensor:
    """Position of every token (b, n), counted over tokens only; left padding gets 0."""
    return (present.long().cumsum(1) - 1).clamp(min=0)


@dataclass(frozen=True)
class Joined:
    """Source and target of each row in one sequence without gaps, padded at the right.

    ``tokens`` (b, s + t); ``positions`` (b, s + t) says to which column each token of ``[source, target]`` moved, and
    ``present`` (b, s + t) where there is no padding; None: no token moved. ``source_width`` is s.
    """

    tokens: Tensor
    positions: Tensor | None
    present: Tensor | None
    source_width: int

    def apart(self, x: Tensor) -> States:
        """States (b, s + t, d) of the joined sequence, moved back to the original positions of their tokens."""
        if self.positions is not None:
            x = x.gather(1, self.positions[..., None].expand(-1, -1, x.shape[-1]))
        return States(x[:, : self.source_width], x[:, self.source_width :])


def concatenated(
    source: Tensor | None, target: Tensor, source_mask: Tensor | None, target_mask: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    """``[source, target]`` as one sequence (b, s + t), and where it is not padding (b, s + t), None: everywhere."""
    tokens = target if source is None else torch.cat([source, target], 1)
    if source_mask is None and target_mask is None:
        return tokens, None
    present = mask_or_ones(target, as_bool(target_mask))
    if source is not None:
        present = torch.cat([mask_or_ones(source, as_bool(source_mask)), present], 1)
    return tokens, present


def join(source: Tensor | None, target: Tensor, source_mask: Tensor | None, target_mask: Tensor | None) -> Joined:
    """Close the gaps: ``[a b . .] + [c d .]`` becomes ``[a b c d . . .]``."""
    width = 0 if source is None else source.shape[1]
    tokens, present = concatenated(source, target, source_mask, target_mask)
    if present is None:
        return Joined(tokens, None, None, width)
    order = (~present).long().argsort(dim=1, stable=True)
    return Joined(tokens.gather(1, order), order.argsort(1), present.gather(1, order), width)
