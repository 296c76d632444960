"""The optimizer that all architectures share: Muon for the matrices inside blocks, AdamW for everything else.

Muon (Nesterov momentum, then orthogonalisation by Newton-Schulz) is scaled to the update size of AdamW, so that one
learning rate serves both (2502.16982). Matrices that are stored as one (`weight.row_splits`: queries, keys and values)
are orthogonalised apart, so that an update does not depend on how a model stores them. `weight.column_splits` says the
same of a matrix that is stored as (inputs, outputs), as GPT-2 of `transformers` has them.

The rate of a step is ``learning_rate`` times ``schedule(progress)``. A rate that was chosen on another number of tokens
is also multiplied by ``token_factor`` (`runs.experiment.sections`), one that was chosen at another width, for hidden
matrices alone, by `hidden_factor`.
"""

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from archbench.architectures.families.size import embedding_parameters
from archbench.runs.base.machine import multiplies_bf16

MOMENTUM = 0.95
BETAS = (0.9, 0.95)
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)  # Muon's quintic
NEWTON_SCHULZ_STEPS = 5
ADAMW_UPDATE_RMS = 0.2  # root mean square of AdamW's updates, to which Muon's are scaled (2502.16982)
RESTART = 3  # steps after which small matrices, whose errors in bfloat16 grow, are made anew
WIDE = 1.5  # times as wide as high, and more: then small matrices save multiplications

Shape = tuple[int, int]  # of a logical matrix, the smaller side first


class Recipe(Protocol):
    """The training settings that the optimizer needs; `optimizer` is "muon" or "adamw"."""

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


def hidden_matrices(model: nn.Module) -> dict[str, nn.Parameter]:
    """The weights that Muon trains, by name: those of linear maps, excluding embedding tables and output matrices.

    A trained matrix that is no `nn.Linear` joins them by having `row_splits` or `column_splits`.
    """
    tables = embedding_parameters(model)
    linear = {id(module.weight) for module in model.modules() if isinstance(module, nn.Linear)}
    return {
        name: parameter
        for name, parameter in model.named_parameters()
        if parameter.requires_grad and parameter.ndim == 2 and id(parameter) not in tables
        if id(parameter) in linear or hasattr(parameter, "row_splits") or hasattr(parameter, "column_splits")
    }


def flops(model: nn.Module, optimizer: str = "muon") -> float:
    """FLOPs of one optimizer step: the matrix products of Newton-Schulz; elementwise work (all of AdamW) counts 0."""
    if optimizer != "muon":
        return 0.0
    return sum(_flops(*piece.shape) for matrix in hidden_matrices(model).values() for piece in _pieces(matrix))


def _flops(small: int, large: int) -> float:
    """FLOPs of `orthogonalised` for one matrix: wide products (2 small² large) and small ones (2 small³)."""
    steps = NEWTON_SCHULZ_STEPS
    wide, square = (2 * steps, steps) if large <= WIDE * small else (4, steps + (steps - 2) + 2 * (steps - 2))
    return 2.0 * wide * small * small * large + 2.0 * square * small**3


@dataclass(frozen=True)
class _Piece:
    """Rows (`dimension` 0) or columns (1) `begin` to `end` of a stored matrix: one logical matrix."""

    matrix: nn.Parameter
    dimension: int
    begin: int
    end: int

    @property
    def shape(self) -> Shape:
        outputs, inputs = self.end - self.begin, self.matrix.shape[1 - self.dimension]
        return min(outputs, inputs), max(outputs, inputs)

    def view(self, tensor: Tensor) -> Tensor:
        """This piece of the matrix or of its gradient, the smaller side first."""
        part = tensor.narrow(self.dimension, self.begin, self.end - self.begin)
        logical = part.mT if self.dimension else part  # (outputs, inputs), so that a square one lies as if untransposed
        return logical.mT if logical.shape[0] > logical.shape[1] else logical


def _pieces(matrix: nn.Parameter) -> list[_Piece]:
    dimension = 1 if hasattr(matrix, "column_splits") else 0
    size = matrix.shape[dimension]
    splits: tuple[int, ...] = getattr(matrix, ("row_splits", "column_splits")[dimension], (size,))
    assert sum(splits) == size, f"splits {splits} of a matrix with {size} rows or columns"
    ends = [sum(splits[: index + 1]) for index in range(len(splits))]
    return [_Piece(matrix, dimension, end - count, end) for count, end in zip(splits, ends, strict=True)]


