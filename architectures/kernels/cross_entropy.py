"""Cross-entropy of states against an output matrix, some rows at a time: logits of a whole batch never exist at once.

``total`` makes its gradients on the way forward, while a chunk's probabilities are at hand, and so multiplies no more
than a plain loss does: logits, their gradient times the matrix, and times the states.
"""

import itertools
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from archbench.architectures.components.embedding import Head, Product, Targets
from archbench.architectures.kernels.product import ROUND, in_bf16, rounded

LOGITS = {"cpu": 2**20, "cuda": 2**26}  # at a time: on a CPU they stay in its cache
HELD = 2**22  # gradients of logits that are held at a time, each of half a logit's size
ROWS = ROUND  # at least, and a multiple of it, so that products are of matrices, and of few shapes


def loss(self: Head, operands: Product, targets: Targets) -> Tensor:
    """``Head.loss`` by ``total``."""
    x, matrix, bias = operands
    labels, weights, allowed_tokens, smoothing = targets
    return total(x, matrix, bias, labels, weights, allowed_tokens, smoothing)


def total(
    states: Tensor,
    matrix: Tensor,
    bias: Tensor | None,
    labels: Tensor,
    weights: Tensor,
    allowed_tokens: Tensor | None = None,
    smoothing: float = 0.0,
) -> Tensor:
    """Sum of the losses of ``states @ matrix.T + bias``, weighted by ``weights`` (n,) or (1,), in float32.

    ``states`` (n, d), ``matrix`` (v, d), ``bias`` (v,), ``labels`` (n,). Differentiable once, in states, matrix, bias.
    """
    loss: Tensor = _Total.apply(states, matrix, bias, labels, weights, allowed_tokens, smoothing)  # type: ignore[no-untyped-call]
    return loss


class _Total(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        states: Tensor,
        matrix: Tensor,
        bias: Tensor | None,
        labels: Tensor,
        weights: Tensor,
        allowed_tokens: Tensor | None,
        smoothing: float,
    ) -> Tensor:
        device, count = "cpu" if states.is_meta else states.device.type, len(states)  # plans are counted as on a CPU
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else states.dtype
        x, w = rounded(states, count) if in_bf16(states) else states.to(dtype), matrix.to(dtype)
        weights = weights.expand(count)
        if len(x) > count:
            labels = F.pad(
                labels, (0, len(x) - count), value=0 if allowed_tokens is None else int(allowed_tokens.int().argmax())
            )
            weights = F.pad(weights, (0, len(x) - count))
        added = _added(bias, allowed_tokens, matrix)
        allowed = None if allowed_tokens is None else allowed_tokens.float()
        learns = any(ctx.needs_input_grad)
        loss = torch.zeros((), device=states.device)
        grad_states = torch.empty(x.shape, dtype=states.dtype, device=states.device) if learns else None
        grad_bias = torch.zeros_like(bias, dtype=torch.float32) if learns and bias is not None else None
        chunks = _chunks(len(x), len(matrix), device)
        matrix_gradient = _MatrixGradient(chunks, x, w, weights) if learns else None
        buffer = torch.empty(max(rows.stop - rows.start for rows in chunks), len(matrix), device=x.device)
        for rows in chunks:
            chunk, label, weight = x[rows], labels[rows, None], weights[rows, None]
            logits = buffer[: len(chunk)].copy_(chunk @ w.T)
            if added is not None:
                logits += added
            row_max = logits.amax(-1, keepdim=True)
            scores = logits.gather(1, label)
            if smoothing:
                scores = (1 - smoothing) * scores + smoothing * _mean(logits, allowed)
            probs = torch.softmax(logits, -1, out=logits if device == "cpu" else None)
            # the most likely token has a probability of 1 / v at least, whose logarithm is safe
            divisor = row_max - probs.amax(-1, keepdim=True).log()
            loss = loss - ((scores - divisor) * weight).sum()
            if matrix_gradient is None or grad_states is None:
                continue
            grad_logits = probs  # in place; of the loss of each row before it is weighted
            if smoothing:
                grad_logits.sub_(
                    smoothing * (1.0 / grad_logits.shape[1] if allowed is None else allowed / allowed.sum())
                )
            grad_logits.scatter_add_(1, label, grad_logits.new_full((1, 1), smoothing - 1.0).expand(label.shape))
            if grad_bias is not None:
                grad_bias += (grad_logits.T @ weight).squeeze(1)
            grad_states[rows] = (matrix_gradient.add(grad_logits, rows) @ w) * weight
        grad_matrix = None
        if matrix_gradient is not None:
            grad_matrix = matrix_gradient.total if count else torch.zeros_like(matrix)
        grad_states = None if grad_states is None else grad_states[:count]
        ctx.save_for_backward(grad_states, grad_matrix, grad_bias)
        ctx.dtypes = matrix.dtype, None if bias is None else bias.dtype
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        grad_states, grad_matrix, grad_bias = ctx.saved_tensors
        dtype, bias_dtype = ctx.dtypes
        bias = None if grad_bias is None else (grad_bias * grad_output).to(bias_dtype)
        return grad_states * grad_output, (grad_matrix * grad_output).to(dtype), bias, None, None, None, None


