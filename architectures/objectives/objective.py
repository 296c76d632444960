"""Objectives: what a model predicts in training, how a target is scored exactly, and how one is generated.

Targets (b, t) hold no BOS, END where they have one, and padding at the right (``target_mask``, None: none).
``allowed_tokens`` (v,) marks the tokens that a target may use; probabilities of targets are over these alone.

    target            the  cat  sat  END
    Causal reads      BOS  the  cat  sat         and predicts the row above, left to right
    Masked reads      the  [M]  [M]  END  [M]    and predicts the masked cells; the canvas goes on past END

``objective.prepare(model, batch, generator, native)`` draws what is masked, in the host's memory, and
``objective.loss(model, inputs, allowed_tokens)`` sums the losses; a training step calls both.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from archbench.architectures.components.embedding import Targets, cross_entropy
from archbench.architectures.components.numbers import Amount, Flops
from archbench.architectures.components.states import StateIndex, States
from archbench.tasks.base.decoding import Decoding
from archbench.tasks.base.example import END

LOGITS = 2**26  # at a time, where a likelihood is computed: 256 MiB in float32


class Batch(NamedTuple):
    """Source (b, s) and target (b, t) token ids, padded at the right, and their masks (None: no padding)."""

    source: Tensor
    target: Tensor
    source_mask: Tensor | None = None
    target_mask: Tensor | None = None

    @property
    def source_lengths(self) -> NDArray[np.int64]:
        """Tokens of each source (b,)."""
        return _lengths(self.source, self.source_mask)

    @property
    def target_lengths(self) -> NDArray[np.int64]:
        """Tokens of each target (b,), including END."""
        return _lengths(self.target, self.target_mask)

    @property
    def tokens(self) -> int:
        """Tokens of sources and targets, including END and excluding padding."""
        return sum(t.numel() if mask is None else int(mask.sum()) for t, mask in self._parts())

    @property
    def cells(self) -> int:
        """Cells of both rectangles, including padding."""
        return self.source.numel() + self.target.numel()

    def real(self) -> tuple[Tensor, Tensor]:
        """Which positions of the source (b, s) and of the target (b, t) are not padding, in host memory."""
        source, target = (
            torch.ones(tokens.shape, dtype=torch.bool) if mask is None else mask.bool().cpu()
            for tokens, mask in self._parts()
        )
        return source, target

    def to(self, device: torch.device | str) -> Batch:
        return Batch(*(None if part is None else part.to(device) for part in self))  # type: ignore[arg-type]

    def split(self, parts: int) -> Iterator[Batch]:
        """The same rows in ``parts`` batches, or in as many as there are rows."""
        rows = -(-len(self.target) // parts)
        for begin in range(0, len(self.target), rows):
            yield Batch(*(None if part is None else part[begin : begin + rows] for part in self))  # type: ignore[arg-type]

    def _parts(self) -> tuple[tuple[Tensor, Tensor | None], ...]:
        return (self.source, self.source_mask), (self.target, self.target_mask)


class LossInputs(NamedTuple):
    """A model's inputs and labels in a training step: everything that a loss needs besides the parameters.

    ``source`` (b, s), ``target`` (b, t) and their masks: what the model reads, shifted or masked already.
    ``at`` (n,): flat positions (row * t + column) of the target states that predict ``labels`` (n,).
    ``weights`` (n,): the loss is the sum of weight * -log p(label). On average a token of a target weighs 1. They are
    set before a batch is split into parts, so that the losses of the parts add up to that of the batch.
    ``row_tokens`` (b,): how many tokens each row counts in the loss's divisor, in the host's memory.
    ``source_at``, ``source_labels``, ``source_weights`` (m,): the same for source states; None: none predicts.
    ``lengths`` (b,): those of the targets, which are predicted from the source; None: END says where a target ends.
    """

    source: Tensor
    target: Tensor
    source_mask: Tensor | None
    target_mask: Tensor | None
    at: Tensor
    labels: Tensor
    weights: Tensor
    row_tokens: Tensor
    source_at: Tensor | None = None
    source_labels: Tensor | None = None
    source_weights: Tensor | None = None
    lengths: Tensor | None = None

    @property
    def tokens(self) -> int:
        """Divisor of the summed loss: the number of target tokens including END; tokens of a source that is to be
        filled in count, too (see ``CausalAndMasked``).
        """
        return int(self.row_tokens.sum())

    @property
    def predicting_positions(self) -> StateIndex:
        """The positions of source and target whose states predict a label."""
        return StateIndex(self.source_at, self.at)

    def to(self, device: torch.device) -> LossInputs:
        """The same on a device, copied to a GPU asynchronously."""

        def moved(part: Any) -> Any:
            if not isinstance(part, Tensor) or part.device == device:
                return part
            pins = device.type == "cuda" and part.device.type == "cpu"  # "cuda" is not equal to "cuda:0"
            return part.pin_memory().to(device, non_blocking=True) if pins else part.to(device)

        return LossInputs(*map(moved, self))._replace(row_tokens=self.row_tokens)

    def split(self, parts: int) -> Iterator[LossInputs]:
        """The same rows in ``parts``, or in as many as there are rows, for gradient accumulation."""
        if parts == 1:
            yield self
            return
        rows = -(-len(self.target) // parts)
        for begin in range(0, len(self.target), rows):
            yield self._rows(begin, min(begin + rows, len(self.target)))

    def _rows(self, begin: int, end: int) -> LossInputs:
        def rows(part: Any) -> Any:
            return None if part is None else part[begin:end]

        width, source_width = self.target.shape[1], self.source.shape[1]
        predicted = _between(self.at, begin * width, end * width)
        part = LossInputs(
            rows(self.source),
            rows(self.target),
            rows(self.source_mask),
            rows(self.target_mask),
            at=self.at[predicted] - begin * width,
            labels=self.labels[predicted],
            weights=self.weights[predicted],
            row_tokens=rows(self.row_tokens),
            lengths=rows(self.lengths),
        )
        if self.source_at is None or self.source_labels is None or self.source_weights is None:
            return part
        predicted = _between(self.source_at, begin * source_width, end * source_width)
        return part._replace(
            source_at=self.source_at[predicted] - begin * source_width,
            source_labels=self.source_labels[predicted],
            source_weights=self.source_weights[predicted],
        )


class Objective(Protocol):
    """An objective: the training loss, the exact likelihood, and the generation of a target.

    ``prepare`` and ``log_likelihood`` read targets; ``generate`` gets sources alone, so that no answer can be copied
    from its reference.
    """

    @property
    def needs_pass_per_token(self) -> bool:
        """True if the exact likelihood needs a forward pass per token, so that validation uses ``estimate``."""
        ...

    @property
    def estimate_is_bound(self) -> bool:
        """True if the expectation of ``estimate`` is an upper bound of -log p."""
        ...

    @property
    def bound_estimator(self) -> Objective:
        """The objective whose ``estimate`` is that bound; itself where there is none."""
        ...

    @property
    def left_to_right_estimator(self) -> Objective:
        """The objective whose ``estimate`` has the expectation -log p; itself where likelihoods are not estimated."""
        ...

    def prepare(self, model: Any, batch: Batch, generator: torch.Generator | None, native: bool) -> LossInputs:
        """Model inputs for a batch, with the labels and weights of its losses; ``native``: also on sources.

        ``generator`` draws what is random in it, such as masked positions.
        """
        ...

    def loss(self, model: Any, inputs: LossInputs, allowed_tokens: Tensor, smoothing: float = 0.0) -> Tensor:
        """The training loss of a batch: a scalar, in nats, summed with the weights of ``inputs``."""
        ...

    def log_likelihood(self, model: Any, batch: Batch, allowed_tokens: Tensor, parts: int = 1) -> tuple[Tensor, Tensor]:
        """log p in nats (b,), at most 0, and tokens (b,) of every target; in more ``parts`` it takes less memory."""
        ...

    def example_inputs(self, model: Any, batch: Batch) -> Batch:
        """The model inputs that inspection shows.

        Causal: the whole target, shifted by one. Masked: the canvas with the second half of the target masked.
        """
        ...

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
        """A target for each source (b, s): token ids without END. ``start`` (b, m) begins them and is not returned."""
        ...

    def training_flops(self, model: Any, source: Amount, target: Amount, native: bool) -> Flops:
        """Expected FLOPs of a training step for each example: three times those of the forward pass (2001.08361).

        ``source`` and ``target`` are lengths in tokens, numbers or arrays (n,).
        """
        ...

    def loss_tokens(self, model: Any, source: Amount, target: Amount, native: bool) -> Amount:
        """Expected number of tokens with a loss in each example; lengths as for `training_flops`."""
        ...

    def answer_flops(self, model: Any, source: Amount, target: Amount) -> Amount:
        """FLOPs of generating each target from its source; lengths as for `training_flops`."""
        ...


def is_exact(objective: Objective, target_length: int) -> bool:
    """True if validation in training uses exact likelihoods, as for targets of one token, which every mask predicts."""
    return not objective.needs_pass_per_token or target_length == 1


def weighted_loss(model: Any, inputs: LossInputs, allowed_tokens: Tensor, smoothing: float = 0.0) -> Tensor:
    """The weighted sum of negative log-likelihoods in nats: of target tokens over those allowed, of source tokens."""
    states, allowed_tokens = hidden_states(model, inputs), cell_tokens(allowed_tokens, inputs.lengths)
    loss: Tensor = model.loss(states.target, Targets(inputs.labels, inputs.weights, allowed_tokens, smoothing))
    if inputs.lengths is not None:
        loss = loss + length_nats(model, inputs.source, inputs.source_mask, inputs.lengths).sum()
    if inputs.source_labels is None or inputs.source_weights is None or states.source is None:
        return loss
    source: Tensor = model.loss(states.source, Targets(inputs.source_labels, inputs.source_weights, None, smoothing))
    return loss + source


def cell_tokens(allowed_tokens: Tensor, lengths: Tensor | None) -> Tensor:
    """The tokens (v,) that a cell may have: those of an answer, without END where ``lengths`` say where it ends."""
    if lengths is None:
        return allowed_tokens
    return allowed_tokens & (torch.arange(len(allowed_tokens), device=allowed_tokens.device) != END)


def predicts_length(model: Any) -> bool:
    """True if the model predicts lengths, so that a target is its length and its tokens without END."""
    return getattr(model, "lengths", None) is not None


def length_nats(model: Any, source: Tensor, source_mask: Tensor | None, lengths: Tensor) -> Tensor:
    """-log p of the length of each target (b,) in nats, given its source (b, s)."""
    return F.cross_entropy(model.length_logits(source, source_mask).float(), lengths, reduction="none")


def hidden_states(model: Any, inputs: LossInputs) -> States:
    """The states that predict a label: (m, d) of the source, (n, d) of the target."""
    states: States = model.hidden(
        inputs.source, inputs.target, inputs.source_mask, inputs.target_mask, inputs.predicting_positions
    )
    return states


def mean_loss(
    model: Any,
    batch: Batch,
    allowed_tokens: Tensor,
    generator: torch.Generator | None = None,
    native: bool = False,
    smoothing: float = 0.0,
    objective: Objective | None = None,
) -> Tensor:
    """The training loss of a batch per target token, in nats; ``objective`` defaults to the model's own."""
    objective = objective or model.objective
    inputs = objective.prepare(model, batch, generator, native)
    return objective.loss(model, inputs, allowed_tokens, smoothing) / inputs.tokens


