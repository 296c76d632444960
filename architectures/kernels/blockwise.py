"""Attention on a CPU under bfloat16 autocast, some queries at a time, with the backward pass written out.

The fused kernel of PyTorch multiplies in float32 there, or in bfloat16 several times more slowly. Products of blocks
use the processor's own bfloat16 instructions, scores of a block stay in its cache, and keys that come after all queries
of a causal block are not looked at. Probabilities are kept for the backward pass, so sequences have to be of moderate
length (``LONGEST``). oneDNN compiles code for each new shape, which takes longer than a small product, and almost every
batch of text has a new shape (see ``kernels.product``): lengths are rounded up, and the keys that are added are hidden.
Few keys (``SHORT``) are compared in float32, as they come: half-filled vectors make a softmax in bfloat16 slow.
"""

import itertools
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from archbench.architectures.kernels.product import in_bf16

LONGEST = 1024  # keys
BLOCK = 128  # queries, the last block half as many more or fewer
WIDE = 256  # where nothing is causal, so that small blocks would skip nothing
SHORT = 32  # keys, fewer than which are in float32
STEP = 16  # queries and keys are a multiple of this
VECTOR = 16  # numbers in float32 that a processor computes at once
GROUP, MANY = 8, 64  # and so are sequences times heads, where there are many


def applies(queries: Tensor, keys: Tensor, dropout: float) -> bool:
    """True where ``attention`` is faster: bfloat16 autocast on a CPU, no dropout, not too many keys."""
    return in_bf16(queries) and not dropout and keys.shape[2] <= LONGEST


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
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, causal: bool, scale: float) -> Tensor:
        b, h, n, e = q.shape
        shared, m = h // k.shape[1], k.shape[2]
        dtype = torch.float32 if m < SHORT else torch.bfloat16
        flat_q = _rows(q * scale if scale != 1.0 else q, 1, dtype)
        flat_k, flat_v = _rows(k, shared, dtype), _rows(v, shared, dtype)
        rows, keys = flat_q.shape[1], flat_k.shape[1]
        out = torch.empty(b, n, h, e, dtype=torch.bfloat16)
        padded_mask = _padded_mask(mask, causal, (n, m), (rows, keys), dtype)
        kept = []
        for begin, end, seen in _blocks(rows, keys, causal):
            scores = torch.bmm(flat_q[:, begin:end], flat_k[:, :seen].mT)
            if padded_mask is not None:
                _each(scores, b, h).add_(padded_mask[..., begin:end, :seen])
            elif causal:
                scores += _triangle(begin, end, dtype)
            weights = _softmax(scores)
            block = torch.bmm(weights, flat_v[:, :seen])
            out[:, begin:end].copy_(_each(block, b, h)[:, :, : max(0, n - begin)].transpose(1, 2))
            kept.append(weights)
        ctx.save_for_backward(flat_q, flat_k, flat_v, *kept)
        shape = None if mask is None else mask.shape
        ctx.more = (b, h, n, m), causal, scale, shared, shape, (q.dtype, k.dtype, v.dtype)
        return out.flatten(2)

    @staticmethod
    @once_differentiable
    @torch.autocast("cpu", enabled=False)  # type: ignore[untyped-decorator]
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        q, k, v, *kept = ctx.saved_tensors
        (b, h, n, m), causal, scale, shared, mask_shape, dtypes = ctx.more
        grad_rows = _rows(grad_output.view(b, n, h, -1).transpose(1, 2), 1, q.dtype)
        grad_q, grad_k, grad_v = torch.empty_like(q), None, None
        grad_mask = None if mask_shape is None or not ctx.needs_input_grad[3] else torch.zeros(mask_shape)
        for weights, (begin, end, seen) in reversed([*zip(kept, _blocks(q.shape[1], k.shape[1], causal), strict=True)]):
            part = grad_rows[:, begin:end]
            grad_scores = _softmax_grad(torch.bmm(part, v[:, :seen].mT), weights)
            if grad_mask is not None:
                grad_mask[..., begin:end, :seen] += _summed(
                    _each(grad_scores, b, h)[:, :, : max(0, n - begin), :m], mask_shape
                )
            grad_q[:, begin:end] = torch.bmm(grad_scores, k[:, :seen])
            more_k, more_v = torch.bmm(grad_scores.mT, q[:, begin:end]), torch.bmm(weights.mT, part)
            if grad_k is None or grad_v is None:  # the last block, which sees all keys
                grad_k, grad_v = (more_k, more_v) if len(kept) == 1 else (more_k.float(), more_v.float())
            else:
                grad_k[:, :seen] += more_k
                grad_v[:, :seen] += more_v
        assert grad_k is not None and grad_v is not None, "there is a block at least"
        grad_q = _each(grad_q, b, h)[:, :, :n].to(dtypes[0])
        grad_k, grad_v = (
            _unshared(_each(x, b, h)[:, :, :m], shared).to(dtype)
            for x, dtype in zip((grad_k, grad_v), dtypes[1:], strict=True)
        )
        return grad_q.mul_(scale) if scale != 1.0 else grad_q, grad_k, grad_v, grad_mask, None, None


