"""Muon: Nesterov momentum, then orthogonalisation by Newton-Schulz (Jordan 2024, kellerjordan.github.io/posts/muon).

Updates are scaled to the size of AdamW's, so that one learning rate serves both (2502.16982). Matrices that are stored
as one (`weight.row_splits`: queries, keys and values) are orthogonalised apart, so that an update does not depend on
how a model stores them. `weight.column_splits` says the same of a matrix that is stored as (inputs, outputs), as GPT-2
of `transformers` has them.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from archbench.architectures.families.size import embedding_parameters
from archbench.runs.machine.machine import multiplies_bf16

MOMENTUM = 0.95
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)  # Muon's quintic
NEWTON_SCHULZ_STEPS = 5
ADAMW_UPDATE_RMS = 0.2  # root mean square of AdamW's updates, to which Muon's are scaled (2502.16982)
RESTART = 3  # steps after which small matrices, whose errors in bfloat16 grow, are made anew
WIDE = 1.5  # times as wide as high, and more: then small matrices save multiplications

Shape = tuple[int, int]  # of a logical matrix, the smaller side first


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


def flops(model: nn.Module) -> float:
    """FLOPs of the matrix products of one step for a model."""
    return sum(_flops(*piece.shape) for matrix in hidden_matrices(model).values() for piece in _pieces(matrix))


def _flops(small: int, large: int) -> float:
    """FLOPs of `orthogonalised` for one matrix: wide products (2 small² large) and small ones (2 small³)."""
    steps = NEWTON_SCHULZ_STEPS
    wide, square = (2 * steps, steps) if large <= WIDE * small else (4, steps + (steps - 2) + 2 * (steps - 2))
    return 2.0 * wide * small * small * large + 2.0 * square * small**3


class Muon(torch.optim.Optimizer):
    """Muon for matrices, each with a momentum of its own shape. Matrices without a gradient stay.

    ``bf16`` allows products in bfloat16. ``update`` changes matrices by their directions; sharded training replaces it.
    """

    def __init__(self, params: Iterable[Any], lr: float, weight_decay: float = 0.0, bf16: bool = True) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, "bf16": bf16})
        self.update = update
        for matrix in (matrix for group in self.param_groups for matrix in group["params"]):
            self.state[matrix]["momentum"] = torch.zeros_like(matrix, requires_grad=False)

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Update all matrices that have a gradient; gradients are overwritten."""
        loss = None if closure is None else torch.enable_grad()(closure)()
        for group in self.param_groups:
            matrices = [matrix for matrix in group["params"] if matrix.grad is not None]
            if matrices:
                self.update(matrices, self._directions(matrices), group)
        return loss

    def _directions(self, matrices: Sequence[nn.Parameter]) -> list[Tensor]:
        """Nesterov momentum of each matrix, in the place of its gradient."""
        momenta = [self.state[matrix]["momentum"] for matrix in matrices]
        gradients: Any = [matrix.grad for matrix in matrices]
        torch._foreach_lerp_(momenta, gradients, 1 - MOMENTUM)
        torch._foreach_lerp_(gradients, momenta, MOMENTUM)
        return list(gradients)


def update(matrices: Sequence[nn.Parameter], directions: Sequence[Tensor], group: Mapping[str, Any]) -> None:
    """Decay the matrices and add their updates, with a group's ``lr``, ``weight_decay`` and ``bf16``."""
    torch._foreach_mul_(list(matrices), 1 - group["lr"] * group["weight_decay"])
    add_orthogonalised(matrices, matrices, directions, group)


def add_orthogonalised(
    targets: Sequence[Tensor],
    matrices: Sequence[nn.Parameter],
    directions: Sequence[Tensor],
    group: Mapping[str, Any],
) -> None:
    """Add to each of ``targets`` the update of a matrix; logical matrices of one shape make one batched product."""
    pairs: dict[Shape, list[tuple[Tensor, Tensor]]] = defaultdict(list)
    for target, matrix, direction in zip(targets, matrices, directions, strict=True):
        for piece in _pieces(matrix):
            pairs[piece.shape].append((piece.view(target), piece.view(direction)))
    for shape, views in pairs.items():
        into, stacked = [view for view, _ in views], torch.stack([view for _, view in views])
        updates = orthogonalised(stacked, group["bf16"]).to(stacked.dtype)
        torch._foreach_add_(into, updates.unbind(), alpha=-group["lr"] * ADAMW_UPDATE_RMS * math.sqrt(max(shape)))


def packed_momenta(matrices: Sequence[nn.Parameter], momenta: Sequence[Tensor]) -> dict[str, list[Tensor]]:
    """Views of momenta by the shape of logical matrices, such as "16x48.momentum": how checkpoints store them."""
    views: dict[str, list[Tensor]] = defaultdict(list)
    for matrix, momentum in zip(matrices, momenta, strict=True):
        for piece in _pieces(matrix):
            views["{}x{}.momentum".format(*piece.shape)].append(piece.view(momentum))
    return views


@dataclass(frozen=True)
class _Piece:
    """Rows (`dimension` 0) or columns (1) `begin` to `end` of a stored matrix: one logical matrix of this `shape`."""

    dimension: int
    begin: int
    end: int
    shape: Shape

    def view(self, tensor: Tensor) -> Tensor:
        """This piece of the matrix or of its gradient, the smaller side first."""
        part = tensor.narrow(self.dimension, self.begin, self.end - self.begin)
        logical = part.mT if self.dimension else part  # (outputs, inputs), so that a square one lies as if untransposed
        return logical.mT if logical.shape[0] > logical.shape[1] else logical


def _pieces(matrix: nn.Parameter) -> list[_Piece]:
    dimension = 1 if hasattr(matrix, "column_splits") else 0
    size, inputs = matrix.shape[dimension], matrix.shape[1 - dimension]
    splits: tuple[int, ...] = getattr(matrix, ("row_splits", "column_splits")[dimension], (size,))
    assert sum(splits) == size, f"splits {splits} of a matrix with {size} rows or columns"
    ends = [sum(splits[: index + 1]) for index in range(len(splits))]
    shapes = [(min(count, inputs), max(count, inputs)) for count in splits]
    return [_Piece(dimension, end - count, end, shape) for count, end, shape in zip(splits, ends, shapes, strict=True)]


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
