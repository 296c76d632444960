"""Next-token prediction (causal language modelling)."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from archbench.architectures.components.numbers import Amount, Flops
from archbench.architectures.components.stack import select
from archbench.architectures.components.states import StateIndex, mask_or_ones
from archbench.architectures.objectives.generate import decode_left_to_right
from archbench.architectures.objectives.objective import (
    Batch,
    LossInputs,
    equal_shares,
    in_parts,
    index_of,
    log_softmax,
    tripled,
    weighted_loss,
)
from archbench.tasks.base.decoding import Decoding
from archbench.tasks.base.example import BOS


@dataclass(frozen=True)
class Causal:
    """Next-token prediction, for decoder-only and encoder-decoder models.

    With native supervision a causal decoder predicts the tokens of its source as well. Source and target then weigh the
    same, whatever their lengths: else a label would drown in the text before it.
    """

    needs_pass_per_token = estimate_is_bound = False

    @property
    def bound_estimator(self) -> "Causal":
        return self

    left_to_right_estimator = bound_estimator

    def prepare(self, model: Any, batch: Batch, generator: torch.Generator | None, native: bool) -> LossInputs:
        """Predict the target from the tokens before it and, if native, the source from its second token."""
        source, target = batch.real()
        at, tokens = index_of(target, batch.target), target.sum(1)
        labels = select(batch.target, at)
        weights = torch.ones(len(at), device=at.device)
        read = batch.source, _shift(batch.target), batch.source_mask, batch.target_mask
        inputs = LossInputs(*read, at, labels, weights, tokens)
        if not (native and model.source_predicts and batch.source.shape[1] > 1):
            return inputs
        later = source[:, 1:]
        source_labels = select(batch.source, index_of(F.pad(later, (1, 0)), batch.source))
        return inputs._replace(
            source_at=index_of(F.pad(later, (0, 1)), batch.source),
            source_labels=source_labels,
            source_weights=equal_shares(source_labels, tokens.sum()),
        )

    def loss(self, model: Any, inputs: LossInputs, allowed_tokens: Tensor, smoothing: float = 0.0) -> Tensor:
        """Sum of the negative log-likelihoods of target tokens; if native, plus the source's mean with equal weight."""
        return weighted_loss(model, inputs, allowed_tokens, smoothing)

    def log_likelihood(self, model: Any, batch: Batch, allowed_tokens: Tensor, parts: int = 1) -> tuple[Tensor, Tensor]:
        """Exact log-likelihood of each target, including END: log p in nats (b,), and tokens (b,)."""
        if parts > 1:
            split = [self.log_likelihood(model, part, allowed_tokens) for part in batch.split(parts)]
            return torch.cat([log_p for log_p, _ in split]), torch.cat([tokens for _, tokens in split])
        at = StateIndex(None, index_of(batch.real()[1], batch.target))
        states = model.hidden(batch.source, _shift(batch.target), batch.source_mask, batch.target_mask, at).target
        real, labels = mask_or_ones(batch.target, batch.target_mask), select(batch.target, at.target)[:, None]
        scores = torch.zeros(real.numel(), dtype=torch.float64, device=real.device)
        for part in in_parts(len(labels), len(allowed_tokens)):
            log_p = log_softmax(model.logits(states[part]), allowed_tokens).gather(-1, labels[part])
            scores[at.target[part]] = log_p.squeeze(-1).double()
        return scores.view(real.shape).sum(1), real.sum(1)

    def example_inputs(self, model: Any, batch: Batch) -> Batch:
        """The source, and the whole target shifted by BOS: one pass predicts every token of it."""
        return batch._replace(target=_shift(batch.target))

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
        return decode_left_to_right(model, source, source_mask, allowed_tokens, decoding, generator, start)

    def training_flops(self, model: Any, source: Amount, target: Amount, native: bool) -> Flops:
        """Forward and backward FLOPs of one example: three times the forward pass."""
        outputs = self.loss_tokens(model, source, target, native)
        return tripled(model.flops(source, target, outputs))

    def loss_tokens(self, model: Any, source: Amount, target: Amount, native: bool) -> Amount:
        """Tokens with loss in one example."""
        predicted = (source - 1.0) * (source > 0) if native and model.source_predicts else 0.0
        return target + predicted

    def answer_flops(self, model: Any, source: Amount, target: Amount) -> Amount:
        """Model FLOPs of reading a source and generating a target token by token with a cache."""
        return model.flops(source, target, target).model  # type: ignore[no-any-return]


def _shift(target: Tensor) -> Tensor:
    """The inputs of a causal model to predict ``target`` (b, t): BOS and all but the last token."""
    return torch.cat([torch.full_like(target[:, :1], BOS), target[:, :-1]], 1)
