"""Writing from memory that stays where it is: every step reads and writes the same places, so that it can be recorded.

Each step looks at all of the memory, what is not yet written hidden by causality, and so computes more than one that
looks at what there is. Where kernels are small that takes no time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from architectures.attention import Attention, View
from architectures.cache import Cache
from architectures.family import Family, Writer
from architectures.key_values import Slots
from architectures.stack import Block, Memory, Stack


@dataclass(frozen=True)
class Fixed:
    """Keys and values (b, kv_heads, capacity, head_dim) of each layer, and what hides and places them.

    ``places`` (1 or b, capacity) are the positions of all keys, those to come too, ``lengths`` (1 or b,) the next
    position of each row when ``filled`` places were filled; ``present`` (b, capacity) is False at padding.
    """

    model: Family
    writer: Writer
    layers: tuple[tuple[Tensor, Tensor], ...]
    places: Tensor
    lengths: Tensor
    filled: int
    present: Tensor | None
    memory: Memory | None

    @classmethod
    def of(cls, model: Any, cache: Any, room: int) -> Fixed | None:
        """A cache that something was written to, with ``room`` for more; None where a model writes in another way."""
        writer = model.writer() if isinstance(model, Family) else None
        known = isinstance(cache, Cache) and cache.positions is not None and cache.lengths is not None
        if writer is None or not known or not _is_usual(model, writer):
            return None
        places, lengths = cache.positions, cache.lengths
        later = lengths[:, None] + torch.arange(room, device=places.device)
        present = cache.present
        if present is not None:
            present = torch.cat([present, present.new_ones(len(present), room)], 1)
        layers = tuple((_longer(layer.keys, room), _longer(layer.values, room)) for layer in cache.layers)
        whole = torch.cat([places, later], 1)
        return cls(model, writer, layers, whole, lengths, places.shape[1], present, cache.memory)

    def decode(self, tokens: Tensor, at: Tensor) -> Tensor:
        """Write tokens (b, 1) to the place ``at`` (1,), the first after all that are filled -> logits (b, 1, v)."""
        new = self.lengths[:, None] + (at - self.filled)
        geometry = self.writer.positions(new, self.places)
        view = View(new, self.places, causal=True, present=self.present, rotation=geometry.rotation, bias=geometry.bias)
        layers: Any = [Slots(keys, values, at) for keys, values in self.layers]
        x, _ = self.writer.stack(self.writer.embedding(tokens, geometry.added), view, layers, self.memory)
        return self.model.logits(x)


def _is_usual(model: Family, writer: Writer) -> bool:
    """Whether a model writes as its family does, and looks at no place that a view hides, as ``Attention`` does."""
    if _owner(model, "decode") is not _owner(model, "writer") or type(writer.stack).forward is not Stack.forward:
        return False
    attentions = [block.attention if isinstance(block, Block) else None for block in writer.stack.blocks]
    return all(isinstance(each, Attention) and type(each).forward is Attention.forward for each in attentions)


def _owner(model: Family, method: str) -> type | None:
    """The class that a method of the model comes from."""
    return next((kind for kind in type(model).__mro__ if method in vars(kind)), None)


def _longer(x: Tensor, room: int) -> Tensor:
    """(b, h, n, e) with ``room`` zeros behind: what is hidden still has to be a number."""
    y = x.new_zeros(*x.shape[:2], x.shape[2] + room, x.shape[3])
    y[:, :, : x.shape[2]] = x
    return y
