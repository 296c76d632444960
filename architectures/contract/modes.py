"""The modes in which a model runs: scoring, training, and training in bfloat16."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn


@dataclass(frozen=True)
class Mode:
    """Training or evaluation mode, with or without gradients, in float32 or under bfloat16 autocast."""

    training: bool = False
    gradients: bool = False
    bfloat16: bool = False

    def __str__(self) -> str:
        words = ["in training mode" if self.training else "in evaluation mode"]
        words += ["with gradients"] if self.gradients else []
        return " ".join([*words, *(["in bfloat16"] if self.bfloat16 else [])])

    @property
    def note(self) -> str:
        """The mode's part of a message; empty for scoring."""
        return "" if self == SCORING else f" {self}"

    @contextmanager
    def of(self, model: nn.Module) -> Iterator[None]:
        """Runs the block with the model in this mode, and then restores the model's mode."""
        before = model.training
        model.train(self.training)
        try:
            with torch.set_grad_enabled(self.gradients), torch.autocast("cpu", torch.bfloat16, enabled=self.bfloat16):
                yield
        finally:
            model.train(before)


SCORING = Mode()
TRAINING = Mode(training=True, gradients=True)
TRAINING_BFLOAT16 = Mode(training=True, gradients=True, bfloat16=True)
WATCHED = Mode(gradients=True)
HALF = (TRAINING_BFLOAT16,)
MODES = (SCORING, TRAINING, TRAINING_BFLOAT16)
EXACT = (SCORING, TRAINING)  # float32
OTHERS = (WATCHED, Mode(training=True), TRAINING)  # than scoring, in float32
