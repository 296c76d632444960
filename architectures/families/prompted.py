"""Labels by prompting, without training: the label whose words are the most likely after a prompt (2005.14165).

    <examples>                             <source>                <words of a label>
    what a day!\\ngood\\nhow sad\\nbad\\n      it rains again\\n        good | bad

The likelihood of the words is exact, as every family computes it; scores are normalised over the labels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from archbench.architectures.components.numbers import Amount, Flops
from archbench.architectures.components.states import mask_or_ones
from archbench.architectures.families.one_label import OneLabel
from archbench.architectures.objectives.causal import Causal
from archbench.architectures.objectives.objective import Batch


@dataclass(frozen=True)
class Prompt:
    """Tokens around a source, in the vocabulary of the pretrained model.

    ``before`` are the examples that are shown; ``between`` stands after a source, ``words`` (one for each label) after
    that. ``translated`` has the pretrained model's token for each token of the task.
    """

    translated: Sequence[int]
    before: Sequence[int]
    between: Sequence[int]
    words: Sequence[Sequence[int]]

    @property
    def longest(self) -> int:
        """Tokens of the longest words."""
        return max(map(len, self.words))

    def length(self, source: int) -> int:
        """Tokens of a source of this length with all that is around it and the longest words."""
        return len(self.before) + source + len(self.between) + self.longest


class Prompted(OneLabel):
    """A pretrained model whose labels (ids from ``first_label`` on, of ``vocabulary`` tokens) are words in a prompt."""

    def __init__(self, base: Any, prompt: Prompt, first_label: int, vocabulary: int) -> None:
        super().__init__()
        self.base, self.prompt, self.family = base.requires_grad_(False), prompt, base.family
        self.objective = Causal()
        self.head = Scattered(first_label, len(prompt.words), vocabulary)  # type: ignore[assignment]

    def state(self, source: Tensor, source_mask: Tensor | None) -> Tensor:
        """The log-likelihood of each label's words (b, l)."""
        device, prompt = source.device, self.prompt
        translated = torch.tensor(prompt.translated, device=device)
        before, between = (
            torch.tensor(part, dtype=torch.long, device=device) for part in (prompt.before, prompt.between)
        )
        real = mask_or_ones(source, source_mask).bool()
        rows = [torch.cat([before, translated[row[here]], between]) for row, here in zip(source, real, strict=True)]
        prompts = pad_sequence(rows, batch_first=True)
        mask = pad_sequence([torch.ones_like(row, dtype=torch.bool) for row in rows], batch_first=True)
        every_token = torch.ones(self.base.head.weight.shape[0], dtype=torch.bool, device=device)
        log_p = []
        for words in prompt.words:
            target = torch.tensor(words, device=device).expand(len(rows), -1)
            batch = Batch(prompts, target, None if bool(mask.all()) else mask)
            log_p.append(self.base.objective.log_likelihood(self.base, batch, every_token)[0])
        return torch.stack(log_p, dim=1).float()

    def flops(self, source: Amount, target: Amount, outputs: Amount) -> Flops:
        """FLOPs of the likelihood of every label's words after a source."""
        around = len(self.prompt.before) + len(self.prompt.between)
        answer = self.base.objective.answer_flops
        total = sum(answer(self.base, source + around, 0.0 * source + len(words)) for words in self.prompt.words)
        return Flops(total, total)


class Scattered(nn.Module):
    """Scores of labels (..., l) as logits (..., v): those of other tokens are minus infinity."""

    def __init__(self, first: int, count: int, vocabulary: int) -> None:
        super().__init__()
        self.first, self.count, self.vocabulary = first, count, vocabulary

    def forward(self, scores: Tensor) -> Tensor:
        logits = scores.new_full((*scores.shape[:-1], self.vocabulary), float("-inf"))
        logits[..., self.first : self.first + self.count] = scores
        return logits

    def flops(self, outputs: Amount) -> Amount:
        return 0.0 * outputs