def _softmax(scores: Tensor) -> Tensor:
    """Over keys; PyTorch's takes ten times as long for rows that do not fill a vector. ``scores`` are written over."""
    if scores.shape[-1] >= VECTOR:
        return scores.softmax(-1)
    probs = scores.sub_(scores.amax(-1, keepdim=True)).exp_()
    return probs.div_(probs.sum(-1, keepdim=True))


def _softmax_grad(grad_output: Tensor, weights: Tensor) -> Tensor:
    """The gradient in scores from ``grad_output``, that in their softmax ``weights``; it is written over."""
    if weights.shape[-1] >= VECTOR:
        return torch._softmax_backward_data(grad_output, weights, -1, weights.dtype)
    product = grad_output.mul_(weights)
    return product.addcmul_(weights, product.sum(-1, keepdim=True), value=-1)


def _rows(x: Tensor, times: int, dtype: torch.dtype) -> Tensor:
    """(b, h, n, e) -> (b * h * times, n, e) of ``dtype``, every head repeated ``times``; bfloat16 is rounded up."""
    b, h, n, e = x.shape
    count = b * h * times
    whole, length = count, n
    if dtype == torch.bfloat16:
        whole, length = -(-count // GROUP) * GROUP if count >= MANY else count, -(-n // STEP) * STEP
    y = torch.empty(whole, length, e, dtype=dtype)
    y[:count].view(b, h, times, length, e)[:, :, :, :n].copy_(x[:, :, None])
    y[:count, n:].zero_()
    y[count:].zero_()
    return y


def _each(x: Tensor, b: int, h: int) -> Tensor:
    """(b * h or more, n, m) -> (b, h, n, m)."""
    return x[: b * h].view(b, h, *x.shape[1:])


def _padded_mask(
    mask: Tensor | None, causal: bool, given: tuple[int, int], shape: tuple[int, int], dtype: torch.dtype
) -> Tensor | None:
    """Term added to scores of ``shape``: the mask, minus infinity at keys that fill up; None: none, or causality."""
    (n, m), (rows, keys) = given, shape
    if mask is None:
        if causal or keys == m:
            return None
        row = torch.zeros(keys, dtype=dtype)
        row[m:] = float("-inf")
        return row.expand(rows, keys)
    padded_mask = (mask[..., :1, :] if mask.stride(2) == 0 else mask).to(dtype)
    if keys > m:
        padded_mask = F.pad(padded_mask, (0, keys - m), value=float("-inf"))
    if padded_mask.shape[2] < n:
        return padded_mask.expand(-1, -1, rows, -1)
    return F.pad(padded_mask, (0, 0, 0, rows - n)) if rows > n else padded_mask


def _unshared(x: Tensor, times: int) -> Tensor:
    """The gradient of heads that were repeated ``times``."""
    b, heads, n, e = x.shape
    return x if times == 1 else x.float().view(b, heads // times, times, n, e).sum(2)


def _blocks(queries: int, keys: int, causal: bool) -> list[tuple[int, int, int]]:
    """Begin and end of each block of queries, and how many keys it looks at."""
    size = BLOCK if causal else WIDE
    begins = [size * number for number in range(max(1, round(queries / size)))]
    return [(begin, end, end if causal else keys) for begin, end in itertools.pairwise([*begins, queries])]


def _triangle(begin: int, end: int, dtype: torch.dtype) -> Tensor:
    """Minus infinity where a key (end,) comes after a query (end - begin,)."""
    return torch.full((end - begin, end), float("-inf"), dtype=dtype).triu_(begin + 1)


def _summed(grad_scores: Tensor, shape: torch.Size) -> Tensor:
    """The gradient of scores (b, h, n, m) in what was added to them, of ``shape`` (1 or b, 1 or h, ...), in float32."""
    alike = [dimension for dimension in (0, 1) if shape[dimension] < grad_scores.shape[dimension]]
    return grad_scores.sum(alike, keepdim=True, dtype=torch.float32) if alike else grad_scores.float()
