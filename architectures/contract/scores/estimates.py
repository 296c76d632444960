"""The check of estimates: on average they are the negative log-likelihood that the objective says they are."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from archbench.architectures.contract.subject import Subject, require, sequences, subject
from archbench.architectures.objectives.objective import Batch, LossInputs
from archbench.tasks.base.example import MASK

DRAWS = 4096
WORDS = 500  # of a vocabulary in which a random token is seldom the right one
SHOWN = 0.02  # of the predicted cells may show their token, ten times as many as by chance
SIGMAS = 5.0
ROUNDING = 1e-3


def estimates_average_to_the_likelihood(case: Subject) -> str | None:
    """Estimates from left to right are -log p on average; other estimates that are called bounds are not below it.

    Validation uses them to choose a checkpoint and a learning rate. Four parts of an objective belong together: change
    `left_to_right_estimator`, `estimate_is_bound` and `loss_tokens` with `_draw_mask` or `_rates`. From left to right,
    a cell is predicted while it and all later cells are masked. In a bound, every number of masked cells has the same
    total weight, as many cells are predicted in any order of writing. A cell that shows its own token predicts nothing:
    leave it out of the loss, or state the share of such cells as the objective's `shown`.
    """
    objective = case.model.objective
    if not objective.needs_pass_per_token:
        return "it needs no estimates"
    cells = case.limits.target_length
    drawn = _drawn(case, objective.left_to_right_estimator, cells)
    if drawn is None:
        return "its canvas and the target have different lengths"
    masked, row, at, weights = drawn
    suffix = masked == (torch.arange(cells) >= at[:, None])
    require(
        bool(suffix.all()),
        "estimates from left to right predict a cell while other cells are masked than it and the later ones",
    )
    _have_equal_weight(row, at, weights, cells, "from left to right, the cell after {} known ones")
    _are_hidden(subject(case.build, case.size, replace(case.limits, vocabulary=WORDS)))
    drawn = _drawn(case, objective.bound_estimator, cells)
    if objective.estimate_is_bound and drawn is not None:
        masked, row, at, weights = drawn
        _have_equal_weight(row, masked.sum(1) - 1, weights, cells, "in a bound, cells beside {} masked ones")
    return None


def _are_hidden(case: Subject) -> None:
    """Requires predicted cells to show their own token no more often than the objective says."""
    inputs = _inputs(case, case.model.objective, case.limits.target_length)
    readable = inputs.target.flatten()[inputs.at] == inputs.labels
    share = (inputs.weights[readable].sum() / inputs.weights.sum()).item()
    stated = getattr(case.model.objective, "shown", 0.0)
    require(
        share <= stated + SHOWN,
        f"{share:.1%} of the predicted cells, by weight, show the token to be predicted; `shown` says {stated:g}",
    )


def _inputs(case: Subject, objective: Any, cells: int) -> LossInputs:
    """``DRAWS`` random targets, as an objective prepares them."""
    batch = Batch(sequences(DRAWS, 2, limits=case.limits), sequences(DRAWS, cells, seed=1, limits=case.limits))
    inputs: LossInputs = objective.prepare(case.model, batch, torch.Generator().manual_seed(0), False)
    return inputs


def _drawn(case: Subject, objective: Any, cells: int) -> tuple[Tensor, Tensor, Tensor, Tensor] | None:
    """For each predicted cell (m,) of ``DRAWS`` targets: which cells are masked (m, t), its row, place and weight."""
    inputs = _inputs(case, objective, cells)
    if inputs.target.shape[1] != cells:
        return None
    row = inputs.at // cells
    return inputs.target[row] == MASK, row, inputs.at % cells, inputs.weights


def _have_equal_weight(row: Tensor, group: Tensor, weights: Tensor, cells: int, what: str) -> None:
    """Requires each group of predicted cells, 0 to ``cells`` - 1, to weigh 1 in a target, on average over the draws."""
    totals = torch.zeros(DRAWS, cells).index_put_((row, group), weights, accumulate=True)
    error = SIGMAS * totals.std(0) / DRAWS**0.5 + ROUNDING
    for number, (mean, most) in enumerate(zip(totals.mean(0), error, strict=True)):
        message = f"{what.format(number)} weigh {mean:.2f} in a target on average, expected 1"
        require(bool((mean - 1.0).abs() <= most), message)