class Muon:
    """Muon over logical matrices; those of one shape are orthogonalised in one batched product.

    The momentum of all matrices of one shape is one tensor (n, small, large). Matrices without a gradient stay.
    """

    def __init__(
        self,
        matrices: Iterable[nn.Parameter],
        learning_rate: float,
        weight_decay: float,
        width_factor: float = 1.0,
        bf16: bool = True,
    ) -> None:
        self.learning_rate, self.weight_decay, self.width_factor = learning_rate, weight_decay, width_factor
        self.bf16 = bf16
        self.groups: dict[Shape, list[_Piece]] = defaultdict(list)
        for matrix in matrices:
            for piece in _pieces(matrix):
                self.groups[piece.shape].append(piece)
        self.momentum = {
            shape: torch.zeros(len(pieces), *shape, device=pieces[0].matrix.device)
            for shape, pieces in self.groups.items()
        }

    @torch.no_grad()
    def step(self, factor: float) -> None:
        """Update all matrices that have a gradient at `factor` times the rate."""
        for shape, pieces in self.groups.items():
            active = [index for index, piece in enumerate(pieces) if piece.matrix.grad is not None]
            if len(active) == len(pieces):
                self._update(pieces, self.momentum[shape], factor)
            elif active:
                moments = [self.momentum[shape][index] for index in active]
                momentum = torch.stack(moments)
                self._update([pieces[index] for index in active], momentum, factor)
                torch._foreach_copy_(moments, momentum.unbind())

    def _update(self, pieces: list[_Piece], momentum: Tensor, factor: float) -> None:
        """One step of `pieces` of one shape; `momentum` (n, small, large) is updated in place."""
        rate = self.learning_rate * factor
        scale = -rate * self.width_factor * ADAMW_UPDATE_RMS * math.sqrt(max(pieces[0].shape))
        gradients = torch.stack([piece.view(piece.matrix.grad) for piece in pieces if piece.matrix.grad is not None])
        momentum.lerp_(gradients, 1 - MOMENTUM)
        update = orthogonalised(gradients.lerp_(momentum, MOMENTUM), self.bf16).to(momentum.dtype)
        views = [piece.view(piece.matrix) for piece in pieces]
        torch._foreach_mul_(views, 1 - rate * self.weight_decay)
        torch._foreach_add_(views, update.unbind(), alpha=scale)


