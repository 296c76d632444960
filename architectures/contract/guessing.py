"""Checks of a uniform model: with all parameters zero, its logits are equal, so every loss and score is known."""

import math

import torch
from torch import Tensor

from archbench.architectures.contract.subject import Subject, allowed, equal, require, sequences, stacked
from archbench.architectures.objectives.masked import Masked
from archbench.architectures.objectives.objective import Batch, estimate, mean_loss

DRAWS = 3


@torch.no_grad()
def a_uniform_model_has_known_losses(case: Subject) -> None:
    """With all parameters zero, loss, likelihood and estimate are log(number of allowed tokens) nats per token.

    They then have the same meaning in every architecture. Look for a missing weight, a softmax over other tokens, or a
    mean in place of a sum. The loss of masked tokens may weigh them otherwise where the objective says so.
    """
    for parameter in case.model.parameters():
        parameter.zero_()
    batch, allowed_tokens, objective = _batch(), allowed(), case.model.objective
    tokens, nats = batch.target_mask.sum(1), math.log(int(allowed_tokens.sum()))  # type: ignore[union-attr]
    for smoothing in (0.0, 0.1):
        for seed in range(4):
            generator = torch.Generator().manual_seed(seed)
            loss = mean_loss(case.model, batch, allowed_tokens, generator, smoothing=smoothing)
            expected = nats * _weight(case, batch, seed)
            equal(loss[None], torch.tensor([expected]), f"training loss of a uniform model with smoothing {smoothing}")
    scores, counts = objective.log_likelihood(case.model, batch, allowed_tokens)
    require(counts.tolist() == tokens.tolist(), f"targets of {tokens.tolist()} tokens count {counts.tolist()}")
    _costs(-scores, tokens, nats, "likelihood")
    if objective.needs_pass_per_token:
        generator = torch.Generator().manual_seed(0)
        bound = estimate(case.model, batch, allowed_tokens, generator, DRAWS, objective=objective.bound_estimator)
        cells = torch.full_like(tokens, case.model.canvas) if _is_ended(case) else tokens
        _costs(bound, cells, nats, "estimate")
        sampled = estimate(
            case.model, batch, allowed_tokens, generator, DRAWS, objective=objective.left_to_right_estimator
        )
        _costs(sampled, tokens, nats, "sampled likelihood")


@torch.no_grad()
def a_uniform_model_has_a_known_source_loss(case: Subject) -> str | None:
    """With all parameters zero, native supervision adds log(vocabulary) nats per predicted source token to the loss.

    Native supervision (`native=True`) is a mean over the predicted source tokens. Without a source loss it has no
    weight; with a sum in place of a mean it outweighs the target.
    """
    if not case.model.source_predicts:
        return "it has no loss on its source"
    for parameter in case.model.parameters():
        parameter.zero_()
    batch, allowed_tokens = _batch(), allowed()
    of_target, expected = math.log(int(allowed_tokens.sum())), math.log(len(allowed_tokens))
    losses = [
        mean_loss(case.model, batch, allowed_tokens, torch.Generator().manual_seed(seed), native=True).item()
        - of_target * _weight(case, batch, seed, native=True)
        for seed in range(8)
    ]
    loss = max(losses)  # a draw may hide no source token
    require(abs(loss - expected) < 1e-3, f"the source loss of a uniform model is {loss:.4f}, expected {expected:.4f}")
    return None


def _is_ended(case: Subject) -> bool:
    return isinstance(case.model.objective, Masked) and case.model.objective.ended


def _weight(case: Subject, batch: Batch, seed: int, native: bool = False) -> float:
    """What the labels of a batch weigh for each target token: 1, or what a masked objective states."""
    objective = case.model.objective
    if not isinstance(objective, Masked) or not (objective.equal or objective.ended):
        return 1.0
    inputs = objective.prepare(case.model, batch, torch.Generator().manual_seed(seed), native)
    return float(inputs.weights.sum()) / inputs.tokens


def _costs(actual: Tensor, tokens: Tensor, nats: float, what: str) -> None:
    equal(actual.double(), tokens.double() * nats, f"{what} of a uniform model")


def _batch() -> Batch:
    source, source_mask = stacked([sequences(1, 5), sequences(1, 3, seed=1), sequences(1, 7, seed=2)])
    target, target_mask = stacked([sequences(1, 4, seed=3), sequences(1, 6, seed=4), sequences(1, 1, seed=5)])
    return Batch(source, target, source_mask, target_mask)
