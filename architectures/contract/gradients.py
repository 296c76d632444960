"""Checks of gradients: they are those of the loss, and they reach every part of a matrix."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from archbench.architectures.contract.subject import Subject, allowed, require, sequences, stacked
from archbench.architectures.objectives.objective import Batch, mean_loss

STEPS = (2e-4, 4e-5)  # of a parameter's norm, or of ``LEAST``: large weights bend the loss within the longer one
LEAST = 5.0
ROUNDING = 2e-7  # of the loss, which is in float32
SLACK = 0.03  # of the larger derivative: what rounding and curvature account for
BATCHES = 4
SMALL = 3e-3  # derivatives below are not compared by their ratio


def gradients_are_those_of_the_loss(case: Subject) -> None:
    """A small change of any parameter changes the training loss as its gradient predicts.

    Look for a `detach()`, a `torch.no_grad()`, or a custom backward pass that leaves out a term: every parameter may
    still get some gradient while training minimises a different function.
    """
    for native in (True, False):
        loss = _loss(case, native)
        case.model.zero_grad()
        torch.autograd.backward(loss)
        for name, parameter in case.model.named_parameters():
            if parameter.grad is not None:
                for along in _directions(parameter, 2 if native else 1):
                    _is_slope(case, parameter, along, name, native)


def every_part_of_a_matrix_is_trained(case: Subject) -> str | None:
    """Every row and every column of every linear layer gets a gradient from the loss.

    Queries, keys and values often share a matrix, and so do the halves of a gated network. If one part is never used,
    or another layer's part is used in its place, the matrix as a whole still gets a gradient.
    """
    layers = {name: layer for name, layer in case.model.named_modules() if isinstance(layer, nn.Linear)}
    if not layers:
        return "it has no `nn.Linear`"
    sizes = {name: torch.zeros_like(layer.weight) for name, layer in layers.items()}
    for seed in range(BATCHES):
        batch = Batch(sequences(4, 6, seed=2 * seed), sequences(4, 6, seed=2 * seed + 1))
        generator = torch.Generator().manual_seed(seed)
        case.model.zero_grad()
        torch.autograd.backward(mean_loss(case.model, batch, allowed(), generator, native=True))
        for name, layer in layers.items():
            sizes[name] += 0.0 if layer.weight.grad is None else layer.weight.grad.abs()
    for name, size in sizes.items():
        for axis, what in ((1, "rows"), (0, "columns")):
            idle = int((size.amax(axis) == 0).sum())
            count = size.shape[1 - axis]
            require(not idle, f"{idle} of {count} {what} of {name}.weight never get a gradient")
    return None


def _loss(case: Subject, native: bool) -> Tensor:
    source, source_mask = stacked([sequences(1, 5), sequences(1, 3, seed=1), sequences(1, 4, seed=2)])
    target, target_mask = stacked([sequences(1, 4, seed=3), sequences(1, 6, seed=4), sequences(1, 2, seed=5)])
    batch = Batch(source, target, source_mask, target_mask)
    if not native:  # without padding some paths are shorter
        batch = Batch(sequences(3, 5), sequences(3, 6, seed=1))
    generator, model = torch.Generator().manual_seed(0), case.model.train()
    loss: Tensor = mean_loss(model, batch, allowed(), generator, native=native)
    return loss


def _directions(parameter: nn.Parameter, most: int) -> Iterator[Tensor]:
    """At most ``most`` unit vectors: along the gradient, and random ones."""
    generator = torch.Generator().manual_seed(0)
    for along in (parameter.grad, torch.randn(parameter.shape, generator=generator))[:most]:
        if along is not None and along.norm() > 0:
            yield along / along.norm()


def _is_slope(case: Subject, parameter: nn.Parameter, along: Tensor, name: str, native: bool) -> None:
    """Requires the gradient along a unit vector to match a finite difference of the loss, for one of ``STEPS``."""
    assert parameter.grad is not None
    expected, found = (parameter.grad * along).sum().item(), 0.0
    for share in STEPS:
        step = share * max(parameter.detach().norm().item(), LEAST)
        ahead, behind = (_moved(case, parameter, sign * step * along, native) for sign in (1.0, -1.0))
        found = (ahead - behind) / (2 * step)
        slack = SMALL + SLACK * max(abs(found), abs(expected)) + ROUNDING * abs(ahead) / step
        if abs(found - expected) <= slack:
            return
    what = f"the loss{'' if native else ' of the target alone'} changes by {found:.3g} along {name}"
    require(False, f"{what}, its gradient says {expected:.3g}")


def _moved(case: Subject, parameter: nn.Parameter, by: Tensor, native: bool) -> float:
    """The loss with a parameter moved."""
    kept = parameter.detach().clone()
    with torch.no_grad():
        parameter.copy_(kept + by)
    loss = _loss(case, native).item()
    with torch.no_grad():
        parameter.copy_(kept)
    return loss
