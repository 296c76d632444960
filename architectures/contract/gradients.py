"""Checks of gradients: they are those of the loss, and they reach every part of a matrix."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from architectures.contract.subject import Subject, allowed, require, sequences, stacked
from architectures.objectives import Pairs

STEP, LEAST = 2e-4, 1e-3  # of a parameter's length, and in all, to both sides: the loss is in float32
SLACK = 0.03  # of the larger derivative: what rounding and curvature account for
BATCHES = 4
SMALL = 3e-3  # derivatives below are not compared by their ratio


def gradients_are_those_of_the_loss(case: Subject) -> None:
    """Moving any parameter a little changes the training loss by what its gradient says.

    A `detach()`, a `torch.no_grad()` or a backward pass of your own that leaves out a term trains another model than
    the one that is scored, though every parameter still gets some gradient.
    """
    loss = _loss(case)
    case.model.zero_grad()
    loss.backward()
    for name, parameter in case.model.named_parameters():
        if parameter.grad is None:
            continue
        for along in _directions(parameter):
            expected, found = (parameter.grad * along).sum().item(), _slope(case, parameter, along)
            message = f"the loss changes by {found:.3g} along {name}, its gradient says {expected:.3g}"
            require(abs(found - expected) <= SMALL + SLACK * max(abs(found), abs(expected)), message)


def every_part_of_a_matrix_is_trained(case: Subject) -> str | None:
    """Every row and every column of every linear layer gets a gradient from the loss.

    Queries, keys and values, or a gate and what it multiplies, often share a matrix: where one of them is never used,
    or another layer's is used in its place, the matrix still gets some gradient.
    """
    layers = {name: layer for name, layer in case.model.named_modules() if isinstance(layer, nn.Linear)}
    if not layers:
        return "it has no `nn.Linear`"
    sizes = {name: torch.zeros_like(layer.weight) for name, layer in layers.items()}
    for seed in range(BATCHES):
        pairs = Pairs(sequences(4, 6, seed=2 * seed), sequences(4, 6, seed=2 * seed + 1))
        generator = torch.Generator().manual_seed(seed)
        case.model.zero_grad()
        case.model.objective.loss(case.model, pairs, allowed(), generator, native=True).backward()
        for name, layer in layers.items():
            sizes[name] += 0.0 if layer.weight.grad is None else layer.weight.grad.abs()
    for name, size in sizes.items():
        for axis, what in ((1, "rows"), (0, "columns")):
            idle = int((size.amax(axis) == 0).sum())
            count = size.shape[1 - axis]
            require(not idle, f"{idle} of {count} {what} of {name}.weight never get a gradient")
    return None


def _loss(case: Subject) -> Tensor:
    source, source_mask = stacked([sequences(1, 5), sequences(1, 3, seed=1), sequences(1, 4, seed=2)])
    target, target_mask = stacked([sequences(1, 4, seed=3), sequences(1, 6, seed=4), sequences(1, 2, seed=5)])
    pairs = Pairs(source, target, source_mask, target_mask)
    generator, model = torch.Generator().manual_seed(0), case.model.train()
    loss: Tensor = model.objective.loss(model, pairs, allowed(), generator, native=True)
    return loss


def _directions(parameter: nn.Parameter) -> Iterator[Tensor]:
    """Unit vectors along the gradient, and at random."""
    generator = torch.Generator().manual_seed(0)
    for along in (parameter.grad, torch.randn(parameter.shape, generator=generator)):
        if along is not None and along.norm() > 0:
            yield along / along.norm()


@torch.no_grad()
def _slope(case: Subject, parameter: nn.Parameter, along: Tensor) -> float:
    """The derivative of the loss along a unit vector, by central differences."""
    kept, losses = parameter.clone(), []
    step = max(STEP * kept.norm().item(), LEAST)
    for sign in (1.0, -1.0):
        parameter.copy_(kept + sign * step * along)
        with torch.enable_grad():
            losses.append(_loss(case).item())
    parameter.copy_(kept)
    return (losses[0] - losses[1]) / (2 * step)
