"""Masked language modelling, as any-order prediction that can be scored exactly and written with."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from archbench.architectures.components.numbers import Amount, Flops
from archbench.architectures.components.stack import select
from archbench.architectures.components.states import StateIndex, mask_or_ones
from archbench.architectures.objectives.generate import Decoding, in_rounds, left_to_right
from archbench.architectures.objectives.objective import (
    Batch,
    LossInputs,
    equal_shares,
    index_of,
    log_softmax,
    tripled,
    weighted_loss,
)
from archbench.tasks.base.example import BOS, MASK

CANVASES = {"cpu": 64, "cuda": 128}  # that are read at once; on a CPU what one is computed from stays in the cache


@dataclass(frozen=True)
class Masked:
    """Predict masked positions, at a rate drawn uniformly: the any-order bound (1904.09324, 2110.02037, 2406.07524).

    For a target of n tokens, k is drawn from 1..n, k cells are hidden and their loss is weighted by n / k: its
    expectation is the mean over all orders of writing, which bounds -log p where the order is drawn at random, not from
    left to right. Cells after END are [MASK], attended, without loss.

    ``suffix``: hide the last k cells, the states that writing from left to right meets (2410.01600); each of them is
    predicted from the same beginning, so that the loss is no bound on the likelihood in any order. ``next_cell``: hide
    the same cells and predict the first of them alone, with weight n: the expectation is -log p from left to right.

    ``stratified``: the rates of a batch are spread evenly over (0, 1), with one random offset (2107.00630, I.1). Each
    is still uniform, so that the expected loss is the same; the loss of a batch varies less.

    With native supervision half of the sources have ``source_rate`` of their tokens hidden as well and predicted
    (1810.04805), with a weight equal to the target's. ``joint``: source and target are one text, whose tokens are
    hidden at one rate: the any-order bound of the whole text.

    ``rate`` hides this part of a text, always (1810.04805: 0.15), instead of a part that is drawn; then the loss is no
    bound on the likelihood in any order.
    """

    suffix: bool = False
    next_cell: bool = False
    source_rate: float = 0.15
    stratified: bool = False
    joint: bool = False
    rate: float | None = None

    estimated = True

    @property
    def bounded(self) -> bool:
        return not self.suffix and self.rate is None

    @property
    def left_to_right(self) -> "Masked":
        """Predict one cell of each target from those before it: the expectation over cells is -log p, left to right."""
        return replace(self, suffix=False, next_cell=True, stratified=False, rate=None)

    def prepare(self, model: Any, batch: Batch, generator: torch.Generator | None, native: bool) -> LossInputs:
        """Sampled masked positions with weight n / k each and, if native, masked positions of the source."""
        source_real, real = batch.real()
        hidden_source = source_weights = None
        if native and self.joint:
            width = source_real.shape[1]
            whole = self._hide(torch.cat([source_real, real], 1), generator)
            hidden_source, source_weights = whole[0][:, :width], whole[2][:, :width]
            hidden, predicted, weights = (part[:, width:] for part in whole)
        else:
            hidden_source = self._hide_source(source_real, generator) if native else None
            hidden, predicted, weights = self._hide(real, generator)
        source, source_mask = _ended(batch.source, batch.source_mask)
        if hidden_source is not None:
            source = source.masked_fill(F.pad(hidden_source, (0, 1)).to(source.device), MASK)
        canvas = _canvas(batch.target.masked_fill(hidden.to(source.device), MASK), batch.target_mask, model.canvas)
        inputs = LossInputs(
            source,
            canvas,
            source_mask,
            None,
            at=index_of(F.pad(predicted, (0, canvas.shape[1] - predicted.shape[1])), source),
            labels=select(batch.target, index_of(predicted, source)),
            weights=weights[predicted].to(source.device),
            row_tokens=real.sum(1),
        )
        if hidden_source is None:
            return inputs
        source_labels = select(batch.source, index_of(hidden_source, source))
        if source_weights is None:
            shares = equal_shares(source_labels, real.sum())
        else:
            shares = source_weights[hidden_source].to(source.device)
        return inputs._replace(
            source_at=index_of(F.pad(hidden_source, (0, 1)), source),
            source_labels=source_labels,
            source_weights=shares,
        )

    def loss(self, model: Any, inputs: LossInputs, allowed_tokens: Tensor, smoothing: float = 0.0) -> Tensor:
        """The weighted sum over masked positions; its expectation is the mean over generation orders."""
        return weighted_loss(model, inputs, allowed_tokens, smoothing)

    def log_likelihood(self, model: Any, batch: Batch, allowed_tokens: Tensor, parts: int = 1) -> tuple[Tensor, Tensor]:
        """Exact log-likelihood by the chain rule, left to right, including END: nats (b,) and tokens (b,).

        Every token is predicted from a canvas that shows the tokens before it; one forward pass per token.
        """
        present = mask_or_ones(batch.target, batch.target_mask)
        source, source_mask = _ended(batch.source, batch.source_mask)
        cells, rows = present.T.nonzero(as_tuple=True)  # those that look from late positions together
        scores = torch.zeros(present.shape, dtype=torch.float64, device=present.device)
        steps = torch.arange(model.canvas, device=present.device)
        blank = _canvas(batch.target, batch.target_mask, model.canvas)
        at_once = max(1, CANVASES.get(present.device.type, max(CANVASES.values())) // parts)
        for start in range(0, len(rows), at_once):
            row, cell = rows[start : start + at_once], cells[start : start + at_once]
            canvas = blank[row].masked_fill(steps >= cell[:, None], MASK)
            mask = None if source_mask is None else source_mask[row]
            at = StateIndex(None, torch.arange(len(row), device=row.device) * model.canvas + cell)
            states = model.hidden(source[row], canvas, mask, None, at).target
            nats = log_softmax(model.logits(states), allowed_tokens).gather(-1, batch.target[row, cell][:, None])
            scores[row, cell] = nats.squeeze(-1).double()
        return scores.sum(1), present.sum(1)

    def visible(self, model: Any, batch: Batch) -> Batch:
        """The inputs after half of the target: the source and BOS, that half, then [MASK]."""
        present = mask_or_ones(batch.target, batch.target_mask)
        half = present.sum(1, keepdim=True) // 2
        late = torch.arange(present.shape[1], device=present.device) >= half
        source, source_mask = _ended(batch.source, batch.source_mask)
        canvas = _canvas(batch.target.masked_fill(late, MASK), batch.target_mask, model.canvas)
        return Batch(source, canvas, source_mask, None)

    def generate(
        self,
        model: Any,
        source: Tensor,
        source_mask: Tensor | None,
        allowed_tokens: Tensor,
        decoding: Decoding,
        generator: torch.Generator | None = None,
        start: Tensor | None = None,
    ) -> list[Tensor]:
        """Write a target for each source (b, s) -> token ids of each row, END left out.

        ``source_mask`` (b, s) is None without padding. ``start`` (b, m): tokens that the targets begin with, which are
        not returned (from left to right only).
        """
        source, source_mask = _ended(source, source_mask)
        if decoding.strategy == "confident":
            return in_rounds(model, source, source_mask, allowed_tokens, decoding)
        return left_to_right(model, source, source_mask, allowed_tokens, decoding, generator, start)

    def training_flops(self, model: Any, source: Amount, target: Amount, native: bool) -> Flops:
        """Forward and backward FLOPs of one example, in expectation over the masks."""
        outputs = self.loss_tokens(model, source, target, native)
        return tripled(model.flops(source + 1.0, 0.0 * target + model.canvas, outputs))

    def loss_tokens(self, model: Any, source: Amount, target: Amount, native: bool) -> Amount:
        """Expected tokens with loss in one example."""
        if native and self.joint:
            return expected_hidden(source + target, self.rate)
        predicted = 0.0 * target + 1.0 if self.next_cell else expected_hidden(target, self.rate)
        return predicted + (0.5 * self.source_rate * source if native else 0.0)

    def answer_flops(self, model: Any, source: Amount, target: Amount) -> Amount:
        """Model FLOPs of generating a target from left to right: a forward pass per token."""
        return target * model.flops(source + 1.0, 0.0 * target + model.canvas, 1.0).model  # type: ignore[no-any-return]

    def _hide(self, real: Tensor, generator: torch.Generator | None) -> tuple[Tensor, Tensor, Tensor]:
        """Cells to mask (b, t), those of them to predict (b, t), and their weights (b, t); all in host memory."""
        lengths = real.sum(1, keepdim=True)
        if self.rate is None:
            hidden = drawn_count(lengths, self._rates(len(real), generator))
        else:
            hidden = fixed_count(lengths, self.rate)
        if self.suffix or self.next_cell:
            order = lengths - 1 - torch.arange(real.shape[1])
        else:
            noise = torch.rand(real.shape, generator=generator)
            order = noise.masked_fill(~real, 2.0).argsort(1).argsort(1)
        masked = (order < hidden) & real
        predicted = masked & (order == hidden - 1) if self.next_cell else masked
        return masked, predicted, (lengths / predicted.sum(1, keepdim=True)).expand(real.shape)

    def _rates(self, rows: int, generator: torch.Generator | None) -> Tensor:
        """A mask rate in [0, 1) for each row (rows, 1)."""
        if not self.stratified:
            return torch.rand(rows, 1, generator=generator)
        offset = torch.rand(1, 1, generator=generator)
        return (offset + torch.randperm(rows, generator=generator)[:, None] / rows) % 1.0

    def _hide_source(self, real: Tensor, generator: torch.Generator | None) -> Tensor:
        """The source tokens to mask (b, s): none in half of the rows, a fraction ``source_rate`` in the others."""
        chosen = torch.rand(len(real), 1, generator=generator) < 0.5
        return (torch.rand(real.shape, generator=generator) < self.source_rate) & chosen & real


def drawn_count(lengths: Tensor, drawn: Tensor) -> Tensor:
    """How many of n tokens are hidden (b, 1): 1 to n, equally likely where ``drawn`` (b, 1) is uniform on [0, 1)."""
    return (drawn * lengths).long().clamp(max=lengths - 1) + 1


def fixed_count(lengths: Tensor, rate: float) -> Tensor:
    """How many of n tokens are hidden (b, 1) at a fixed rate: one at least."""
    return (rate * lengths).round().long().clamp(min=1)


def expected_hidden(tokens: Amount, rate: float | None) -> Amount:
    """The expected number of hidden tokens among ``tokens``, at a fixed rate or, with None, by `drawn_count`."""
    if rate is None:
        return (tokens + 1.0) / 2.0
    hidden: Amount = np.maximum(np.round(rate * tokens), 1.0)
    return hidden


def _ended(source: Tensor, source_mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """The source (b, s) followed by BOS (b, s + 1), after which an encoder's canvas begins, and its mask."""
    source = F.pad(source, (0, 1), value=BOS)
    return source, None if source_mask is None else F.pad(source_mask, (0, 1), value=True)


def _canvas(cells: Tensor, mask: Tensor | None, length: int) -> Tensor:
    """Cells (b, t) on a canvas of ``length`` cells, filled with [MASK]."""
    if mask is not None:
        cells = cells.masked_fill(~mask, MASK)
    return F.pad(cells, (0, length - cells.shape[1]), value=MASK)
