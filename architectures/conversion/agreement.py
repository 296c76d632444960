"""Test of a model of ``transformers`` for the same logits as ours, on one small batch of random tokens."""

import copy
from typing import Any

import torch

from archbench.architectures.components.positions import Learned

TOLERANCE = 1e-3  # of the largest logit, or of 1 where that is smaller: rounding in float32 stays far below it
LENGTH = 24  # tokens


@torch.no_grad()
def agree(ours: Any, theirs: Any) -> bool:
    """True if the logits of both are equal in evaluation mode; neither model is changed. ``theirs`` is on the CPU."""
    model = copy.deepcopy(ours).cpu().float().eval()
    length = min(LENGTH, model.positions.weight.shape[0]) if isinstance(model.positions, Learned) else LENGTH
    vocabulary = model.embedding.weight.shape[0]
    ids = torch.randint(vocabulary, (2, length), generator=torch.Generator().manual_seed(0))
    if model.family == "encoder-decoder":
        actual, expected = theirs(input_ids=ids, decoder_input_ids=ids).logits, model(ids, ids)
    else:
        actual, expected = theirs(input_ids=ids, attention_mask=torch.ones_like(ids)).logits, model(None, ids)
    largest = max(1.0, float(expected.abs().max()))
    return bool(torch.allclose(actual, expected, atol=TOLERANCE * largest, rtol=0.0, equal_nan=True))
