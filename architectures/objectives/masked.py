"""Masked language modelling: what is masked and how it weighs, the exact likelihood, and how a canvas is filled in."""

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
    cell_tokens,
    equal_shares,
    index_of,
    length_nats,
    log_softmax,
    predicts_length,
    tripled,
    weighted_loss,
)
from archbench.tasks.base.decoding import Decoding
from archbench.tasks.base.example import BOS, END, MASK

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
    """Predict masked tokens, k of n, with k drawn from 1..n and the same probability for every choice of k tokens.

    The loss of each weighs n / k: on average the loss is that of generating the target in some order, averaged over all
    orders. This is the any-order bound of -log p (1904.09324, 2110.02037, 2406.07524), for generation in a random order
    and not from left to right. ``equal``: each weighs n / E[k] instead, however many are predicted (1810.04805,
    1904.09324), and the loss bounds no likelihood. Likelihoods are computed in the same way after either.

    ``ended``: END fills the canvas after the target, and is masked and predicted like the target's tokens (2502.09992).
    Otherwise cells after END are [MASK], without a loss. A model that predicts ``lengths`` has no such cells: a target
    is its length and its tokens without END (1904.09324).

    ``suffix``: in this share of the texts the last k tokens are masked, as in generation from left to right
    (2410.01600). All k are predicted from the same tokens before them, so that the loss bounds the likelihood of no
    order. ``next_cell``: the last k tokens are masked and only the first of these is predicted, with weight n. The
    expected loss is -log p from left to right.

    ``stratified``: the rates of a batch are spread evenly over (0, 1), with one random offset (2107.00630, I.1). Each
    rate by itself is still uniform, so that the expected loss is the same; it varies less from batch to batch.

    ``source_rate``: with native supervision this share of the tokens is masked in half of the sources, and predicted
    (1810.04805); in total they weigh as much as the targets.
    ``joint``: with native supervision source and target are one text instead, whose tokens are masked at one rate: the
    any-order bound of the whole text.

    ``rate``: always this share of a text is masked (1810.04805: 0.15), instead of a share that is drawn. The loss then
    bounds the likelihood of no order.
    """

    suffix: float = 0.0
    next_cell: bool = False
    source_rate: float = 0.15
    stratified: bool = False
    joint: bool = False
    rate: float | None = None
    equal: bool = False
    ended: bool = False

    needs_pass_per_token = True
    shown = 0.0  # the share of predicted tokens that a subclass leaves readable (1810.04805: 0.1)

    @property
    def estimate_is_bound(self) -> bool:
        return not self.suffix and self.rate is None

    @property
    def bound_estimator(self) -> "Masked":
        """The same masks, with the weights of the any-order bound."""
        return replace(self, equal=False)

    @property
    def left_to_right_estimator(self) -> "Masked":
        """Predict one cell of each target from those before it: the expectation over cells is -log p, left to right."""
        plain = replace(self, suffix=0.0, stratified=False, rate=None, equal=False, ended=False)
        return replace(plain, next_cell=True)

    def prepare(self, model: Any, batch: Batch, generator: torch.Generator | None, native: bool) -> LossInputs:
        """The canvas with what is masked on it and the weight of each and, if native, masked tokens of the source."""
        row_tokens, text = batch.real()[1].sum(1), self._text(model, batch)
        source_real, real = text.real()
        masked_source = source_weights = None
        if native and self.joint:
            width = source_real.shape[1]
            whole = self._draw_mask(torch.cat([source_real, real], 1), generator)
            masked_source, source_weights = whole.masked[:, :width], whole.weights[:, :width]
            draw = MaskDraw(*(part[:, width:] for part in whole))
        else:
            masked_source = self._draw_source_mask(source_real, generator) if native else None
            ended = [row_tokens[:, None]] if self.ended else []  # a subclass may draw by two arguments
            draw = self._draw_mask(real, generator, *ended)
        source, source_mask = _ended(text.source, text.source_mask)
        if masked_source is not None:
            source = source.masked_fill(F.pad(masked_source, (0, 1)).to(source.device), MASK)
        canvas, canvas_mask = _canvas(model, text._replace(target=_hidden(text.target, draw.masked)))
        inputs = LossInputs(
            source,
            canvas,
            source_mask,
            canvas_mask,
            at=index_of(F.pad(draw.predicted, (0, canvas.shape[1] - real.shape[1])), source),
            labels=select(text.target, index_of(draw.predicted, source)),
            weights=draw.weights[draw.predicted].to(source.device),
            row_tokens=row_tokens,
            lengths=real.sum(1).to(source.device) if predicts_length(model) else None,
        )
        if masked_source is None:
            return inputs
        source_labels = select(text.source, index_of(masked_source, source))
        if source_weights is None:
            shares = equal_shares(source_labels, row_tokens.sum())
        else:
            shares = source_weights[masked_source].to(source.device)
        return inputs._replace(
            source_at=index_of(F.pad(masked_source, (0, 1)), source),
            source_labels=source_labels,
            source_weights=shares,
        )

    def loss(self, model: Any, inputs: LossInputs, allowed_tokens: Tensor, smoothing: float = 0.0) -> Tensor:
        """The weighted sum over masked positions, and -log p of the length where that is predicted."""
        return weighted_loss(model, inputs, allowed_tokens, smoothing)

    def log_likelihood(self, model: Any, batch: Batch, allowed_tokens: Tensor, parts: int = 1) -> tuple[Tensor, Tensor]:
        """Exact log-likelihood by the chain rule, left to right: log p in nats (b,), and tokens (b,), END included.

        Every token is predicted from a canvas that shows the tokens before it; one forward pass per token. END is the
        last of them, or the length comes first.
        """
        tokens, text = mask_or_ones(batch.target, batch.target_mask).sum(1), without_end(model, batch)
        log_p = self._cell_scores(model, text, allowed_tokens, parts, from_left=True)
        if predicts_length(model):
            source, lengths = _ended(text.source, text.source_mask), mask_or_ones(text.target, text.target_mask).sum(1)
            log_p = log_p - length_nats(model, *source, lengths).double()
        return log_p, tokens

    def pseudo_log_likelihood(self, model: Any, batch: Batch, allowed_tokens: Tensor, parts: int = 1) -> Tensor:
        """The sum of log p of each token given all other tokens of its target, in nats (b,) (1910.14659).

        It is no likelihood: tokens that predict each other all count as likely.
        """
        return self._cell_scores(model, without_end(model, batch), allowed_tokens, parts, from_left=False)

    def _cell_scores(self, model: Any, text: Batch, allowed_tokens: Tensor, parts: int, from_left: bool) -> Tensor:
        """The sum (b,) of log p of every cell, given those before it (``from_left``) or all others."""
        present = mask_or_ones(text.target, text.target_mask)
        source, source_mask = _ended(text.source, text.source_mask)
        cells, rows = present.T.nonzero(as_tuple=True)  # those that look from late positions together
        scores = torch.zeros(present.shape, dtype=torch.float64, device=present.device)
        blank, shown = _canvas(model, text)
        width, lengths = blank.shape[1], present.sum(1) if predicts_length(model) else None
        steps = torch.arange(width, device=present.device)
        at_once = max(1, CANVASES.get(present.device.type, max(CANVASES.values())) // parts)
        for start in range(0, len(rows), at_once):
            row, cell = rows[start : start + at_once], cells[start : start + at_once]
            hidden = steps >= cell[:, None] if from_left else steps == cell[:, None]
            canvas = blank[row].masked_fill(hidden, MASK)
            mask, canvas_mask = (None if part is None else part[row] for part in (source_mask, shown))
            at = StateIndex(None, torch.arange(len(row), device=row.device) * width + cell)
            states = model.hidden(source[row], canvas, mask, canvas_mask, at).target
            log_p = log_softmax(model.logits(states), cell_tokens(allowed_tokens, lengths))
            scores[row, cell] = log_p.gather(-1, text.target[row, cell][:, None]).squeeze(-1).double()
        return scores.sum(1)

    def example_inputs(self, model: Any, batch: Batch) -> Batch:
        """The source and BOS, and the canvas with the second half of the target masked."""
        text = without_end(model, batch)
        present = mask_or_ones(text.target, text.target_mask)
        half = present.sum(1, keepdim=True) // 2
        late = torch.arange(present.shape[1], device=present.device) >= half
        source, source_mask = _ended(text.source, text.source_mask)
        canvas, canvas_mask = _canvas(model, text._replace(target=_hidden(text.target, late)))
        return Batch(source, canvas, source_mask, canvas_mask)

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
        predicted = self.loss_tokens(model, source, target, native) + self._fillers(model, target, native)
        forward = model.flops(source + 1.0, self._read(model, target), predicted)
        return tripled(forward + model.length_flops(source + 1.0) if predicts_length(model) else forward)

    def loss_tokens(self, model: Any, source: Amount, target: Amount, native: bool) -> Amount:
        """Expected tokens with a loss in one example; END that fills a canvas is none of them."""
        cells = self._cells(model, target)
        if native and self.joint:
            return expected_mask_count(source + cells, self.rate)
        if self.next_cell:
            predicted = 0.0 * target + 1.0
        else:
            share = target / model.canvas if self.ended else 1.0
            at_random = share * expected_mask_count(cells, self.rate)
            at_the_end = expected_mask_count(target if self.ended else cells, self.rate)
            predicted = (1.0 - self.suffix) * at_random + self.suffix * at_the_end
        return predicted + (0.5 * self.source_rate * source if native else 0.0)

    def answer_flops(self, model: Any, source: Amount, target: Amount) -> Amount:
        """Model FLOPs of generating a target from left to right: a forward pass per token."""
        passes = self._written(model, target)
        return self._writing_flops(model, source, target, passes, 0.0 * target + 1.0)

    def rounds_flops(self, model: Any, source: Amount, target: Amount, rounds: int) -> Amount:
        """Model FLOPs of filling the canvas in so many rounds: a forward pass, with logits of all cells, in each."""
        canvas = self._read(model, target)
        return self._writing_flops(model, source, target, np.minimum(rounds, canvas), canvas)

    def _writing_flops(self, model: Any, source: Amount, target: Amount, passes: Amount, logits: Amount) -> Amount:
        flops: Amount = passes * model.flops(source + 1.0, self._read(model, target), logits).model
        return flops + model.length_flops(source + 1.0).model if predicts_length(model) else flops

    def _written(self, model: Any, target: Amount) -> Amount:
        """The tokens of a target that are written into cells."""
        return target - 1.0 if predicts_length(model) else target

    def _read(self, model: Any, target: Amount) -> Amount:
        """The cells that are read with a target."""
        return target - 1.0 if predicts_length(model) else 0.0 * target + model.canvas

    def _text(self, model: Any, batch: Batch) -> Batch:
        """The batch with the targets from whose cells masks are drawn: without END, or with END to the canvas's end."""
        if not self.ended or predicts_length(model):
            return without_end(model, batch)
        tokens, mask = batch.target, batch.target_mask
        tokens = tokens if mask is None else tokens.masked_fill(~mask.bool(), END)
        filled = F.pad(tokens, (0, model.canvas - tokens.shape[1]), value=END)
        return batch._replace(target=filled, target_mask=None)

    def _cells(self, model: Any, target: Amount) -> Amount:
        """The cells of a target of ``target`` tokens from which masks are drawn."""
        return self._read(model, target) if self.ended else self._written(model, target)

    def _fillers(self, model: Any, target: Amount, native: bool) -> Amount:
        """Expected cells after a target that have a loss: on END, which fills the canvas."""
        if not self.ended or self.next_cell or (native and self.joint):
            return 0.0 * target
        fillers: Amount = (1.0 - target / model.canvas) * expected_mask_count(0.0 * target + model.canvas, self.rate)
        return (1.0 - self.suffix) * fillers

    def _draw_mask(self, real: Tensor, generator: torch.Generator | None, tokens: Tensor | None = None) -> MaskDraw:
        """Draws what is masked of texts whose cells, not padding, are ``real`` (b, t).

        ``tokens`` (b, 1): how many of these come before the filler (None: all).
        """
        cells = real.sum(1, keepdim=True)
        tokens = cells if tokens is None else tokens
        rates = self._rates(len(real), generator) if self.rate is None else torch.zeros(len(real), 1)
        from_left = self._from_left(len(real), generator)
        lengths = torch.where(from_left, tokens, cells)
        count = drawn_count(lengths, rates) if self.rate is None else fixed_count(lengths, self.rate)
        predicted = masked = torch.zeros_like(real)
        if from_left.any():
            from_end = tokens - 1 - torch.arange(real.shape[1])  # 0 at the last token
            masked = (from_end < count) & real & from_left
            predicted = masked & (from_end >= 0) & ((from_end == count - 1) | (not self.next_cell))
        if not from_left.all():
            at_random = random_cells(count, real, generator) & ~from_left
            masked, predicted = masked | at_random, predicted | at_random
        if self.equal and self.rate is None and not self.next_cell:
            weights = 2.0 * lengths / (lengths + 1.0)
        else:
            weights = lengths / predicted.sum(1, keepdim=True)
        return MaskDraw(masked, predicted, weights.expand(real.shape))

    def _from_left(self, rows: int, generator: torch.Generator | None) -> Tensor:
        """The rows (rows, 1) whose last tokens are masked instead of random ones."""
        if self.next_cell or self.suffix in (0.0, 1.0):
            return torch.full((rows, 1), bool(self.next_cell or self.suffix))
        return torch.rand(rows, 1, generator=generator) < self.suffix

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


def without_end(model: Any, batch: Batch) -> Batch:
    """The batch as it is or, where lengths are predicted, with targets without END."""
    if not predicts_length(model):
        return batch
    kept = mask_or_ones(batch.target, batch.target_mask).bool() & (batch.target != END)
    width = int(kept.sum(1).max())
    return batch._replace(target=batch.target[:, :width], target_mask=kept[:, :width])


def _hidden(tokens: Tensor, masked: Tensor) -> Tensor:
    return tokens.masked_fill(masked.to(tokens.device), MASK)


def _canvas(model: Any, text: Batch) -> tuple[Tensor, Tensor | None]:
    """The cells that a model reads of targets, filled up with [MASK], and which of them exist (None: all)."""
    if predicts_length(model):
        return text.target, text.target_mask
    cells = text.target if text.target_mask is None else text.target.masked_fill(~text.target_mask.bool(), MASK)
    return F.pad(cells, (0, model.canvas - cells.shape[1]), value=MASK), None