@torch.no_grad()
def exact_log_likelihood(model: Any, batch: Batch, allowed_tokens: Tensor, parts: int = 1) -> Tensor:
    """log p of each target in nats (b,), at most 0, by the model's own objective.

    ``parts`` is passed on only where it is needed: an objective from outside the package may not take it.
    """
    more = (parts,) if parts > 1 else ()
    log_p: Tensor = model.objective.log_likelihood(model, batch, allowed_tokens, *more)[0]
    return log_p


def estimate(
    model: Any,
    batch: Batch,
    allowed_tokens: Tensor,
    generator: torch.Generator | None,
    draws: int,
    parts: int = 1,
    objective: Objective | None = None,
) -> Tensor:
    """An estimate of -log p of each target in nats (b,): its mean loss over ``draws`` of masks.

    Its expectation is -log p itself for a ``left_to_right_estimator``, and for another objective an upper bound of
    -log p over orders of generation, where it has ``estimate_is_bound``. The batch is read in ``parts`` of its rows.
    """
    objective, total = objective or model.objective, []
    for _ in range(draws):
        inputs = objective.prepare(model, batch, generator, False)
        total.append(torch.cat([_row_losses(model, part, allowed_tokens) for part in inputs.split(parts)]))
    return torch.stack(total).mean(0)


