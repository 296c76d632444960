"""Whole models and padded batches, for tests that compare two ways of training."""

from typing import Any

import torch

from archbench.architectures.catalogue import catalogue
from archbench.architectures.contract import LIMITS, SIZE, sequences
from archbench.architectures.objectives.objective import Batch


def perturbed(name: str, scale: float) -> Any:
    """A variant of which no weight is at its initial value: zeros would hide what goes wrong behind them."""
    torch.manual_seed(0)
    model = catalogue.find(name).build(SIZE, LIMITS)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(scale * torch.randn_like(parameter))
    return model


def padded_pairs() -> Batch:
    """Six rows of 2 to 5 tokens on either side."""
    source, target = sequences(6, LIMITS.source_length), sequences(6, LIMITS.target_length, seed=1)
    masks = [torch.arange(x.shape[1]) < 2 + torch.arange(6)[:, None] % 4 for x in (source, target)]
    return Batch(source, target, *masks)
