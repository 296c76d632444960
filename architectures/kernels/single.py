"""Attention of a single query of each row to keys and values in a buffer, for decoding on a CPU in float32.

The whole buffer is read and the unused part is masked. Reading only the used part would leave a gap after every head;
the processor's prefetching would load these gaps, which is slower.
"""

import torch
from torch import Tensor

from archbench.architectures.components.key_values import prefers_buffer


def applies(q: Tensor, keys: Tensor) -> bool:
    """True if ``attention`` is faster for queries (b, h, n, e)."""
    return q.shape[2] == 1 and q.dtype == keys.dtype and prefers_buffer(q)


def attention(q: Tensor, keys: Tensor, values: Tensor, count: int, mask: Tensor | None, scale: float) -> Tensor:
    """Queries (b, h, 1, e) to the first ``count`` of buffered keys and values (b, kv_heads, capacity, e): (b, h, 1, e).

    ``mask`` (1 or b, 1 or h, 1, count) is True at visible keys, or is added to scores.
    """
    (b, h, _, e), shared = q.shape, keys.shape[1]
    keys, values = keys.flatten(0, 1), values.flatten(0, 1)
    scores = torch.bmm((q * scale).reshape(b * shared, h // shared, e), keys.mT)
    each = scores.view(b, h, 1, scores.shape[-1])
    each[..., count:] = float("-inf")
    if mask is not None and mask.dtype == torch.bool:
        each[..., :count].masked_fill_(~mask, float("-inf"))
    elif mask is not None:
        each[..., :count] += mask
    return torch.bmm(scores.softmax(-1), values).view(b, h, 1, e)
