"""Attention in the way that is fastest for its queries, keys and device."""

from collections.abc import Callable
from typing import Protocol

from torch import Tensor

from archbench.architectures.kernels import blockwise, direct, fused, single


class Buffer(Protocol):
    """Memory (b, kv_heads, capacity, e) that begins with keys and values; what lies behind these is arbitrary."""

    keys: Tensor
    values: Tensor


class KeysValues(Protocol):
    """Keys and values, each (b, kv_heads, m, e), and the buffer that holds them, where there is one."""

    @property
    def keys(self) -> Tensor: ...

    @property
    def values(self) -> Tensor: ...

    @property
    def buffer(self) -> Buffer | None: ...


class Visibility(Protocol):
    """The keys visible to each query within a ``window``, as masks (1 or b, 1 or h, n, m) that are built on demand.

    ``is_causal_square``: queries and keys are the same positions, and query i sees no key after i. ``plainly_causal``:
    it sees all others. ``mask`` and ``additive``: see ``AttentionContext``.
    """

    @property
    def is_causal_square(self) -> bool: ...

    def plainly_causal(self, window: int | None) -> bool: ...

    def mask(self, window: int | None) -> Tensor | None: ...

    def additive(self, window: int | None) -> Tensor | None: ...


def attend(
    q: Tensor, seen: KeysValues, context: Visibility, window: int | None, dropout: float, scale: float
) -> Tensor:
    """Attention of queries (b, h, n, e), times ``scale``, to keys and values -> (b, n, h * e).

    ``h`` is a multiple of ``kv_heads``; ``dropout`` applies to attention weights.
    """
    if blockwise.applies(q, seen.keys, dropout):
        return blockwise.attention(q, seen.keys, seen.values, context.additive(window), context.is_causal_square, scale)
    if seen.buffer is not None and not dropout and single.applies(q, seen.keys):
        count, buffer = seen.keys.shape[2], seen.buffer
        y = single.attention(q, buffer.keys, buffer.values, count, context.mask(window), scale)
    else:
        causal = context.plainly_causal(window)
        mask = None if causal else context.mask(window)
        y = fused.attention(q, seen.keys, seen.values, mask, causal, dropout, scale)
    return y.transpose(1, 2).flatten(2)


def attend_states(
    q: Tensor,
    states: Tensor,
    project: Callable[[Tensor], KeysValues],
    weight: Tensor,
    bias: Tensor | None,
    context: Visibility,
    window: int | None,
    dropout: float,
    scale: float,
) -> Tensor:
    """Attention of queries (b, h, n, e) to the keys and values that ``project`` makes of states (b, s, d).

    ``weight`` (h * e + 2 * kv_heads * e, d) and ``bias`` make queries, keys and values, in this order.
    """
    if direct.applies(q, states, weight, dropout):
        return direct.attention(q, states, weight, bias, context.additive(window), scale)
    return attend(q, project(states), context, window, dropout, scale)
