"""Keys and values that are kept for later queries."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import torch
from torch import Tensor

STEP = 16  # positions by which the buffer grows: few stay unused, and it is seldom copied


class LayerState(Protocol):
    """The state of a layer after the tokens so far: ``KeyValues``, or one of other shapes, as of a recurrence.

    ``rows(index)`` is the state of the rows at ``index`` (m,), which may repeat or omit rows. States are immutable:
    decoding may go on from one of them several times.
    """

    def rows(self, index: Tensor, /) -> LayerState: ...


class KeyValueBuffer:
    """Memory (b, heads, capacity, width) for keys and values; the first ``filled`` positions are used.

    The rest has arbitrary finite values.
    """

    def __init__(self, keys: Tensor, values: Tensor, filled: int) -> None:
        self.keys, self.values, self.filled = keys, values, filled

    @classmethod
    def with_capacity(cls, keys: Tensor, values: Tensor, positions: int) -> KeyValueBuffer:
        """A buffer with room for at least ``positions`` positions that begins with these keys and values."""
        capacity = -(-positions // STEP) * STEP
        more_keys, more_values = (x.new_empty(*x.shape[:2], capacity, x.shape[3]) for x in (keys, values))
        buffer = cls(more_keys, more_values, 0)
        buffer.add(keys, values)
        buffer.keys[:, :, buffer.filled :] = 0.0
        buffer.values[:, :, buffer.filled :] = 0.0
        return buffer

    def add(self, keys: Tensor, values: Tensor) -> None:
        end = self.filled + keys.shape[2]
        self.keys[:, :, self.filled : end] = keys
        self.values[:, :, self.filled : end] = values
        self.filled = end

    def fits(self, begin: int, end: int) -> bool:
        """True if positions ``begin`` to ``end`` fit and are the next free ones, unused by another cache."""
        return self.filled == begin and end <= self.keys.shape[2]

    def rows(self, index: Tensor, end: int) -> KeyValueBuffer:
        """A separate buffer with the rows at ``index`` (m,), up to ``end``."""
        return KeyValueBuffer(self.keys[index], self.values[index], end)

    def until(self, end: int) -> KeyValues:
        return KeyValues(self.keys[:, :, :end], self.values[:, :, :end], self)


class KeyValues(NamedTuple):
    """Keys and values of one layer, each (b, kv_heads, k, head_dim); keys are already rotated.

    In an attention of your own, heads and widths of keys and values may differ.

    Immutable: later keys may be written into the buffer behind these, but never over those of another cache.
    """

    keys: Tensor
    values: Tensor
    buffer: KeyValueBuffer | None = None

    def then(self, later: KeyValues) -> KeyValues:
        """With the ``later`` ones appended along axis 2; a state that does not grow has no use for it."""
        if torch.is_grad_enabled():
            return KeyValues(torch.cat([self.keys, later.keys], 2), torch.cat([self.values, later.values], 2))
        begin, end = self.keys.shape[2], self.keys.shape[2] + later.keys.shape[2]
        buffer = self.buffer
        if buffer is None or not buffer.fits(begin, end):
            buffer = KeyValueBuffer.with_capacity(self.keys, self.values, end)
        buffer.add(later.keys, later.values)
        return buffer.until(end)

    def rows(self, index: Tensor) -> KeyValues:
        """The rows at ``index`` (m,), which may repeat or omit rows."""
        if self.buffer is None:
            return KeyValues(self.keys[index], self.values[index])
        end = self.keys.shape[2]
        return self.buffer.rows(index, end).until(end)

    def buffered(self) -> KeyValues:
        """The same keys and values, in a buffer if that is faster for single queries."""
        end = self.keys.shape[2]
        in_buffer = end and prefers_buffer(self.keys)
        return KeyValueBuffer.with_capacity(self.keys, self.values, end).until(end) if in_buffer else self


def prefers_buffer(keys: Tensor) -> bool:
    """True if single queries read these keys faster from a buffer: on a CPU in float32, without gradients."""
    return keys.device.type == "cpu" and keys.dtype == torch.float32 and not torch.is_grad_enabled()
