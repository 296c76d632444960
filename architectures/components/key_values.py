"""Keys and values that are kept for later queries, and how a single query of each row looks at them on a CPU."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils._python_dispatch import is_in_torch_dispatch_mode

STEP = 16  # places by which memory grows: few lie idle, and it is seldom copied


class KeyValueBuffer:
    """Memory (b, kv_heads, capacity, head_dim) for keys and values; the first ``filled`` positions are used.

    The rest has arbitrary finite values.
    """

    def __init__(self, keys: Tensor, values: Tensor, filled: int) -> None:
        self.keys, self.values, self.filled = keys, values, filled

    @classmethod
    def with_capacity(cls, keys: Tensor, values: Tensor, places: int) -> KeyValueBuffer:
        """A buffer for at least ``places`` positions that begins with these keys and values."""
        shape = (*keys.shape[:2], -(-places // STEP) * STEP, keys.shape[3])
        buffer = cls(keys.new_empty(shape), values.new_empty(shape), 0)
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
        """Whether positions ``begin`` to ``end`` fit and are the next free ones, unused by another cache."""
        return self.filled == begin and end <= self.keys.shape[2]

    def rows(self, index: Tensor, end: int) -> KeyValueBuffer:
        """A separate buffer with the rows at ``index`` (m,), up to ``end``."""
        return KeyValueBuffer(self.keys[index], self.values[index], end)

    def until(self, end: int) -> KeyValues:
        return KeyValues(self.keys[:, :, :end], self.values[:, :, :end], self)


class KeyValues(NamedTuple):
    """Keys and values of one layer, each (b, kv_heads, k, head_dim); keys are already rotated.

    Immutable: later keys may be written into the buffer behind these, but never over those of another cache.
    """

    keys: Tensor
    values: Tensor
    buffer: KeyValueBuffer | None = None

    def then(self, later: KeyValues) -> KeyValues:
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
        return (
            KeyValueBuffer.with_capacity(self.keys, self.values, end).until(end)
            if _is_plain(self.keys) and end
            else self
        )

    def serves_single(self, q: Tensor) -> bool:
        """Whether ``single`` is the faster way for queries (b, h, n, e); who counts FLOPs counts the keys there are."""
        alone = self.buffer is not None and q.shape[2] == 1 and q.dtype == self.keys.dtype and _is_plain(q)
        return alone and not is_in_torch_dispatch_mode()

    def attend_single(self, q: Tensor, mask: Tensor | None, scale: float) -> Tensor:
        """Attention of a query of each row (b, h, 1, e) to all keys -> (b, h, 1, e).

        ``mask`` (1 or b, 1 or h, 1, k) is True at what it may see, or is added to scores. The room is read as a whole,
        and what lies behind hidden: with a gap after every head a processor reads ahead in vain, and takes longer.
        """
        assert self.buffer is not None
        (b, h, _, e), shared, end = q.shape, self.keys.shape[1], self.keys.shape[2]
        keys, values = self.buffer.keys.flatten(0, 1), self.buffer.values.flatten(0, 1)
        scores = torch.bmm((q * scale).view(b * shared, h // shared, e), keys.mT)
        each = scores.view(b, h, 1, scores.shape[-1])
        each[..., end:] = float("-inf")
        if mask is not None and mask.dtype == torch.bool:
            each[..., :end].masked_fill_(~mask, float("-inf"))
        elif mask is not None:
            each[..., :end] += mask
        return torch.bmm(scores.softmax(-1), values).view(b, h, 1, e)


def _is_plain(x: Tensor) -> bool:
    return x.device.type == "cpu" and x.dtype == torch.float32 and not torch.is_grad_enabled()
