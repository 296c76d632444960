"""The decoding cache: keys and values, or another state, of all tokens read and generated so far."""

from dataclasses import dataclass

import torch
from torch import Tensor

from archbench.architectures.components.key_values import LayerState
from archbench.architectures.components.stack import CrossAttentionCache
from archbench.architectures.components.states import position_ids


@dataclass(frozen=True)
class Cache:
    """State that attention keeps of all previous tokens, per row.

    ``layers``: the state of each layer, empty before the first token. ``positions`` (1 or b, n) are those of the keys,
    ``lengths`` (1 or b,) the next position of each row; one row serves all if there is no padding.
    ``present`` (b, n) is False at padding; None: no padding.
    """

    layers: tuple[LayerState, ...] = ()
    present: Tensor | None = None
    positions: Tensor | None = None
    lengths: Tensor | None = None
    memory: CrossAttentionCache | None = None

    def rows(self, index: Tensor) -> "Cache":
        """The cache of the rows at ``index`` (m,), which may repeat or omit rows."""

        def select(x: Tensor | None, shared: bool = False) -> Tensor | None:
            return x if x is None or shared else x[index]

        even = self.present is None
        memory = None if self.memory is None else self.memory.rows(index)
        layers = tuple(state.rows(index) for state in self.layers)
        return Cache(layers, select(self.present), select(self.positions, even), select(self.lengths, even), memory)

    def extend(self, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Positions (1 or b, n) of the new tokens (b, n), positions (1 or b, m + n) and presence of all keys."""
        count = position_ids(tokens.shape[1], tokens.device)
        if self.positions is None or self.lengths is None:
            return count, count, None
        new = self.lengths[:, None] + count
        present = None
        if self.present is not None:
            present = torch.cat([self.present, torch.ones_like(tokens, dtype=torch.bool)], 1)
        return new, torch.cat([self.positions, new], 1), present
