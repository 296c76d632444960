"""PyTorch's fused attention, with the types and heads that are fast for it on each device."""

import torch
from torch import Tensor
from torch.nn import functional as F

HALVES = (torch.bfloat16, torch.float16)  # in which a GPU's fast kernel can share heads, where nothing is masked


def attention(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, causal: bool, dropout: float, scale: float
) -> Tensor:
    """Queries (b, h, n, e), keys and values (b, h or a divisor of it, m, e) -> (b, h, n, e), on a CPU in float32.

    ``mask`` (1 or b, 1 or h, n, m) is True at what a query may see, or is added to scores; none where ``causal``.
    """
    came = q.dtype
    device = "cpu" if q.is_meta else q.device.type  # the meta device, on which plans are counted, has no autocast
    exact = device == "cpu"  # there bfloat16 is slower than float32, 2-4 times in the backward pass
    with torch.autocast(device, enabled=not exact and torch.is_autocast_enabled(device)):
        q, k, v = (t.float() if exact else t for t in (q, k, v))
        if k.shape[1] != q.shape[1] and not exact and not (mask is None and q.dtype in HALVES):
            k, v = (t.repeat_interleave(q.shape[1] // t.shape[1], 1) for t in (k, v))
        y = F.scaled_dot_product_attention(
            q,
            k,
            v,
            attn_mask=mask if mask is None or mask.dtype == torch.bool else mask.to(q.dtype),
            dropout_p=dropout,
            is_causal=causal,
            scale=scale,
            enable_gqa=k.shape[1] != q.shape[1],
        )
    return y if torch.is_autocast_enabled(device) else y.to(came)  # under autocast the product casts