def orthogonalised(matrices: Tensor, bf16: bool = True) -> Tensor:
    """Approximately the nearest matrices with orthonormal rows (n, small, large): singular values are 0.7 to 1.2.

    ``bf16`` allows products in bfloat16, on hardware where they are faster.
    """
    a, b, c = NEWTON_SCHULZ
    x: Tensor = matrices / matrices.norm(dim=(-2, -1), keepdim=True).clamp(min=1e-7)
    x = x.to(_product_dtype(matrices.device) if bf16 else torch.float32)
    if x.shape[-1] > WIDE * x.shape[-2]:
        return _by_gram(x)
    for _ in range(NEWTON_SCHULZ_STEPS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x


def _by_gram(x: Tensor) -> Tensor:
    """The same steps for wide matrices: the factors of `x` depend only on `x xᵀ`, which is small."""
    a, b, c = NEWTON_SCHULZ
    gram, factor = x @ x.mT, None
    for step in range(1, NEWTON_SCHULZ_STEPS + 1):
        more = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
        more.diagonal(dim1=-2, dim2=-1).add_(a)
        factor = more if factor is None else more @ factor
        if step == RESTART:
            x = factor @ x
            gram, factor = x @ x.mT, None
        elif step < NEWTON_SCHULZ_STEPS:
            gram = more @ gram @ more
    assert factor is not None, "the last step is not followed by a restart"
    return factor @ x


def _product_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 where the hardware multiplies it faster, else float32."""
    if device.type == "cpu" and not multiplies_bf16():
        return torch.float32
    return torch.bfloat16 if device.type in ("cpu", "cuda") else torch.float32


class Optimizer:
    """Muon and AdamW as one. Its state exists before the first step, so every state can be loaded."""

    def __init__(
        self,
        matrices: dict[str, nn.Parameter],
        rest: dict[str, nn.Parameter],
        recipe: Recipe,
        hidden: Collection[str],
        width_factor: float,
        bf16: bool = True,
    ) -> None:
        """`width_factor` multiplies the rate of the parameters named `hidden`; `bf16` as in `orthogonalised`."""
        self.recipe, self.rest = recipe, rest
        self.schedule_factor = 1.0
        self.parameters = [*matrices.values(), *rest.values()]
        self.muon = Muon(matrices.values(), recipe.learning_rate, recipe.weight_decay, width_factor, bf16)
        self.adamw = _adamw(rest, recipe, dict.fromkeys(hidden, width_factor)) if rest else None

    def step(self) -> None:
        """Update all parameters that have a gradient."""
        self.muon.step(self.schedule_factor)
        if self.adamw is not None:
            self.adamw.step()

    def zero_grad(self) -> None:
        for parameter in self.parameters:
            parameter.grad = None

    def set_schedule_factor(self, factor: float) -> None:
        """Use `factor` times the recipe's rate from the next step."""
        self.schedule_factor = factor
        for group in self.adamw.param_groups if self.adamw is not None else []:
            group["lr"] = self.recipe.learning_rate * factor * group["width_factor"]

    def state(self) -> dict[str, Tensor]:
        """All state that later steps need besides parameters and gradients; the tensors are not copied."""
        tensors = {f"muon.{small}x{large}.momentum": t for (small, large), t in self.muon.momentum.items()}
        if self.adamw is not None:
            for name, parameter in self.rest.items():
                tensors |= {f"adamw.{name}.{key}": t for key, t in self.adamw.state[parameter].items()}
        return tensors

    @torch.no_grad()
    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Resume from a `state`; raises ValueError if it belongs to another model or recipe."""
        state_now = self.state()
        differing = {name for name in state_now.keys() & tensors.keys() if state_now[name].shape != tensors[name].shape}
        differing |= state_now.keys() ^ tensors.keys()
        if differing:
            raise ValueError(f"optimizer state of another model or recipe: {min(differing)} is missing or differs")
        for name, tensor in state_now.items():
            tensor.copy_(tensors[name])


def hidden_factor(optimizer: str, ratio: float) -> float:
    """The factor of the rate of hidden matrices in a model `ratio` times as wide as the one that the rate is for.

    `ratio ** -0.5` under Muon, whose updates of equal entries have a spectral norm that grows with the square root of
    the width (2310.17813); `1 / ratio` under AdamW (muP, 2203.03466, table 8). All other parameters keep the rate, the
    output matrix too: it starts at zero, and with muP's `1 / ratio` it learned too slowly (docs/tuning.md).
    """
    return ratio**-0.5 if optimizer == "muon" else 1 / ratio


def build(
    model: nn.Module, recipe: Recipe, device: torch.device | str, ratio: float = 1.0, bf16: bool = True
) -> Optimizer:
    """The optimizer of `recipe` for a model that is already on `device`.

    The model is `ratio` times as wide as the one that the recipe's learning rate was chosen for. `bf16` allows Muon to
    multiply in bfloat16.
    """
    assert recipe.optimizer in ("muon", "adamw"), f'optimizer "{recipe.optimizer}" (there are: muon, adamw)'
    trained = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    astray = [name for name, parameter in trained.items() if parameter.device.type != torch.device(device).type]
    assert not astray, f"{astray[0]} is not on {device}"
    hidden = hidden_matrices(model)
    matrices = hidden if recipe.optimizer == "muon" else {}
    rest = {name: parameter for name, parameter in trained.items() if name not in matrices}
    return Optimizer(matrices, rest, recipe, hidden, hidden_factor(recipe.optimizer, ratio), bf16)


def _adamw(parameters: Mapping[str, nn.Parameter], recipe: Recipe, factors: Mapping[str, float]) -> torch.optim.AdamW:
    """AdamW (1711.05101), fused if available. Vectors have no weight decay; `factors` scale rates, not the decay."""
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in sorted(parameters.items(), key=lambda item: item[1].ndim < 2):
        factor = factors.get(name, 1.0)
        decay = recipe.weight_decay / factor if parameter.ndim >= 2 else 0.0
        groups.setdefault((factor, decay), []).append(parameter)
    options = [
        {"params": own, "lr": recipe.learning_rate * factor, "weight_decay": decay, "width_factor": factor}
        for (factor, decay), own in groups.items()
    ]
    fused = all(parameter.device.type in ("cpu", "cuda") for parameter in parameters.values())
    adamw = torch.optim.AdamW(options, lr=recipe.learning_rate, betas=BETAS, fused=fused)
    for parameter in parameters.values():
        count = torch.zeros((), device=parameter.device if fused else None)
        adamw.state[parameter] = {
            "step": count,
            "exp_avg": torch.zeros_like(parameter, requires_grad=False),
            "exp_avg_sq": torch.zeros_like(parameter, requires_grad=False),
        }
    return adamw
