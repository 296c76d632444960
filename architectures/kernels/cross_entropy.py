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

from archbench.architectures.kernels.product import ROUND, in_bf16, rounded

LOGITS = {"cpu": 2**20, "cuda": 2**26}  # at a time: on a CPU they stay in its cache
SLOPES = 2**22  # at a time, half of a logit's size
ROWS = ROUND  # at least, and a multiple of it, so that products are of matrices, and of few shapes


def plain(logits: Tensor, labels: Tensor, allowed_tokens: Tensor | None, smoothing: float) -> Tensor:
    """Negative log-likelihood (n,) of labels (n,) in float32, over ``allowed_tokens`` (v,) alone where given."""
    logits = logits.float()
    if allowed_tokens is not None:
        logits = logits.masked_fill(~allowed_tokens, float("-inf"))
    if not smoothing:
        return F.cross_entropy(logits, labels, reduction="none")
    scores = logits.log_softmax(-1)
    allowed = torch.ones_like(scores[0], dtype=torch.bool) if allowed_tokens is None else allowed_tokens
    uniform = scores[:, allowed].mean(-1)
    return -(1 - smoothing) * scores.gather(-1, labels[:, None]).squeeze(-1) - smoothing * uniform


def total(
    states: Tensor,
    matrix: Tensor,
    bias: Tensor | None,
    labels: Tensor,
    weights: Tensor,
    allowed_tokens: Tensor | None = None,
    smoothing: float = 0.0,
) -> Tensor:
    """Sum of the ``plain`` losses of ``states @ matrix.T + bias``, weighted by ``weights`` (n,) or (1,), in float32.

    ``states`` (n, d), ``matrix`` (v, d), ``bias`` (v,), ``labels`` (n,). Differentiable once, in states, matrix, bias.
    """
    loss: Tensor = _Total.apply(states, matrix, bias, labels, weights, allowed_tokens, smoothing)  # type: ignore[no-untyped-call]
    return loss


class _Total(torch.autograd.Function):
    @staticmethod
    def forward(
        context: Any,
        states: Tensor,
        matrix: Tensor,
        bias: Tensor | None,
        labels: Tensor,
        weights: Tensor,
        allowed_tokens: Tensor | None,
        smoothing: float,
    ) -> Tensor:
        device, count = "cpu" if states.is_meta else states.device.type, len(states)  # plans are counted as on a CPU
        kind = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else states.dtype
        x, w = rounded(states, count) if in_bf16(states) else states.to(kind), matrix.to(kind)
        weights = weights.expand(count)
        if len(x) > count:
            labels = F.pad(
                labels, (0, len(x) - count), value=0 if allowed_tokens is None else int(allowed_tokens.int().argmax())
            )
            weights = F.pad(weights, (0, len(x) - count))
        added = _added(bias, allowed_tokens, matrix)
        allowed = None if allowed_tokens is None else allowed_tokens.float()
        learns = any(context.needs_input_grad)
        loss = torch.zeros((), device=states.device)
        by_states = torch.empty(x.shape, dtype=states.dtype, device=states.device) if learns else None
        by_bias = torch.zeros_like(bias, dtype=torch.float32) if learns and bias is not None else None
        chunks = _chunks(len(x), len(matrix), device)
        slopes = _Slopes(chunks, x, w, weights) if learns else None
        room = torch.empty(max(rows.stop - rows.start for rows in chunks), len(matrix), device=x.device)
        for rows in chunks:
            chunk, label, weight = x[rows], labels[rows, None], weights[rows, None]
            logits = room[: len(chunk)].copy_(chunk @ w.T)
            if added is not None:
                logits += added
            most = logits.amax(-1, keepdim=True)
            scores = logits.gather(1, label)
            if smoothing:
                scores = (1 - smoothing) * scores + smoothing * _mean(logits, allowed)
            chances = torch.softmax(logits, -1, out=logits if device == "cpu" else None)
            # the most likely token has a chance of 1 / v at least, whose logarithm is safe
            divisor = most - chances.amax(-1, keepdim=True).log()
            loss = loss - ((scores - divisor) * weight).sum()
            if slopes is None or by_states is None:
                continue
            slope = chances  # of the loss of each row in its logits
            if smoothing:
                slope.sub_(smoothing * (1.0 / slope.shape[1] if allowed is None else allowed / allowed.sum()))
            slope.scatter_add_(1, label, slope.new_full((1, 1), smoothing - 1.0).expand(label.shape))
            if by_bias is not None:
                by_bias += (slope.T @ weight).squeeze(1)
            by_states[rows] = (slopes.add(slope, rows) @ w) * weight
        by_matrix = None if slopes is None else slopes.by_matrix if count else torch.zeros_like(matrix)
        by_states = None if by_states is None else by_states[:count]
        context.save_for_backward(by_states, by_matrix, by_bias)
        context.kinds = matrix.dtype, None if bias is None else bias.dtype
        return loss

    @staticmethod
    @once_differentiable
    def backward(context: Any, above: Tensor) -> tuple[Tensor | None, ...]:
        by_states, by_matrix, by_bias = context.saved_tensors
        kind, bias_kind = context.kinds
        bias = None if by_bias is None else (by_bias * above).to(bias_kind)
        return by_states * above, (by_matrix * above).to(kind), bias, None, None, None, None


class _Slopes:
    """Slopes of logits, in the type of products, and what they make of the matrix: as many at once as fit."""

    def __init__(self, chunks: list[slice], x: Tensor, w: Tensor, weights: Tensor) -> None:
        longest = max(1, *(rows.stop - rows.start for rows in chunks))
        most = max(longest, SLOPES // len(w) // longest * longest)
        self.held = torch.empty(min(most, len(x)), len(w), dtype=w.dtype, device=w.device)
        self.x, self.weights, self.begin, self.longest = x, weights.to(w.dtype), 0, longest
        self.by_matrix: Tensor | None = None

    def add(self, slope: Tensor, rows: slice) -> Tensor:
        """Take the slopes (m, v) of some rows in -> them, in the type of products."""
        kept = self.held[rows.start - self.begin : rows.stop - self.begin].copy_(slope)
        if rows.stop == len(self.x) or rows.stop - self.begin + self.longest > len(self.held):
            left = self.held[: rows.stop - self.begin]
            right = self.x[self.begin : rows.stop] * self.weights[self.begin : rows.stop, None]
            more = left.T @ right
            self.by_matrix = more.float() if self.by_matrix is None else self.by_matrix.add_(more)
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
    most = max(LOGITS.get(device, LOGITS["cuda"]) // vocabulary // ROWS, 1)  # times ROWS
    blocks = -(-rows // ROWS)
    parts = max(1, -(-blocks // most))
    ends = [min(rows, blocks * part // parts * ROWS) for part in range(parts + 1)]
    return [slice(begin, end) for begin, end in itertools.pairwise(ends)]