class _MatrixGradient:
    """Collects the gradients of logits, in the type of products, and makes that of the matrix of as many as fit."""

    def __init__(self, chunks: list[slice], x: Tensor, w: Tensor, weights: Tensor) -> None:
        longest = max(1, *(rows.stop - rows.start for rows in chunks))
        max_rows = max(longest, HELD // len(w) // longest * longest)
        self.held = torch.empty(min(max_rows, len(x)), len(w), dtype=w.dtype, device=w.device)
        self.x, self.weights, self.begin, self.longest = x, weights.to(w.dtype), 0, longest
        self.total: Tensor | None = None

    def add(self, grad_logits: Tensor, rows: slice) -> Tensor:
        """Take in the gradients of the logits of some rows (m, v) -> them, in the type of products."""
        kept = self.held[rows.start - self.begin : rows.stop - self.begin].copy_(grad_logits)
        if rows.stop == len(self.x) or rows.stop - self.begin + self.longest > len(self.held):
            left = self.held[: rows.stop - self.begin]
            right = self.x[self.begin : rows.stop] * self.weights[self.begin : rows.stop, None]
            more = left.T @ right
            self.total = more.float() if self.total is None else self.total.add_(more)
            self.begin = rows.stop
        return kept


def _added(bias: Tensor | None, allowed_tokens: Tensor | None, matrix: Tensor) -> Tensor | None:
    """The bias (v,) added to the logits of every row, with minus infinity at tokens that are not allowed."""
    if allowed_tokens is None:
        return None if bias is None else bias.float()
    zero = torch.zeros(len(matrix), device=matrix.device) if bias is None else bias.float()
    return zero.masked_fill(~allowed_tokens, float("-inf"))


def _mean(logits: Tensor, allowed: Tensor | None) -> Tensor:
    """Mean of logits (n, v) over the tokens that are allowed (v,): (n, 1)."""
    if allowed is None:
        return logits.mean(-1, keepdim=True)
    return logits.masked_fill(allowed == 0, 0.0).sum(-1, keepdim=True) / allowed.sum()


def _chunks(rows: int, vocabulary: int, device: str) -> list[slice]:
    """Parts of ``rows``, multiples of ``ROWS`` but for the last; each of at most ``LOGITS`` logits or ``ROWS`` rows."""
    max_blocks = max(LOGITS.get(device, LOGITS["cuda"]) // vocabulary // ROWS, 1)  # of ROWS rows each
    blocks = -(-rows // ROWS)
    parts = max(1, -(-blocks // max_blocks))
    ends = [min(rows, blocks * part // parts * ROWS) for part in range(parts + 1)]
    return [slice(begin, end) for begin, end in itertools.pairwise(ends)]
