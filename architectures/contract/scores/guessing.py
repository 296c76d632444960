"""Losses of a uniform model: with all parameters zero, its logits are equal, so every loss and score is known."""

import math
from itertools import product

import torch

from archbench.architectures.contract.inputs.batches import Compared, ShapedBatch
from archbench.architectures.contract.modes import Mode
from archbench.architectures.contract.subject import Subject, allowed
from archbench.architectures.objectives.masked import Masked
from archbench.architectures.objectives.objective import Batch, estimate, mean_loss

DRAWS = 3


def losses_of_guessing(case: Subject, shaped: ShapedBatch, mode: Mode) -> Compared:
    """Losses, likelihoods and estimates of a uniform model, and log(number of allowed tokens) nats for each token."""
    batch, allowed_tokens, objective = shaped.batch, allowed(), case.model.objective
    tokens, nats = batch.target_mask.sum(1).double(), math.log(int(allowed_tokens.sum()))  # type: ignore[union-attr]
    for smoothing, seed in product((0.0, 0.1), range(4)):
        loss = mean_loss(case.model, batch, allowed_tokens, torch.Generator().manual_seed(seed), smoothing=smoothing)
        expected = torch.tensor([nats * _weight(case, batch, seed)])
        yield f"training loss of a uniform model with smoothing {smoothing}", loss[None], expected
    scores, counts = objective.log_likelihood(case.model, batch, allowed_tokens)
    yield "number of scored tokens", counts.double(), tokens
    yield "likelihood of a uniform model", -scores.double(), tokens * nats
    if objective.needs_pass_per_token:
        generator = torch.Generator().manual_seed(0)
        cells = torch.full_like(tokens, case.model.canvas) if _is_ended(case) else tokens
        for what, estimator, predicted in (
            ("estimate", objective.bound_estimator, cells),
            ("sampled likelihood", objective.left_to_right_estimator, tokens),
        ):
            costs = estimate(case.model, batch, allowed_tokens, generator, DRAWS, objective=estimator)
            yield f"{what} of a uniform model", costs.double(), predicted * nats


def source_loss_of_guessing(case: Subject, shaped: ShapedBatch, mode: Mode) -> Compared:
    """The source loss that native supervision adds for a uniform model, and log(vocabulary) nats."""
    if not case.model.source_predicts:
        return
    batch, allowed_tokens = shaped.batch, allowed()
    of_target, expected = math.log(int(allowed_tokens.sum())), math.log(len(allowed_tokens))
    losses = [
        mean_loss(case.model, batch, allowed_tokens, torch.Generator().manual_seed(seed), native=True).item()
        - of_target * _weight(case, batch, seed, native=True)
        for seed in range(8)
    ]
    loss = max(losses)  # a draw may hide no source token
    what = f"the source loss of a uniform model is {loss:.4f}, expected {expected:.4f}"
    yield what, torch.tensor([loss]), torch.tensor([expected])


def _is_ended(case: Subject) -> bool:
    return isinstance(case.model.objective, Masked) and case.model.objective.ended


def _weight(case: Subject, batch: Batch, seed: int, native: bool = False) -> float:
    """The weight of a batch's labels for each target token: 1, or what a masked objective states."""
    objective = case.model.objective
    if not isinstance(objective, Masked) or not (objective.equal or objective.ended):
        return 1.0
    inputs = objective.prepare(case.model, batch, torch.Generator().manual_seed(seed), native)
    return float(inputs.weights.sum()) / inputs.tokens
