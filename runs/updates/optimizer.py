"""The optimizer of a run: its parameter groups, its learning rate, and its state in checkpoints.

`runs.experiment.optimizers` lists the optimizers; all architectures share the one that a recipe names. The rate of a
step is the recipe's times ``schedule(progress)``. A rate that was chosen on another number of tokens is also multiplied
by ``token_factor`` (`runs.experiment.sections`), one that was chosen at another width, for hidden matrices alone, by
the entry's ``hidden_factor``.
"""

from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from pkgutil import resolve_name
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from archbench.runs.experiment.optimizers import OPTIMIZERS
from archbench.runs.updates.muon import Muon, hidden_matrices, packed_momenta

BETAS = (0.9, 0.95)

Groups = list[dict[str, Any]]


class Recipe(Protocol):
    """The training settings that the optimizer needs; `optimizer` is a name in `OPTIMIZERS`."""

    @property
    def optimizer(self) -> str: ...
    @property
    def learning_rate(self) -> float: ...
    @property
    def weight_decay(self) -> float: ...


def schedule(progress: float, warmup: float) -> float:
    """Factor of the learning rate at `progress` in [0, 1]: linear from 0 over the fraction `warmup`, then down to 0."""
    if progress < warmup:
        return progress / warmup
    return (1 - progress) / (1 - warmup) if progress < 1 else 0.0


def set_rate(optimizer: torch.optim.Optimizer, factor: float) -> None:
    """Use `factor` times the recipe's learning rate from the next step."""
    for group in optimizer.param_groups:
        group["lr"] = group["initial_lr"] * factor


def flops(model: nn.Module, name: str = "muon") -> float:
    """FLOPs of the matrix products in a step of the optimizer `name`; elementwise work (all of AdamW) counts 0."""
    count = OPTIMIZERS[name].flops
    return float(resolve_name(count)(model)) if count else 0.0


def build(model: nn.Module, recipe: Recipe, ratio: float = 1.0, bf16: bool = True) -> torch.optim.Optimizer:
    """The optimizer of `recipe` for a model that is already on its device.

    The model is `ratio` times as wide as the one that the recipe's learning rate was chosen for. `bf16` allows Muon to
    multiply in bfloat16.
    """
    entry = OPTIMIZERS[recipe.optimizer]
    groups = parameter_groups(model, recipe, entry.hidden_factor(ratio), bf16)
    optimizer: torch.optim.Optimizer = resolve_name(entry.make)(groups, **entry.options)
    return optimizer


def parameter_groups(model: nn.Module, recipe: Recipe, hidden_factor: float, bf16: bool) -> Groups:
    """The trained parameters in three groups: hidden matrices, other matrices, and vectors, which have no weight decay.

    `hidden_factor` scales the rate of hidden matrices, not their decay. The key `hidden` tells them apart.
    """
    hidden = hidden_matrices(model)
    trained = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    groups = []
    for is_hidden, is_matrix in ((True, True), (False, True), (False, False)):
        factor = hidden_factor if is_hidden else 1.0
        own = [(name, p) for name, p in trained if (name in hidden, p.ndim >= 2) == (is_hidden, is_matrix)]
        groups.append(
            {
                "params": [parameter for _, parameter in own],
                "param_names": [name for name, _ in own],
                "lr": recipe.learning_rate * factor,
                "initial_lr": recipe.learning_rate * factor,
                "weight_decay": recipe.weight_decay / factor if is_matrix else 0.0,
                "hidden": is_hidden,
                "bf16": bf16,
            }
        )
    return [group for group in groups if group["params"]] or groups[:1]


def adamw(groups: Groups) -> torch.optim.AdamW:
    """AdamW (1711.05101), fused if available.

    Its state is made before the first step. Among the activations of a step it would scatter the memory that they leave
    free: on windows the allocator then gave three times as many pages back to the system in each step, 14% of its time.
    """
    parameters = [parameter for group in groups for parameter in group["params"]]
    fused = all(parameter.device.type in ("cpu", "cuda") for parameter in parameters)
    optimizer = torch.optim.AdamW(groups, betas=BETAS, fused=fused)
    for parameter in parameters:
        optimizer.state[parameter] = {
            "step": torch.zeros((), device=parameter.device if fused else None),
            "exp_avg": torch.zeros_like(parameter, requires_grad=False),
            "exp_avg_sq": torch.zeros_like(parameter, requires_grad=False),
        }
    return optimizer


def muon_and_adamw(groups: Groups) -> "Chained":
    """Muon for hidden matrices, AdamW for everything else."""
    hidden, rest = ([group for group in groups if group["hidden"] is wanted] for wanted in (True, False))
    return Chained(*([Muon(hidden, lr=0.0)] if hidden else []), *([adamw(rest)] if rest else []))


