"""Masked language modelling, as any-order prediction that can be scored exactly and written with."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from archbench.architectures.components.numbers import Amount, Flops
from archbench.architectures.components.stack import pick
from archbench.architectures.components.states import Places, full
from archbench.architectures.kernels.cross_entropy import plain
from archbench.architectures.objectives.generate import Decoding, in_rounds, left_to_right
from archbench.architectures.objectives.objective import (
    Asked,
    Pairs,
    evenly,
    in_parts,
    log_softmax,
    on_device,
    places,
    present,
    tripled,
)
from archbench.tasks.base.example import BOS, MASK

CANVASES = {"cpu": 64, "cuda": 128}  # that are read at once; on a CPU what one is computed from stays in the cache


@dataclass(frozen=True)
class Masked:
    """Fill in hidden cells, at a rate drawn uniformly: the any-order bound (1904.09324, 2110.02037, 2406.07524).

    For a target of n tokens, k is drawn from 1..n, k cells are hidden and their loss is weighted by n / k: its
    expectation is the mean over all orders of writing, which bounds -log p where the order is drawn at random, not from
    left to right. Cells after END are [MASK], attended, without loss. ``suffix``: hide the last k cells, the
    states that writing from left to right meets (2410.01600); each of them is predicted from the same beginning, so
    that the loss is no bound on the likelihood in any order. With native supervision half of the sources have
    ``source_rate`` of their tokens hidden as well and predicted (1810.04805), with a weight equal to the target's.
    """

    suffix: bool = False
    source_rate: float = 0.15

    estimated = True

    @property
    def bounded(self) -> bool:
        return not self.suffix

    def loss(
        self,
        model: Any,
        pairs: Pairs,
        answers: Tensor,
        generator: torch.Generator | None = None,
        native: bool = False,
        smoothing: float = 0.0,
    ) -> Tensor:
        """The weighted loss over hidden cells per target token; its expectation is the mean over orders of writing."""
        return self.asked(model, pairs, generator, native).loss(model, answers, smoothing)

    def asked(self, model: Any, pairs: Pairs, generator: torch.Generator | None, native: bool) -> Asked:
        """Cells that are hidden now, those of the source too where native, and their weights."""
        source, target = present(pairs)
        hidden_source = self._hide_source(source, generator) if native else None
        asked, _ = self._ask(model, pairs, target, generator, hidden_source)
        asked = asked._replace(weights=asked.weights / int(target.sum()))
        if hidden_source is None:
            return asked
        labels = pick(pairs.source, places(hidden_source, pairs.source))
        return asked._replace(source_labels=labels, source_weights=evenly(labels))

    def estimate(
        self, model: Any, pairs: Pairs, answers: Tensor, generator: torch.Generator, draws: int
    ) -> Tensor | None:
        """The mean weighted loss of each target over ``draws`` of what is hidden: nats (b,).

        It estimates the any-order bound on -log p; where suffixes are hidden it bounds nothing.
        """
        target = present(pairs)[1]
        total = torch.zeros(target.numel(), dtype=torch.float64, device=pairs.target.device)
        for _ in range(draws):
            asked, index = self._ask(model, pairs, target, generator, None)
            states = asked.read(model).target
            for part in in_parts(len(asked.labels), len(answers)):
                losses = plain(model.logits(states[part]), asked.labels[part], answers, 0.0)
                total.index_add_(0, index[part], (losses * asked.weights[part]).double())
        return total.view(target.shape).sum(1) / draws

    def log_likelihood(self, model: Any, pairs: Pairs, answers: Tensor) -> tuple[Tensor, Tensor]:
        """Exact log-likelihood by the chain rule, left to right, END included: nats (b,) and tokens (b,).

        Every token is predicted from a canvas that shows the tokens before it; one forward pass per token.
        """
        present = full(pairs.target, pairs.target_mask)
        source, source_mask = _ended(pairs.source, pairs.source_mask)
        cells, rows = present.T.nonzero(as_tuple=True)  # those that look from late positions together
        scores = torch.zeros(present.shape, dtype=torch.float64, device=present.device)
        steps = torch.arange(model.canvas, device=present.device)
        blank = _canvas(pairs.target, pairs.target_mask, model.canvas)
        at_once = CANVASES.get(present.device.type, max(CANVASES.values()))
        for start in range(0, len(rows), at_once):
            row, cell = rows[start : start + at_once], cells[start : start + at_once]
            canvas = blank[row].masked_fill(steps >= cell[:, None], MASK)
            mask = None if source_mask is None else source_mask[row]
            at = Places(None, torch.arange(len(row), device=row.device) * model.canvas + cell)
            states = model.hidden(source[row], canvas, mask, None, at).target
            found = log_softmax(model.logits(states), answers).gather(-1, pairs.target[row, cell][:, None])
            scores[row, cell] = found.squeeze(-1).double()
        return scores.sum(1), present.sum(1)

    def shown(self, model: Any, pairs: Pairs) -> Pairs:
        """What the model reads when half of the target is written: the source and BOS, that half, then [MASK]."""
        present = full(pairs.target, pairs.target_mask)
        half = present.sum(1, keepdim=True) // 2
        late = torch.arange(present.shape[1], device=present.device) >= half
        source, source_mask = _ended(pairs.source, pairs.source_mask)
        canvas = _canvas(pairs.target.masked_fill(late, MASK), pairs.target_mask, model.canvas)
        return Pairs(source, canvas, source_mask, None)

    def generate(
        self,
        model: Any,
        source: Tensor,
        source_mask: Tensor | None,
        answers: Tensor,
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
            return in_rounds(model, source, source_mask, answers, decoding)
        return left_to_right(model, source, source_mask, answers, decoding, generator, start)

    def training_flops(self, model: Any, source: Amount, target: Amount, native: bool) -> Flops:
        """Forward and backward FLOPs of one example, in expectation over what is hidden."""
        outputs = self.loss_tokens(source, target, model, native)
        return tripled(model.flops(source + 1.0, 0.0 * target + model.canvas, outputs))

    def loss_tokens(self, source: Amount, target: Amount, model: Any, native: bool) -> Amount:
        """Expected tokens with loss in one example."""
        return (target + 1.0) / 2.0 + (0.5 * self.source_rate * source if native else 0.0)

    def answer_flops(self, model: Any, source: Amount, target: Amount) -> Amount:
        """Model FLOPs of writing a target from left to right: a forward pass per token."""
        return target * model.flops(source + 1.0, 0.0 * target + model.canvas, 1.0).model  # type: ignore[no-any-return]

    def _ask(
        self,
        model: Any,
        pairs: Pairs,
        target: Tensor,
        generator: torch.Generator | None,
        hidden_source: Tensor | None,
    ) -> tuple[Asked, Tensor]:
        """Hide some of the cells ``target`` (b, t), and the given ones of the source (b, s).

        Returns what is asked, each hidden cell with the weight n / k, and the places of these among (b, t): (n,).
        """
        hidden, weights = self._hide(target, generator)
        source, source_mask = _ended(pairs.source, pairs.source_mask)
        if hidden_source is not None:
            source = source.masked_fill(on_device(F.pad(hidden_source, (0, 1)), source), MASK)
        written = pairs.target.masked_fill(on_device(hidden, source), MASK)
        canvas = _canvas(written, pairs.target_mask, model.canvas)
        read = None if hidden_source is None else places(F.pad(hidden_source, (0, 1)), source)
        at = places(F.pad(hidden, (0, canvas.shape[1] - hidden.shape[1])), source)
        index = places(hidden, source)
        labels, weights = pick(pairs.target, index), on_device(weights[hidden], source)
        return Asked(source, canvas, source_mask, None, at, labels, weights, read), index

    def _hide(self, real: Tensor, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
        """Which cells to hide (b, t), and the weight n / k of each row's cells (b, t); all in the host's memory."""
        lengths = real.sum(1, keepdim=True)
        uniform = torch.rand(len(real), 1, generator=generator)
        hidden = (uniform * lengths).long().clamp(max=lengths - 1) + 1
        if self.suffix:
            order = lengths - 1 - torch.arange(real.shape[1])
        else:
            noise = torch.rand(real.shape, generator=generator)
            order = noise.masked_fill(~real, 2.0).argsort(1).argsort(1)
        weights = (lengths / hidden).expand(real.shape)
        return (order < hidden) & real, weights

    def _hide_source(self, real: Tensor, generator: torch.Generator | None) -> Tensor:
        """Which source tokens to hide (b, s): none in half of the rows, ``source_rate`` of them in the others."""
        chosen = torch.rand(len(real), 1, generator=generator) < 0.5
        return (torch.rand(real.shape, generator=generator) < self.source_rate) & chosen & real


def _ended(source: Tensor, source_mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """The source (b, s) with BOS behind it (b, s + 1), where an encoder's canvas begins, and its mask."""
    source = F.pad(source, (0, 1), value=BOS)
    return source, None if source_mask is None else F.pad(source_mask, (0, 1), value=True)


def _canvas(cells: Tensor, mask: Tensor | None, length: int) -> Tensor:
    """Cells (b, t) on a canvas of ``length`` cells; whatever is not there is [MASK]."""
    if mask is not None:
        cells = cells.masked_fill(~mask, MASK)
    return F.pad(cells, (0, length - cells.shape[1]), value=MASK)
