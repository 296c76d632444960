"""Masked language modelling, as any-order prediction that can be scored exactly and written with."""

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from archbench.architectures.components.numbers import Amount, Flops
from archbench.architectures.components.stack import select
from archbench.architectures.components.states import StateIndex, mask_or_ones
from archbench.architectures.objectives.generate import decode_iteratively, decode_left_to_right
from archbench.architectures.objectives.objective import (
    Batch,
    LossInputs,
    equal_shares,
    index_of,
    log_softmax,
    tripled,
    weighted_loss,
)
from archbench.tasks.base.decoding import Decoding
from archbench.tasks.base.example import BOS, MASK

CANVASES = {"cpu": 64, "cuda": 128}  # that are read at once; on a CPU what one is computed from stays in the cache


class MaskDraw(NamedTuple):
    """For tokens (b, t): which are masked, which of those are predicted, and the weight of the loss of each.

    All three are (b, t) and in host memory.
    """

    masked: Tensor
    predicted: Tensor
    weights: Tensor


@dataclass(frozen=True)
class Masked:
    """Predict masked tokens, at a rate drawn uniformly: the any-order bound (1904.09324, 2110.02037, 2406.07524).

    Of a target of n tokens, k random ones are masked, k drawn from 1..n, and the loss of each is weighted by n / k. The
    expected loss is that of generating the target in some order, averaged over all orders: an upper bound of -log p for
    generation in a random order, not from left to right. Cells after END are [MASK], too: attended to, without loss.

    ``suffix``: the last k tokens are masked, as in generation from left to right (2410.01600). All k are predicted from
    the same tokens before them, so that the loss bounds the likelihood of no order.
    ``next_cell``: the last k tokens are masked and only the first of these is predicted, with weight n. The expected
    loss is -log p from left to right.

    ``stratified``: the rates of a batch are spread evenly over (0, 1), with one random offset (2107.00630, I.1). Each
    rate by itself is still uniform, so that the expected loss is the same; it varies less from batch to batch.

    ``source_rate``: with native supervision this share of the tokens is masked in half of the sources, and predicted
    (1810.04805); in total they weigh as much as the targets.
    ``joint``: with native supervision source and target are one text instead, whose tokens are masked at one rate: the
    any-order bound of the whole text.

    ``rate``: always this share of a text is masked (1810.04805: 0.15), instead of a share that is drawn. The loss then
    bounds the likelihood of no order.
    """

    suffix: bool = False
    next_cell: bool = False
    source_rate: float = 0.15
    stratified: bool = False
    joint: bool = False
    rate: float | None = None

    needs_pass_per_token = True

    @property
    def estimate_is_bound(self) -> bool:
        return not self.suffix and self.rate is None

    @property
    def left_to_right_estimator(self) -> "Masked":
        """Predict one cell of each target from those before it: the expectation over cells is -log p, left to right."""
        return replace(self, suffix=False, next_cell=True, stratified=False, rate=None)

    def prepare(self, model: Any, batch: Batch, generator: torch.Generator | None, native: bool) -> LossInputs:
        """Sampled masked positions with weight n / k each and, if native, masked positions of the source."""
        source_real, real = batch.real()
        masked_source = source_weights = None
        if native and self.joint:
            width = source_real.shape[1]
            whole = self._draw_mask(torch.cat([source_real, real], 1), generator)
            masked_source, source_weights = whole.masked[:, :width], whole.weights[:, :width]
            draw = MaskDraw(*(part[:, width:] for part in whole))
        else:
            masked_source = self._draw_source_mask(source_real, generator) if native else None
            draw = self._draw_mask(real, generator)
        source, source_mask = _ended(batch.source, batch.source_mask)
        if masked_source is not None:
            source = source.masked_fill(F.pad(masked_source, (0, 1)).to(source.device), MASK)
        canvas = _canvas(batch.target.masked_fill(draw.masked.to(source.device), MASK), batch.target_mask, model.canvas)
        inputs = LossInputs(
            source,
            canvas,
            source_mask,
            None,
            at=index_of(F.pad(draw.predicted, (0, canvas.shape[1] - real.shape[1])), source),
            labels=select(batch.target, index_of(draw.predicted, source)),
            weights=draw.weights[draw.predicted].to(source.device),
            row_tokens=real.sum(1),
        )
        if masked_source is None:
            return inputs
        source_labels = select(batch.source, index_of(masked_source, source))
        if source_weights is None:
            shares = equal_shares(source_labels, real.sum())
        else:
            shares = source_weights[masked_source].to(source.device)
        return inputs._replace(
            source_at=index_of(F.pad(masked_source, (0, 1)), source),
            source_labels=source_labels,
            source_weights=shares,
        )

    def loss(self, model: Any, inputs: LossInputs, allowed_tokens: Tensor, smoothing: float = 0.0) -> Tensor:
        """The weighted sum over masked positions; its expectation is the mean over generation orders."""
        return weighted_loss(model, inputs, allowed_tokens, smoothing)

    def log_likelihood(self, model: Any, batch: Batch, allowed_tokens: Tensor, parts: int = 1) -> tuple[Tensor, Tensor]:
        """Exact log-likelihood by the chain rule, left to right, including END: log p in nats (b,), and tokens (b,).

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
            log_p = log_softmax(model.logits(states), allowed_tokens).gather(-1, batch.target[row, cell][:, None])
            scores[row, cell] = log_p.squeeze(-1).double()
        return scores.sum(1), present.sum(1)

    def example_inputs(self, model: Any, batch: Batch) -> Batch:
        """The source and BOS, and the canvas with the second half of the target masked."""
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
            return decode_iteratively(model, source, source_mask, allowed_tokens, decoding)
        return decode_left_to_right(model, source, source_mask, allowed_tokens, decoding, generator, start)

    def training_flops(self, model: Any, source: Amount, target: Amount, native: bool) -> Flops:
        """Forward and backward FLOPs of one example, in expectation over the masks."""
        outputs = self.loss_tokens(model, source, target, native)
        return tripled(model.flops(source + 1.0, 0.0 * target + model.canvas, outputs))

    def loss_tokens(self, model: Any, source: Amount, target: Amount, native: bool) -> Amount:
        """Expected tokens with loss in one example."""
        if native and self.joint:
            return expected_mask_count(source + target, self.rate)
        predicted = 0.0 * target + 1.0 if self.next_cell else expected_mask_count(target, self.rate)
        return predicted + (0.5 * self.source_rate * source if native else 0.0)

    def answer_flops(self, model: Any, source: Amount, target: Amount) -> Amount:
        """Model FLOPs of generating a target from left to right: a forward pass per token."""
        return target * model.flops(source + 1.0, 0.0 * target + model.canvas, 1.0).model  # type: ignore[no-any-return]

    def _draw_mask(self, real: Tensor, generator: torch.Generator | None) -> MaskDraw:
        """Draws what is masked of texts whose tokens, not padding, are ``real`` (b, t)."""
        lengths = real.sum(1, keepdim=True)
        if self.rate is None:
            mask_count = drawn_count(lengths, self._rates(len(real), generator))
        else:
            mask_count = fixed_count(lengths, self.rate)
        if self.suffix or self.next_cell:
            from_end = lengths - 1 - torch.arange(real.shape[1])  # 0 at the last token
            masked = (from_end < mask_count) & real
            predicted = masked & (from_end == mask_count - 1) if self.next_cell else masked
        else:
            masked = predicted = random_cells(mask_count, real, generator)
        return MaskDraw(masked, predicted, (lengths / predicted.sum(1, keepdim=True)).expand(real.shape))

    def _rates(self, rows: int, generator: torch.Generator | None) -> Tensor:
        """A mask rate in [0, 1) for each row (rows, 1)."""
        if not self.stratified:
            return torch.rand(rows, 1, generator=generator)
        offset = torch.rand(1, 1, generator=generator)
        return (offset + torch.randperm(rows, generator=generator)[:, None] / rows) % 1.0

    def _draw_source_mask(self, real: Tensor, generator: torch.Generator | None) -> Tensor:
        """The source tokens to mask (b, s): none in half of the rows, a fraction ``source_rate`` in the others."""
        chosen = torch.rand(len(real), 1, generator=generator) < 0.5
        return (torch.rand(real.shape, generator=generator) < self.source_rate) & chosen & real


def random_cells(count: Tensor, candidates: Tensor, generator: torch.Generator | None) -> Tensor:
    """``count`` (b, 1) random cells of each row among its ``candidates`` (b, t): True at these, (b, t)."""
    noise = torch.rand(candidates.shape, generator=generator)
    rank = noise.masked_fill(~candidates, 2.0).argsort(1).argsort(1)  # noise is below 1: candidates rank first
    return (rank < count) & candidates


def drawn_count(lengths: Tensor, uniform: Tensor) -> Tensor:
    """How many of n tokens are masked (b, 1): 1 to n, equally likely where ``uniform`` (b, 1) is so on [0, 1)."""
    return (uniform * lengths).long().clamp(max=lengths - 1) + 1


def fixed_count(lengths: Tensor, rate: float) -> Tensor:
    """How many of n tokens are masked (b, 1) at a fixed rate: one at least."""
    return (rate * lengths).round().long().clamp(min=1)


def expected_mask_count(tokens: Amount, rate: float | None) -> Amount:
    """The expected number of masked tokens among ``tokens``, at a fixed rate or, with None, by `drawn_count`."""
    if rate is None:
        return (tokens + 1.0) / 2.0
    mask_count: Amount = np.maximum(np.round(rate * tokens), 1.0)
    return mask_count


def _ended(source: Tensor, source_mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """The source (b, s) followed by BOS (b, s + 1), after which an encoder's canvas begins, and its mask."""
    source = F.pad(source, (0, 1), value=BOS)
    return source, None if source_mask is None else F.pad(source_mask, (0, 1), value=True)


def _canvas(cells: Tensor, mask: Tensor | None, length: int) -> Tensor:
    """Cells (b, t) on a canvas of ``length`` cells, filled with [MASK]."""
    if mask is not None:
        cells = cells.masked_fill(~mask, MASK)
    return F.pad(cells, (0, length - cells.shape[1]), value=MASK)
