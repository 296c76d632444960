"""Attention of a single query of each row to keys and values in a buffer, for decoding on a CPU in float32.

The whole buffer is read and the unused part is masked. Reading only the used part would leave a gap after every head;
the processor's prefetching would load these gaps, which is slower.
"""

import torch
from torch import Tensor


def prefers_buffer(keys: Tensor) -> bool:
    """Whether single queries read these keys faster from a buffer."""
    return keys.device.type == "cpu" and keys.dtype == torch.float32 and not torch.is_grad_enabled()


def applies(q: Tensor, keys: Tensor) -> bool:
    """Whether ``attention`` is faster for queries (b, h, n, e), where PyTorch may use more than its math backend."""
    alone = q.shape[2] == 1 and q.dtype == keys.dtype and prefers_buffer(q)
    return alone and torch.backends.cuda.flash_sdp_enabled()  # type: ignore[no-untyped-call]


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