def _row_losses(model: Any, inputs: LossInputs, allowed_tokens: Tensor) -> Tensor:
    """The weighted loss of each row's target (b,), in float64."""
    states, rows = hidden_states(model, inputs).target, inputs.at // inputs.target.shape[1]
    total = torch.zeros(len(inputs.target), dtype=torch.float64, device=inputs.target.device)
    allowed_tokens = cell_tokens(allowed_tokens, inputs.lengths)
    if inputs.lengths is not None:
        total += length_nats(model, inputs.source, inputs.source_mask, inputs.lengths).double()
    for part in in_parts(len(inputs.labels), len(allowed_tokens)):
        nats = cross_entropy(model.logits(states[part]), inputs.labels[part], allowed_tokens, 0.0)
        total.index_add_(0, rows[part], (nats * inputs.weights[part]).double())
    return total


def index_of(chosen: Tensor, like: Tensor) -> Tensor:
    """Flat positions (m,), row * n + column, of what is True in ``chosen`` (b, n), which is in host memory.

    The index is on the device of ``like``.
    """
    return chosen.flatten().nonzero().squeeze(1).to(like.device)


def in_parts(rows: int, logits: int) -> list[slice]:
    """``rows`` in parts of at most ``LOGITS`` logits, or one row each, where a row has so many."""
    most = max(1, LOGITS // max(1, logits))
    return [slice(begin, begin + most) for begin in range(0, rows, most)]


def log_softmax(logits: Tensor, allowed_tokens: Tensor) -> Tensor:
    """Log-probabilities (..., v) in float32 over the allowed tokens (v,); minus infinity for the others."""
    return logits.float().masked_fill(~allowed_tokens, float("-inf")).log_softmax(-1)


def equal_shares(labels: Tensor, tokens: Tensor) -> Tensor:
    """Weights (m,) of source labels (m,) with the total weight of ``tokens`` () of the targets."""
    return (tokens / max(len(labels), 1)).float().expand(len(labels)).to(labels.device)


def tripled(forward: Flops) -> Flops:
    return Flops(3.0 * forward.all_pairs, 3.0 * forward.visible_pairs)


def _lengths(tokens: Tensor, mask: Tensor | None) -> NDArray[np.int64]:
    if mask is None:
        return np.full(len(tokens), tokens.shape[1], dtype=np.int64)
    return mask.sum(1).cpu().numpy()


def _between(index: Tensor, begin: int, end: int) -> slice:
    """The range of the values ``begin`` to ``end`` in an ascending index."""
    first, last = torch.searchsorted(index, torch.tensor([begin, end])).tolist()
    return slice(first, last)
