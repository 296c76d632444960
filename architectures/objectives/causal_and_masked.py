"""Next tokens and masked tokens on the same weights (GPT-BERT, 2410.24159): for models that read sources both ways."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from archbench.architectures.components.numbers import Amount
from archbench.architectures.components.stack import select
from archbench.architectures.objectives.causal import Causal
from archbench.architectures.objectives.masked import drawn_count, expected_mask_count, fixed_count, random_cells
from archbench.architectures.objectives.objective import Batch, LossInputs, index_of
from archbench.tasks.base.example import MASK


@dataclass(frozen=True)
class CausalAndMasked(Causal):
    """Pretraining on two kinds of rows: next tokens, as by ``Causal``, and texts that are to be filled in.

    A row is a text to fill in if its target is one token (END) and its source has more than one;
    ``tasks/text/rearranged.py`` makes such rows. Any other row is learnt as by ``Causal``.

    In a text of n + 1 tokens all but the first may be masked. k of these n are, at a rate drawn for each row, or at
    ``rate``. The state one position before a masked token predicts it, as the state before a next token does. As in
    ``Masked``, each of the k weighs n / k. The loss is divided by n + 1 tokens of such a row: by those n and END.
    """

    rate: float | None = None

    def prepare(self, model: Any, batch: Batch, generator: torch.Generator | None, native: bool) -> LossInputs:
        """The inputs of ``Causal``, and masked tokens in the sources that are to be filled in."""
        inputs = super().prepare(model, batch, generator, native)
        source, target = batch.real()
        filled_in = (target.sum(1) == 1) & (source.sum(1) > 1)
        if not filled_in.any():
            return inputs
        lengths = (source.sum(1, keepdim=True) - 1).clamp(min=1)  # without the first token, which is never masked
        if self.rate is None:
            mask_count = drawn_count(lengths, torch.rand(lengths.shape, generator=generator))
        else:
            mask_count = fixed_count(lengths, self.rate)
        candidates = source.clone()
        candidates[:, 0] = False
        is_masked = random_cells(mask_count, candidates, generator) & filled_in[:, None]
        before = torch.zeros_like(is_masked)
        before[:, :-1] = is_masked[:, 1:]
        weights = (lengths / mask_count).expand(is_masked.shape)[is_masked]
        return inputs._replace(
            source=batch.source.masked_fill(is_masked.to(batch.source.device), MASK),
            source_at=index_of(before, batch.source),
            source_labels=select(batch.source, index_of(is_masked, batch.source)),
            source_weights=weights.float().to(batch.source.device),
            row_tokens=torch.where(filled_in, lengths[:, 0] + 1, inputs.row_tokens),
        )

    def loss_tokens(self, model: Any, source: Amount, target: Amount, native: bool) -> Amount:
        """Expected tokens with a loss in one example."""
        usual = super().loss_tokens(model, source, target, native)
        mask_count = expected_mask_count(np.maximum(source - 1.0, 1.0), self.rate)
        filled_in = (np.asarray(target) == 1.0) & (np.asarray(source) > 1.0)
        tokens: Amount = np.where(filled_in, usual + mask_count, usual)
        return tokens
