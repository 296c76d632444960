"""Checks of gradients: they are those of the loss, and they reach every part of a matrix."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from unittest import mock

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from archbench.architectures.components.embedding import Embedding
from archbench.architectures.contract.inputs.weights import WEIGHTS, random
from archbench.architectures.contract.modes import TRAINING, TRAINING_BFLOAT16, Mode
from archbench.architectures.contract.subject import Subject, allowed, loss_of, require, sequences, stacked, subject
from archbench.architectures.families.size import Size
from archbench.architectures.objectives.objective import Batch, mean_loss
from archbench.tasks.base.errors import listed
from archbench.tasks.base.example import SPECIALS

STEPS = (2e-4, 4e-5, 1e-5)  # of a parameter's norm, or of ``LEAST``: large weights bend the loss within longer ones
LEAST = 5.0
ROUNDING = 2e-7  # of the loss, which is in float32
SLACK = 0.03  # of the larger derivative: what rounding and curvature account for
BATCHES = 4
SMALL = 3e-3  # derivatives below are not compared by their ratio
DROPOUT = 0.3
LARGER = Size(dim=80, heads=2, depth=3, hidden=33)
LONG = 140  # tokens of a long source and of a long target
EVERY = 4  # of their tokens, one is tried
MOVES = (0.02, 0.004, 0.001)  # of a token's embedding
FACTORS = (2.0**20, 2.0**-20)  # powers of two, so that products with them are exact
LEAST_SHARE = 1e-3  # of the gradient of all parameters: smaller ones are rounding
PROPORTIONAL = 1e-4  # relative error of a gradient in proportion to the loss
HALF = 0.3  # relative error of a gradient in bfloat16, along that in float32


def gradients_are_those_of_the_loss(case: Subject) -> None:
    """A small change of any parameter changes the training loss as its gradient predicts.

    Look for a `detach()`, a `torch.no_grad()`, a hook, or a custom backward pass that leaves out a term: every
    parameter may still get some gradient while training minimises a different function. Also tried: dropout, large
    logits, trained weights, and each token of long texts, where a recurrence may be cut into pieces. A gradient depends
    on nothing but the loss: it is twice as large for twice the loss, without limits, noise or hooks, and nearly the
    same in bfloat16. Clipping is a setting of the experiment; a variant must not clip gradients.
    """
    for native in (True, False):
        _are_slopes(case, native, 2 if native else 1)
    for name in ("confident logits", "trained weights"):
        _are_slopes(WEIGHTS[name](case), True, 1, f" ({name})")
    noisy = subject(case.build, replace(case.size, dropout=DROPOUT), case.limits)
    _are_slopes(noisy, True, 1, " with dropout")
    if case.trials.sizes:
        _are_slopes(subject(case.build, LARGER, case.limits), False, 1, " of a larger model")
        _reach_every_token(case)
    _scale_with_the_loss(random(case))
    _have_no_hooks(random(case))


def _are_slopes(case: Subject, native: bool, directions: int, where: str = "") -> None:
    """Requires the gradient of every parameter to be the slope of the loss; weights stay as they are."""
    weights = {name: parameter.detach().clone() for name, parameter in case.model.named_parameters()}
    gradients = _gradients(case, native)
    moved = [name for name, parameter in case.model.named_parameters() if not torch.equal(parameter, weights[name])]
    require(not moved, f"a backward pass changes the weights {listed(moved)}")
    for name, parameter in case.model.named_parameters():
        if name in gradients:
            for along in _directions(gradients[name], directions):
                _is_slope(case, parameter, gradients[name], along, name, native, where)


def _reach_every_token(case: Subject) -> None:
    """Requires the logits of long texts to change with a token's embedding as its gradient says."""
    limits = replace(case.limits, vocabulary=len(SPECIALS) + 2 * LONG, source_length=LONG, target_length=LONG)
    model = subject(case.build, case.size, limits).model.train()
    table = next((module.weight for module in model.modules() if isinstance(module, Embedding)), None)
    if table is None:
        return
    generator = torch.Generator().manual_seed(0)
    ids = torch.randperm(2 * LONG, generator=generator) + len(SPECIALS)  # no token twice
    weights = torch.randn(LONG, limits.vocabulary, generator=generator)
    along = nn.functional.normalize(torch.randn(table.shape[1], generator=generator), dim=0)

    def outputs() -> Tensor:
        logits: Tensor = model(ids[None, :LONG], ids[None, LONG:])[0]
        return (logits * weights).sum(-1)

    torch.autograd.backward(outputs().sum())
    assert table.grad is not None
    expected = (table.grad[ids] @ along)[EVERY - 1 :: EVERY].tolist()
    slack = SMALL + SLACK * sum(value**2 for value in expected) ** 0.5 / len(expected) ** 0.5
    for number, wanted in enumerate(expected):
        place = EVERY * (number + 1) - 1
        slopes = [_slope(table, int(ids[place]), along * move, outputs) / move for move in MOVES]
        near = any(_alike(slope, wanted, slack) for slope in slopes)
        jumps = not _alike(slopes[-1], slopes[-2], slack)  # where another expert is chosen, a gradient says nothing
        where = f"token {place % LONG} of a {'source' if place < LONG else 'target'} of {LONG} tokens"
        require(near or jumps, f"logits change by {slopes[-1]:.3g} along {where}, the gradient says {wanted:.3g}")


def _alike(slope: float, other: float, slack: float) -> bool:
    return abs(slope - other) <= slack + SLACK * max(abs(slope), abs(other))