class Chained(torch.optim.Optimizer):
    """Several optimizers, each with parameters of its own, as one; groups and state are those of its parts."""

    def __init__(self, *parts: torch.optim.Optimizer) -> None:
        self.parts = parts
        super().__init__([group for part in parts for group in part.param_groups], {})
        for part in parts:
            self.state.update(part.state)
        self.__setstate__({})

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Give the parts the groups and the state, also those of `load_state_dict`, which replaces both."""
        super().__setstate__(state)
        groups = iter(self.param_groups)
        for part in self.parts:
            part.param_groups, part.state = list(islice(groups, len(part.param_groups))), self.state

    def step(self, closure: Any = None) -> Any:
        loss = None if closure is None else closure()
        for part in self.parts:
            part.step()
        return loss


def parts(optimizer: torch.optim.Optimizer) -> tuple[torch.optim.Optimizer, ...]:
    """The optimizers that one consists of."""
    return optimizer.parts if isinstance(optimizer, Chained) else (optimizer,)


def parameters(model: nn.Module, optimizer: torch.optim.Optimizer) -> list[nn.Parameter]:
    """The trained parameters, by the parts of the optimizer and then in the model's order.

    The norm of the gradient is a sum in this order, which decides its last bit.
    """
    order = {parameter: place for place, parameter in enumerate(model.parameters())}
    members = ([p for group in part.param_groups for p in group["params"]] for part in parts(optimizer))
    return [parameter for own in members for parameter in sorted(own, key=order.__getitem__)]


def state(optimizer: torch.optim.Optimizer, whole: Callable[[Tensor], Tensor] = Tensor.detach) -> dict[str, Tensor]:
    """All state that later steps need besides parameters and gradients, such as "adamw.head.weight.exp_avg".

    `whole` gathers a sharded tensor.
    """
    tensors = {name: whole(tensor) for name, tensor in _named(optimizer).items()}
    matrices = _matrices(optimizer)
    for name, matrix in matrices.items():
        if name not in tensors:  # before the first step
            tensors[name] = whole(torch.zeros_like(matrix))
    views = packed_momenta(list(matrices.values()), [tensors.pop(name) for name in matrices])
    return {f"muon.{shape}": torch.stack(momenta) for shape, momenta in views.items()} | tensors


def load(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Resume from a `state`; raises ValueError if it belongs to another model or recipe."""
    saved = unpacked(optimizer, tensors)
    for name, tensor in blank(optimizer, {name: tensor.shape for name, tensor in saved.items()}).items():
        tensor.copy_(saved[name])


def unpacked(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a `state`, with a momentum for each matrix; raises ValueError as `load`."""
    matrices, rest = _matrices(optimizer), dict(tensors)
    momenta = {name: torch.empty(matrix.shape) for name, matrix in matrices.items()}
    for shape, views in packed_momenta(list(matrices.values()), list(momenta.values())).items():
        saved = rest.pop(f"muon.{shape}", None)
        if saved is None or saved.shape != (len(views), *views[0].shape):
            raise _foreign(f"muon.{shape}")
        torch._foreach_copy_(views, saved.unbind())
    return momenta | rest


def blank(optimizer: torch.optim.Optimizer, shapes: Mapping[str, torch.Size]) -> dict[str, Tensor]:
    """The tensors of a new optimizer's state that have these names and whole shapes, to be filled.

    PyTorch's optimizers make a parameter's state in the first step that has its gradient: here with rate and gradient
    0. What is not named had no gradient yet. Raises ValueError where names or shapes do not fit.
    """
    set_rate(optimizer, 0.0)
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    optimizer.zero_grad()
    for part, name, parameter in _members(optimizer):
        own = {_key(part, name, key) for key in part.state[parameter]}
        if own.isdisjoint(shapes):
            del part.state[parameter]
    tensors = _named(optimizer)
    differing = tensors.keys() ^ shapes.keys()
    differing |= {name for name in tensors.keys() & shapes.keys() if tensors[name].shape != shapes[name]}
    if differing:
        raise _foreign(min(differing))
    return tensors


def _members(optimizer: torch.optim.Optimizer) -> Iterator[tuple[torch.optim.Optimizer, str, nn.Parameter]]:
    """Every trained parameter with the part that trains it and its name."""
    for part in parts(optimizer):
        for group in part.param_groups:
            for name, parameter in zip(group["param_names"], group["params"], strict=True):
                yield part, name, parameter


def _key(part: torch.optim.Optimizer, name: str, key: str) -> str:
    return f"{type(part).__name__.lower()}.{name}.{key}"


def _named(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The tensors of the state by part, parameter and key; not copied."""
    return {
        _key(part, name, key): tensor
        for part, name, parameter in _members(optimizer)
        for key, tensor in part.state.get(parameter, {}).items()
        if isinstance(tensor, Tensor)
    }


def _matrices(optimizer: torch.optim.Optimizer) -> dict[str, nn.Parameter]:
    """The matrices that Muon trains, by the name of their momentum; a checkpoint packs momenta by shape."""
    return {
        _key(part, name, "momentum"): matrix for part, name, matrix in _members(optimizer) if isinstance(part, Muon)
    }


def _foreign(name: str) -> ValueError:
    return ValueError(f"optimizer state of another model or recipe: {name} is missing or differs")
