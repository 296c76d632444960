"""Objectives: what is hidden in training, how a target is scored exactly, and how one is written.

Targets (b, t) hold no BOS, END where they have one, and padding at the right (``target_mask``, None: none). ``answers``
(v,) marks the tokens that a target may use; probabilities of targets are over these alone.

    target            the  cat  sat  END
    Causal reads      BOS  the  cat  sat         and predicts the row above, left to right
    Masked reads      the  [M]  [M]  END  [M]    and predicts the hidden cells; the canvas goes on past END
"""

from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from architectures.family import Flops, full
from architectures.generate import Decoding, in_rounds, left_to_right
from architectures.numbers import Amount
from tasks.example import BOS, MASK


class Pairs(NamedTuple):
    """A batch: source (b, s) and target (b, t) token ids, padded at the right, and their masks (None: no padding)."""

    source: Tensor
    target: Tensor
    source_mask: Tensor | None = None
    target_mask: Tensor | None = None


class Loss(NamedTuple):
    """``value``: what is minimised (nats per token); ``nats``: summed over the target; ``tokens``: target tokens."""

    value: Tensor
    nats: Tensor
    tokens: Tensor


class Objective(Protocol):
    """The training loss, the exact likelihood and the writing of a target, for one way of hiding it."""

    bounded: bool

    def loss(
        self,
        model: Any,
        pairs: Pairs,
        answers: Tensor,
        generator: torch.Generator | None = None,
        native: bool = False,
        smoothing: float = 0.0,
    ) -> Loss: ...

    def log_likelihood(self, model: Any, pairs: Pairs, answers: Tensor) -> tuple[Tensor, Tensor]: ...

    def generate(
        self, model: Any, pairs: Pairs, answers: Tensor, decoding: Decoding, generator: torch.Generator | None = None
    ) -> list[Tensor]: ...

    def training_flops(self, model: Any, source: Amount, target: Amount, native: bool) -> Flops: ...

    def loss_tokens(self, source: Amount, target: Amount, model: Any, native: bool) -> Amount: ...


@dataclass(frozen=True)
class Causal:
    """Next-token prediction, for decoder-only and encoder-decoder models.

    With native supervision a causal decoder predicts the tokens of its source as well, each weighing like a target's.
    """

    bounded = False

    def loss(
        self,
        model: Any,
        pairs: Pairs,
        answers: Tensor,
        generator: torch.Generator | None = None,
        native: bool = False,
        smoothing: float = 0.0,
    ) -> Loss:
        """Mean negative log-likelihood of the target's tokens, and of the source's where native; nothing is random."""
        states = model.hidden(pairs.source, _shift(pairs.target), pairs.source_mask, pairs.target_mask)
        logits = model.logits(_select(states.target, pairs.target_mask))
        losses = _cross_entropy(logits, _select(pairs.target, pairs.target_mask), answers, smoothing)
        total, count = losses.sum(), torch.tensor(losses.numel())
        nats = total.detach()
        if native and model.source_predicts and pairs.source.shape[1] > 1:
            seen = None if pairs.source_mask is None else pairs.source_mask[:, 1:]
            logits = model.logits(_select(states.source[:, :-1], seen))
            extra = _cross_entropy(logits, _select(pairs.source[:, 1:], seen), None, smoothing)
            return Loss((total + extra.sum()) / (losses.numel() + extra.numel()), nats, count)
        return Loss(total / losses.numel(), nats, count)

    def log_likelihood(self, model: Any, pairs: Pairs, answers: Tensor) -> tuple[Tensor, Tensor]:
        """Exact log-likelihood of each target, END included: nats (b,) and tokens (b,)."""
        states = model.hidden(pairs.source, _shift(pairs.target), pairs.source_mask, pairs.target_mask)
        present = full(pairs.target, pairs.target_mask)
        scores = _log_softmax(model.logits(states.target), answers).gather(-1, pairs.target[..., None]).squeeze(-1)
        return scores.masked_fill(~present, 0.0).double().sum(1), present.sum(1)

    def generate(
        self, model: Any, pairs: Pairs, answers: Tensor, decoding: Decoding, generator: torch.Generator | None = None
    ) -> list[Tensor]:
        """Write targets for the sources -> token ids of each row, END left out; ``pairs.target`` is not looked at."""
        return left_to_right(model, pairs.source, pairs.source_mask, answers, decoding, generator)

    def training_flops(self, model: Any, source: Amount, target: Amount, native: bool) -> Flops:
        """Forward and backward FLOPs of one example: three times the forward pass."""
        outputs = self.loss_tokens(source, target, model, native)
        return _tripled(model.flops(source, target, outputs))

    def loss_tokens(self, source: Amount, target: Amount, model: Any, native: bool) -> Amount:
        """Tokens with loss in one example."""
        predicted = (source - 1.0) * (source > 0) if native and model.source_predicts else 0.0
        return target + predicted


