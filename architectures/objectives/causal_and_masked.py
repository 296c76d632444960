"""Next tokens and masked tokens on the same weights (GPT-BERT, 2410.24159): for models that read sources both ways."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from archbench.architectures.components.numbers import Amount
from archbench.architectures.components.stack import select
from archbench.architectures.objectives.causal import Causal
from archbench.architectures.objectives.masked import drawn_count, expected_hidden, fixed_count
from archbench.architectures.objectives.objective import Batch, LossInputs, index_of
from archbench.tasks.base.example import MASK


@dataclass(frozen=True)
class CausalAndMasked(Causal):
    """A row with a target of END alone is a text to fill in; any other row is learnt as by ``Causal``.

    Tokens of such a source are hidden at a rate drawn for each row, or at ``rate``. The state one position before a
    hidden token predicts it, as the state before a next token does; the first token is never hidden. As in ``Masked``,
    k hidden tokens of n weigh n / k each, and the row counts n tokens.
    """

    rate: float | None = None

    def prepare(self, model: Any, batch: Batch, generator: torch.Generator | None, native: bool) -> LossInputs:
        """The inputs of ``Causal``, and hidden tokens in the sources that are to be filled in."""
        inputs = super().prepare(model, batch, generator, native)
        source, target = batch.real()
        masked = (target.sum(1) == 1) & (source.sum(1) > 1)
        if not masked.any():
            return inputs
        lengths = (source.sum(1, keepdim=True) - 1).clamp(min=1)
        if self.rate is None:
            hidden = drawn_count(lengths, torch.rand(lengths.shape, generator=generator))
        else:
            hidden = fixed_count(lengths, self.rate)
        candidates = source.clone()
        candidates[:, 0] = False
        noise = torch.rand(source.shape, generator=generator).masked_fill(~candidates, 2.0)
        cells = (noise.argsort(1).argsort(1) < hidden) & candidates & masked[:, None]
        before = torch.zeros_like(cells)
        before[:, :-1] = cells[:, 1:]
        weights = (lengths / hidden).expand(cells.shape)[cells]
        return inputs._replace(
            source=batch.source.masked_fill(cells.to(batch.source.device), MASK),
            source_at=index_of(before, batch.source),
            source_labels=select(batch.source, index_of(cells, batch.source)),
            source_weights=weights.float().to(batch.source.device),
            row_tokens=torch.where(masked, lengths[:, 0] + 1, inputs.row_tokens),
        )

    def loss_tokens(self, model: Any, source: Amount, target: Amount, native: bool) -> Amount:
        """Expected tokens with a loss in one example."""
        usual = super().loss_tokens(model, source, target, native)
        hidden = expected_hidden(np.maximum(source - 1.0, 1.0), self.rate)
        filled: Amount = np.where((np.asarray(target) == 1.0) & (np.asarray(source) > 1.0), usual + hidden, usual)
        return filled