@torch.no_grad()
def _slope(table: nn.Parameter, row: int, move: Tensor, outputs: Callable[[], Tensor]) -> float:
    """Half of the difference that moving a row of the table ahead and back makes to the sum of the outputs."""
    original, values = table[row].clone(), []
    for sign in (1.0, -1.0):
        table[row] = original + sign * move
        values.append(outputs().double())
    table[row] = original
    return float((values[0] - values[1]).sum()) / 2


def _scale_with_the_loss(case: Subject) -> None:
    """Requires gradients in proportion to the loss, the same each time, and in bfloat16 near those in float32."""
    exact = _gradients(case, True)
    whole = sum(float(gradient.norm() ** 2) for gradient in exact.values()) ** 0.5
    for mode in (TRAINING, TRAINING_BFLOAT16):
        once = _gradients(case, True, mode)
        for seed, factor in enumerate((1.0, *FACTORS), start=1):
            again = _gradients(case, True, mode, factor, seed)
            for name, gradient in once.items():
                off = ((again[name] / factor - gradient).norm() / (gradient.norm() + LEAST_SHARE * whole)).item()
                message = f"for {factor:g} times the loss, the gradient of {name} is not {factor:g} times as large"
                require(off <= PROPORTIONAL, f"{message}, but off by {off:.1%}{mode.note}")
    for name, gradient in exact.items():
        share = ((once[name] * gradient).sum() / gradient.norm() ** 2).item()
        near = abs(share - 1.0) <= HALF or gradient.norm().item() <= LEAST_SHARE * whole
        require(near, f"in bfloat16 the gradient of {name} is {share:.2f} times that in float32")


def _have_no_hooks(case: Subject) -> None:
    """Requires a model to register no hook that can change a gradient."""
    hooked: list[str] = []
    register: Callable[..., RemovableHandle] = Tensor.register_hook

    def noted(tensor: Tensor, hook: Callable[[Tensor], Tensor | None]) -> RemovableHandle:
        hooked.append(f"a tensor of shape {tuple(tensor.shape)}")
        return register(tensor, hook)

    with mock.patch.object(Tensor, "register_hook", noted):
        _gradients(case, True)
    hooked += [name for name, parameter in case.model.named_parameters() if any(_gradient_hooks(parameter))]
    hooked += [name or "the model" for name, module in case.model.named_modules() if any(_gradient_hooks(module))]
    require(not hooked, f"hooks on the gradient of {listed(hooked)}: gradients must be those of the loss")


def _gradient_hooks(part: object) -> list[object]:
    names = ("_backward_hooks", "_backward_pre_hooks", "_post_accumulate_grad_hooks")
    return [getattr(part, name, None) for name in names]


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


def _loss(case: Subject, native: bool, mode: Mode = TRAINING, seed: int = 0) -> Tensor:
    source, source_mask = stacked([sequences(1, n, seed, case.limits) for seed, n in ((0, 5), (1, 3), (2, 4))])
    target, target_mask = stacked([sequences(1, n, seed, case.limits) for seed, n in ((3, 4), (4, 6), (5, 2))])
    batch = Batch(source, target, source_mask, target_mask)
    if not native:  # without padding some paths are shorter
        batch = Batch(sequences(3, 5, limits=case.limits), sequences(3, 6, seed=1, limits=case.limits))
    torch.manual_seed(seed)  # for dropout
    return loss_of(case, batch, mode, native=native)


def _gradients(
    case: Subject, native: bool, mode: Mode = TRAINING, factor: float = 1.0, seed: int = 0
) -> dict[str, Tensor]:
    """The gradient of ``factor`` times the loss, by the name of its parameter."""
    case.model.zero_grad()
    torch.autograd.backward(factor * _loss(case, native, mode, seed))
    named = case.model.named_parameters()
    gradients = {name: p.grad.detach().clone() for name, p in named if p.grad is not None}
    case.model.zero_grad()
    return gradients


def _directions(gradient: Tensor, most: int) -> Iterator[Tensor]:
    """At most ``most`` unit vectors: along the gradient, and random ones."""
    generator = torch.Generator().manual_seed(0)
    for along in (gradient, torch.randn(gradient.shape, generator=generator))[:most]:
        if along.norm() > 0:
            yield along / along.norm()


def _is_slope(
    case: Subject, parameter: nn.Parameter, gradient: Tensor, along: Tensor, name: str, native: bool, where: str
) -> None:
    """Requires the gradient along a unit vector to match a finite difference of the loss, for one of ``STEPS``."""
    expected, slope = (gradient * along).sum().item(), 0.0
    for share in STEPS:
        step = share * max(parameter.detach().norm().item(), LEAST)
        ahead, behind = (_moved(case, parameter, sign * step * along, native) for sign in (1.0, -1.0))
        slope = (ahead - behind) / (2 * step)
        slack = SMALL + SLACK * max(abs(slope), abs(expected)) + ROUNDING * abs(ahead) / step
        if abs(slope - expected) <= slack:
            return
    what = f"the loss{'' if native else ' of the target alone'} changes by {slope:.3g} along {name}{where}"
    require(False, f"{what}, its gradient says {expected:.3g}")


@torch.no_grad()
def _moved(case: Subject, parameter: nn.Parameter, by: Tensor, native: bool) -> float:
    """The loss with a parameter moved."""
    original = parameter.detach().clone()
    parameter.copy_(original + by)
    loss = _loss(case, native).item()
    parameter.copy_(original)
    return loss
