"""Next-token prediction (causal language modelling)."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from archbench.architectures.components.numbers import Amount, Flops
from archbench.architectures.components.stack import pick
from archbench.architectures.components.states import Places, full
from archbench.architectures.objectives.generate import Decoding, left_to_right
from archbench.architectures.objectives.objective import (
    Asked,
    Pairs,
    evenly,
    in_parts,
    log_softmax,
    places,
    present,
    tripled,
)
from archbench.tasks.base.example import BOS


@dataclass(frozen=True)
class Causal:
    """Next-token prediction, for decoder-only and encoder-decoder models.

    With native supervision a causal decoder predicts the tokens of its source as well. Source and target then weigh the
    same, whatever their lengths: else a label would drown in the text before it.
    """

    estimated = bounded = False

    def loss(
        self,
        model: Any,
        pairs: Pairs,
        answers: Tensor,
        generator: torch.Generator | None = None,
        native: bool = False,
        smoothing: float = 0.0,
    ) -> Tensor:
        """Mean negative log-likelihood of the target's tokens, plus that of the source's where native, in nats."""
        return self.asked(model, pairs, generator, native).loss(model, answers, smoothing)

    def asked(self, model: Any, pairs: Pairs, generator: torch.Generator | None, native: bool) -> Asked:
        """The target from what stands before it and, where native, the source from its second token on."""
        source, target = present(pairs)
        at = places(target, pairs.target)
        labels = pick(pairs.target, at)
        read = pairs.source, _shift(pairs.target), pairs.source_mask, pairs.target_mask
        if not (native and model.source_predicts and pairs.source.shape[1] > 1):
            return Asked(*read, at, labels, evenly(labels))
        later = source[:, 1:]
        told = pick(pairs.source, places(F.pad(later, (1, 0)), pairs.source))
        source_at = places(F.pad(later, (0, 1)), pairs.source)
        return Asked(*read, at, labels, evenly(labels), source_at, told, evenly(told))

    def log_likelihood(self, model: Any, pairs: Pairs, answers: Tensor) -> tuple[Tensor, Tensor]:
        """Exact log-likelihood of each target, END included: nats (b,) and tokens (b,)."""
        at = Places(None, places(present(pairs)[1], pairs.target))
        states = model.hidden(pairs.source, _shift(pairs.target), pairs.source_mask, pairs.target_mask, at).target
        real, labels = full(pairs.target, pairs.target_mask), pick(pairs.target, at.target)[:, None]
        scores = torch.zeros(real.numel(), dtype=torch.float64, device=real.device)
        for part in in_parts(len(labels), len(answers)):
            found = log_softmax(model.logits(states[part]), answers).gather(-1, labels[part])
            scores[at.target[part]] = found.squeeze(-1).double()
        return scores.view(real.shape).sum(1), real.sum(1)

    def shown(self, model: Any, pairs: Pairs) -> Pairs:
        """What the model reads to predict the whole target in one pass: the source, and the target behind BOS."""
        return pairs._replace(target=_shift(pairs.target))

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
        return left_to_right(model, source, source_mask, answers, decoding, generator, start)

    def training_flops(self, model: Any, source: Amount, target: Amount, native: bool) -> Flops:
        """Forward and backward FLOPs of one example: three times the forward pass."""
        outputs = self.loss_tokens(source, target, model, native)
        return tripled(model.flops(source, target, outputs))

    def loss_tokens(self, source: Amount, target: Amount, model: Any, native: bool) -> Amount:
        """Tokens with loss in one example."""
        predicted = (source - 1.0) * (source > 0) if native and model.source_predicts else 0.0
        return target + predicted

    def answer_flops(self, model: Any, source: Amount, target: Amount) -> Amount:
        """Model FLOPs of reading a source and writing a target token by token from a cache."""
        return model.flops(source, target, target).model  # type: ignore[no-any-return]

    def estimate(
        self, model: Any, pairs: Pairs, answers: Tensor, generator: torch.Generator, draws: int
    ) -> Tensor | None:
        """None: the likelihood is what was trained."""
        return None


def _shift(target: Tensor) -> Tensor:
    """What a causal model reads to predict ``target`` (b, t): BOS and all but the last token."""
    return torch.cat([torch.full_like(target[:, :1], BOS), target[:, :-1]], 1)
