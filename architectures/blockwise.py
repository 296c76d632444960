"""Attention on a CPU under bfloat16 autocast, some queries at a time, with the backward pass written out.

The fused kernel of PyTorch multiplies in float32 there, or in bfloat16 several times more slowly. Products of blocks
use the processor's own bfloat16 instructions, scores of a block stay in its cache, and keys that come after all queries
of a causal block are not looked at. Probabilities are kept for the backward pass, so sequences have to be of moderate
length (``LONGEST``). Short sequences are multiplied in float32: to write code for products of another shape, as every
batch of text has one, takes oneDNN longer than bfloat16 saves (see ``architectures.product``).
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

LONGEST = 1024  # keys
BLOCK = 128  # queries
SHORT = 128  # keys, up to which products are in float32


def serves(queries: Tensor, keys: Tensor, dropout: float) -> bool:
    """Whether ``attention`` is the faster way for these: bfloat16 autocast on a CPU, no dropout, not too long."""
    bf16 = torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu") == torch.bfloat16
    return queries.device.type == "cpu" and bf16 and not dropout and keys.shape[2] <= LONGEST


def attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, causal: bool, scale: float) -> Tensor:
    """Queries (b, h, n, e), keys and values (b, h or a divisor of it, m, e) -> (b, n, h * e), in bfloat16.

    ``mask`` (1 or b, 1 or h, n, m) is added to the scores and may be trained. ``causal``: n = m, and query i sees no
    key after i, as a mask, where there is one, has to say as well.
    """
    with torch.autocast("cpu", enabled=False):
        y: Tensor = _Attention.apply(q, k, v, mask, causal, scale)  # type: ignore[no-untyped-call]
    return y


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(
        context: Any, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, causal: bool, scale: float
    ) -> Tensor:
        b, h, n, e = q.shape
        shared, m = h // k.shape[1], k.shape[2]
        kind = torch.float32 if m <= SHORT else torch.bfloat16
        flat_q = _rows(q * scale if scale != 1.0 else q, 1, kind)
        flat_k, flat_v = _rows(k, shared, kind), _rows(v, shared, kind)
        out = torch.empty(b, n, h, e, dtype=torch.bfloat16)
        kept = []
        for begin, end, seen in _blocks(n, m, causal):
            scores = torch.bmm(flat_q[:, begin:end], flat_k[:, :seen].mT).view(b, h, end - begin, seen).float()
            added = mask[..., begin:end, :seen] if mask is not None else None
            if added is None and causal:
                added = _triangle(begin, end)
            weights = (scores if added is None else scores.add_(added)).softmax(-1).to(kind)
            block = torch.bmm(weights.view(b * h, end - begin, seen), flat_v[:, :seen])
            out[:, begin:end].copy_(block.view(b, h, end - begin, e).transpose(1, 2))
            kept.append(weights)
        context.save_for_backward(flat_q, flat_k, flat_v, out, *kept)
        context.more = causal, scale, shared, None if mask is None else mask.shape, (q.dtype, k.dtype, v.dtype)
        return out.flatten(2)

    @staticmethod
    @once_differentiable
    def backward(context: Any, above: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, out, *kept = context.saved_tensors
        causal, scale, shared, mask_shape, kinds = context.more
        b, n, h, e = out.shape
        m = k.shape[1]
        above = above.view(b, n, h, e)
        drift = (above.float() * out).sum(-1, keepdim=True).transpose(1, 2)  # (b, h, n, 1)
        g = _rows(above.transpose(1, 2), 1, q.dtype)
        by_q = torch.empty_like(q)
        whole = len(kept) == 1
        by_k, by_v = (torch.empty(0), torch.empty(0)) if whole else torch.zeros(2, b * h, m, e).unbind()
        by_mask = None if mask_shape is None or not context.needs_input_grad[3] else torch.zeros(mask_shape)
        for weights, (begin, end, seen) in zip(kept, _blocks(n, m, causal), strict=True):
            part, flat = g[:, begin:end], weights.view(b * h, end - begin, seen)
            slope = torch.bmm(part, v[:, :seen].mT).view(b, h, end - begin, seen)
            slope = slope.float().sub_(drift[:, :, begin:end]).mul_(weights)
            if by_mask is not None:
                by_mask[..., begin:end, :seen] += slope.sum_to_size(*mask_shape[:2], end - begin, seen)
            slope = slope.to(q.dtype).view(b * h, end - begin, seen)
            by_q[:, begin:end] = torch.bmm(slope, k[:, :seen])
            if whole:
                by_k, by_v = torch.bmm(slope.mT, q[:, begin:end]), torch.bmm(flat.mT, part)
            else:
                by_k[:, :seen] += torch.bmm(slope.mT, q[:, begin:end])
                by_v[:, :seen] += torch.bmm(flat.mT, part)
        by_q = by_q.view(b, h, n, e).to(kinds[0])
        by_k, by_v = (
            _unshared(x.view(b, h, m, e), shared).to(kind) for x, kind in zip((by_k, by_v), kinds[1:], strict=True)
        )
        return by_q.mul_(scale) if scale != 1.0 else by_q, by_k, by_v, by_mask, None, None


def _rows(x: Tensor, times: int, kind: torch.dtype) -> Tensor:
    """(b, h, n, e) -> (b * h * times, n, e) of ``kind``, every head repeated ``times``."""
    x = x.to(kind)
    return (x.repeat_interleave(times, 1) if times > 1 else x).flatten(0, 1).contiguous()


def _unshared(x: Tensor, times: int) -> Tensor:
    """The gradient of heads that were repeated ``times``."""
    b, heads, n, e = x.shape
    return x if times == 1 else x.float().view(b, heads // times, times, n, e).sum(2)


def _blocks(queries: int, keys: int, causal: bool) -> list[tuple[int, int, int]]:
    """Begin and end of each block of queries, and how many keys it looks at."""
    ends = [min(begin + BLOCK, queries) for begin in range(0, queries, BLOCK)]
    return [(begin, end, end if causal else keys) for begin, end in zip(range(0, queries, BLOCK), ends, strict=True)]


def _triangle(begin: int, end: int) -> Tensor:
    """Minus infinity where a key (end,) comes after a query (end - begin,)."""
    return torch.full((end - begin, end), float("-inf")).triu_(begin + 1)