@dataclass(frozen=True)
class Masked:
    """Fill in hidden cells, at a rate drawn uniformly: the any-order bound (1904.09324, 2110.02037, 2406.07524).

    For a target of n tokens, k is drawn from 1..n, k cells are hidden and their loss is weighted by n / k: its
    expectation is the bound. Cells after END are [MASK], attended, without loss. ``suffix``: hide the last k cells, the
    states that writing from left to right meets (2410.01600). With native supervision half of the sources have
    ``source_rate`` of their tokens hidden as well and predicted (1810.04805).
    """

    suffix: bool = False
    source_rate: float = 0.15
    canvases: int = 128

    bounded = True

    def loss(
        self,
        model: Any,
        pairs: Pairs,
        answers: Tensor,
        generator: torch.Generator | None = None,
        native: bool = False,
        smoothing: float = 0.0,
    ) -> Loss:
        """The weighted loss over hidden cells per target token; its expectation bounds the negative log-likelihood."""
        hidden, weights = self._hide(full(pairs.target, pairs.target_mask), generator)
        source, source_mask = _ended(pairs)
        hidden_source = self._hide_source(pairs, generator) if native else None
        if hidden_source is not None:
            read = torch.cat([pairs.source.masked_fill(hidden_source, MASK), source[:, -1:]], 1)
        else:
            read = source
        canvas = _canvas(pairs.target.masked_fill(hidden, MASK), pairs.target_mask, model.canvas)
        states = model.hidden(read, canvas, source_mask)
        places = F.pad(hidden, (0, canvas.shape[1] - hidden.shape[1]))
        losses = _cross_entropy(model.logits(states.target[places]), pairs.target[hidden], answers, smoothing)
        total, tokens = (losses * weights[hidden]).sum(), full(pairs.target, pairs.target_mask).sum()
        value = total / tokens
        if hidden_source is not None:
            logits = model.logits(states.source[:, :-1][hidden_source])
            extra = _cross_entropy(logits, pairs.source[hidden_source], None, smoothing)
            value = (total + extra.sum()) / (tokens + extra.numel())
        return Loss(value, total.detach(), tokens)

    def log_likelihood(self, model: Any, pairs: Pairs, answers: Tensor) -> tuple[Tensor, Tensor]:
        """Exact log-likelihood by the chain rule, left to right, END included: nats (b,) and tokens (b,).

        Every token is predicted from a canvas that shows the tokens before it; one forward pass per token.
        """
        present = full(pairs.target, pairs.target_mask)
        source, source_mask = _ended(pairs)
        rows, cells = present.nonzero(as_tuple=True)
        scores = torch.zeros(present.shape, dtype=torch.float64, device=present.device)
        steps = torch.arange(model.canvas, device=present.device)
        blank = _canvas(pairs.target, pairs.target_mask, model.canvas)
        for start in range(0, len(rows), self.canvases):
            row, cell = rows[start : start + self.canvases], cells[start : start + self.canvases]
            canvas = blank[row].masked_fill(steps >= cell[:, None], MASK)
            mask = None if source_mask is None else source_mask[row]
            states = model.hidden(source[row], canvas, mask).target[torch.arange(len(row)), cell]
            found = _log_softmax(model.logits(states), answers).gather(-1, pairs.target[row, cell][:, None])
            scores[row, cell] = found.squeeze(-1).double()
        return scores.sum(1), present.sum(1)

    def generate(
        self, model: Any, pairs: Pairs, answers: Tensor, decoding: Decoding, generator: torch.Generator | None = None
    ) -> list[Tensor]:
        """Write targets for the sources -> token ids of each row, END left out; ``pairs.target`` is not looked at."""
        source, source_mask = _ended(pairs)
        if decoding.strategy == "confident":
            return in_rounds(model, source, source_mask, answers, decoding)
        return left_to_right(model, source, source_mask, answers, decoding, generator)

    def training_flops(self, model: Any, source: Amount, target: Amount, native: bool) -> Flops:
        """Forward and backward FLOPs of one example, in expectation over what is hidden."""
        outputs = self.loss_tokens(source, target, model, native)
        return _tripled(model.flops(source + 1.0, 0.0 * target + model.canvas, outputs))

    def loss_tokens(self, source: Amount, target: Amount, model: Any, native: bool) -> Amount:
        """Expected tokens with loss in one example."""
        return (target + 1.0) / 2.0 + (0.5 * self.source_rate * source if native else 0.0)

    def _hide(self, present: Tensor, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
        """Which cells to hide (b, t), and the weight n / k of each row's cells (b, t)."""
        lengths = present.sum(1, keepdim=True)
        uniform = torch.rand(len(present), 1, generator=generator).to(present.device)
        hidden = (uniform * lengths).long().clamp(max=lengths - 1) + 1
        if self.suffix:
            order = lengths - 1 - torch.arange(present.shape[1], device=present.device)
        else:
            noise = torch.rand(present.shape, generator=generator).to(present.device)
            order = noise.masked_fill(~present, 2.0).argsort(1).argsort(1)
        weights = (lengths / hidden).expand(present.shape)
        return (order < hidden) & present, weights

    def _hide_source(self, pairs: Pairs, generator: torch.Generator | None) -> Tensor:
        """Which source tokens to hide (b, s): none in half of the rows, ``source_rate`` of them in the others."""
        shape = pairs.source.shape
        chosen = torch.rand(shape[0], 1, generator=generator) < 0.5
        hidden = (torch.rand(shape, generator=generator) < self.source_rate) & chosen
        return hidden.to(pairs.source.device) & full(pairs.source, pairs.source_mask)


def _shift(target: Tensor) -> Tensor:
    """What a causal model reads to predict ``target`` (b, t): BOS and all but the last token."""
    return torch.cat([torch.full_like(target[:, :1], BOS), target[:, :-1]], 1)


def _ended(pairs: Pairs) -> tuple[Tensor, Tensor | None]:
    """The source with BOS behind it (b, s + 1), where an encoder's canvas begins, and its mask."""
    source = torch.cat([pairs.source, torch.full_like(pairs.target[:, :1], BOS)], 1)
    if pairs.source_mask is None:
        return source, None
    return source, F.pad(pairs.source_mask, (0, 1), value=True)


def _canvas(cells: Tensor, mask: Tensor | None, length: int) -> Tensor:
    """Cells (b, t) on a canvas of ``length`` cells; whatever is not there is [MASK]."""
    if mask is not None:
        cells = cells.masked_fill(~mask, MASK)
    return F.pad(cells, (0, length - cells.shape[1]), value=MASK)


def _select(x: Tensor, mask: Tensor | None) -> Tensor:
    """The real positions of (b, t, …) in one row (n, …)."""
    return x.flatten(0, 1) if mask is None else x[mask]


def _cross_entropy(logits: Tensor, labels: Tensor, answers: Tensor | None, smoothing: float) -> Tensor:
    """Negative log-likelihood (n,) of labels (n,) in float32, over ``answers`` (v,) alone where given."""
    logits = logits.float()
    if answers is not None:
        logits = logits.masked_fill(~answers, float("-inf"))
    if not smoothing:
        return F.cross_entropy(logits, labels, reduction="none")
    scores = logits.log_softmax(-1)
    allowed = torch.ones_like(scores[0], dtype=torch.bool) if answers is None else answers
    uniform = scores[:, allowed].mean(-1)
    return -(1 - smoothing) * scores.gather(-1, labels[:, None]).squeeze(-1) - smoothing * uniform


def _log_softmax(logits: Tensor, answers: Tensor) -> Tensor:
    """Log-probabilities (..., v) in float32 over ``answers`` (v,); the rest is impossible."""
    return logits.float().masked_fill(~answers, float("-inf")).log_softmax(-1)


def _tripled(forward: Flops) -> Flops:
    return Flops(3.0 * forward.executed, 3.0 * forward.model)
