"""The input format of checkpoints: a source between the special tokens that the tokenizer adds.

BERT     [CLS] the cat [SEP] [MASK] [MASK] ...     the canvas begins after a [SEP]
T5       the cat </s>                              the decoder starts as it was taught
GPT-2    the cat sat                               the target goes on directly, no token in between
"""

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from archbench.architectures.components.embedding import Targets
from archbench.architectures.components.numbers import Amount, Flops
from archbench.architectures.components.states import StateIndex, States
from archbench.architectures.objectives.masked import Masked
from archbench.architectures.objectives.objective import Batch, LossInputs, Objective
from archbench.tasks.base.decoding import Decoding
from archbench.tasks.base.example import BOS


@dataclass(frozen=True)
class Framed:
    """An objective whose sources stand between the tokens ``before`` and ``after``.

    ``direct``: a decoder goes on right behind its source, whose last token is in BOS's place; BOS begins empty ones.
    """

    inner: Objective
    before: tuple[int, ...] = ()
    after: tuple[int, ...] = ()
    direct: bool = False

    @property
    def needs_pass_per_token(self) -> bool:
        return self.inner.needs_pass_per_token

    @property
    def estimate_is_bound(self) -> bool:
        return self.inner.estimate_is_bound

    @property
    def bound_estimator(self) -> "Framed":
        return replace(self, inner=self.inner.bound_estimator)

    @property
    def left_to_right_estimator(self) -> "Framed":
        return replace(self, inner=self.inner.left_to_right_estimator)

    def prepare(self, model: Any, batch: Batch, generator: torch.Generator | None, native: bool) -> LossInputs:
        """Inputs that the inner objective prepares from the framed sources, which have no loss of their own."""
        return self.inner.prepare(model, self._framed(batch), generator, False)

    def loss(self, model: Any, inputs: LossInputs, allowed_tokens: Tensor, smoothing: float = 0.0) -> Tensor:
        return self.inner.loss(self._reader(model), inputs, allowed_tokens, smoothing)

    def log_likelihood(self, model: Any, batch: Batch, allowed_tokens: Tensor, parts: int = 1) -> tuple[Tensor, Tensor]:
        return self.inner.log_likelihood(self._reader(model), self._framed(batch), allowed_tokens, parts)

    def pseudo_log_likelihood(self, model: Any, batch: Batch, allowed_tokens: Tensor, parts: int = 1) -> Tensor:
        """Of an inner objective that masks tokens."""
        assert isinstance(self.inner, Masked)
        return self.inner.pseudo_log_likelihood(self._reader(model), self._framed(batch), allowed_tokens, parts)

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
        source, source_mask = self._with_special_tokens(source), self._extended(source_mask)
        return self.inner.generate(self._reader(model), source, source_mask, allowed_tokens, decoding, generator, start)

    def training_flops(self, model: Any, source: Amount, target: Amount, native: bool) -> Flops:
        return self.inner.training_flops(model, source + self._extra, target, False)

    def loss_tokens(self, model: Any, source: Amount, target: Amount, native: bool) -> Amount:
        return self.inner.loss_tokens(model, source, target, False)

    def answer_flops(self, model: Any, source: Amount, target: Amount) -> Amount:
        return self.inner.answer_flops(model, source + self._extra, target)

    def rounds_flops(self, model: Any, source: Amount, target: Amount, rounds: int) -> Amount:
        assert isinstance(self.inner, Masked)
        return self.inner.rounds_flops(model, source + self._extra, target, rounds)

    @property
    def _extra(self) -> float:
        return float(len(self.before) + len(self.after))

    def _reader(self, model: Any) -> Any:
        return ContinuesSource(model) if self.direct else model

    def _framed(self, batch: Batch) -> Batch:
        return batch._replace(
            source=self._with_special_tokens(batch.source), source_mask=self._extended(batch.source_mask)
        )

    def _with_special_tokens(self, source: Tensor) -> Tensor:
        """Sources (b, s) between their special tokens."""
        before, after = (torch.tensor(side).to(source).expand(len(source), -1) for side in (self.before, self.after))
        return torch.cat([before, source, after], 1)

    def _extended(self, mask: Tensor | None) -> Tensor | None:
        return None if mask is None else F.pad(mask, (len(self.before), len(self.after)), value=True)


@dataclass(frozen=True)
class HeldBackCache:
    """Cache of a decoder that has read all tokens but the last of each row; ``last`` (b,) is still to be fed."""

    cache: Any
    last: Tensor

    def rows(self, index: Tensor) -> "HeldBackCache":
        return HeldBackCache(self.cache.rows(index), self.last[index])


@dataclass(frozen=True)
class ContinuesSource:
    """A decoder-only model that is fed the last token of its source where others are fed BOS."""

    model: Any

    def hidden(
        self,
        source: Tensor | None,
        target: Tensor,
        source_mask: Tensor | None = None,
        target_mask: Tensor | None = None,
        at: StateIndex | None = None,
    ) -> States:
        assert at is None or at.source is None, (
            "the last source token moves into the target, so that indices of source states shift"
        )
        if source is None or source.shape[1] == 0:
            return self._states(None, target, None, target_mask, at)
        source, source_mask, last = _without_last(source, source_mask, target[:, 0])
        return self._states(source, torch.cat([last[:, None], target[:, 1:]], 1), source_mask, target_mask, at)

    def logits(self, states: Tensor) -> Tensor:
        scores: Tensor = self.model.logits(states)
        return scores

    def loss(self, states: Tensor, targets: Targets) -> Tensor:
        total: Tensor = self.model.loss(states, targets)
        return total

    def prefill(self, source: Tensor | None, source_mask: Tensor | None = None) -> Any:
        if source is None or source.shape[1] == 0:
            return self.model.prefill(source, source_mask)
        source, source_mask, last = _without_last(source, source_mask, torch.full_like(source[:, 0], BOS))
        return HeldBackCache(self.model.prefill(source, source_mask), last)

    def decode(self, tokens: Tensor, cache: Any) -> tuple[Tensor, Any]:
        if isinstance(cache, HeldBackCache):
            tokens, cache = torch.cat([cache.last[:, None], tokens[:, 1:]], 1), cache.cache
        logits, cache = self.model.decode(tokens, cache)
        return logits, cache

    def _states(self, *inputs: Tensor | StateIndex | None) -> States:
        states: States = self.model.hidden(*inputs)
        return states


def _without_last(source: Tensor, mask: Tensor | None, empty: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The source (b, s) and its mask without the last token of each row, and that token (b,), ``empty`` for none."""
    present = torch.ones_like(source, dtype=torch.bool) if mask is None else mask.bool()
    positions = torch.arange(source.shape[1], device=source.device)
    end = (present * (positions + 1)).amax(1) - 1  # -1 where a row has no token
    last = torch.where(end < 0, empty, source.gather(1, end.clamp(min=0)[:, None]).squeeze(1))
    return source, present & (positions != end[:, None]), last
