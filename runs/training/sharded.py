"""Sharded training (FSDP2): parameters, gradients and optimizer states are split over ranks.

PyTorch's ``fully_shard`` (2304.11277) gathers the parameters of each block when it is used. Muon orthogonalises whole
matrices: one rank owns each matrix, gathers the full gradient, keeps the momentum and broadcasts the update. Evaluation
and checkpoints use unsharded weights. All ranks are on one machine.
"""

import copy
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from archbench.architectures.components.stack import Block
from archbench.runs.training import optimizer
from archbench.runs.training.optimizer import Muon, Optimizer, Recipe
from archbench.runs.training.ranks import Ranks

SPLITS = ("row_splits", "column_splits")  # attributes of a matrix that holds several


class ShardedModel:
    """The sharded parameters of a training step, and an unsharded copy of its model for evaluation and export."""

    def __init__(self, step: Any, device: torch.device, ranks: Ranks) -> None:
        """Shards ``step`` in place; its model is on ``device``."""
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard  # its import takes a second, which other runs are spared

        self.step, self.device, self.ranks = step, device, ranks
        self.plain: nn.Module = copy.deepcopy(step.model).cpu()
        self.splits = {
            name: {key: getattr(parameter, key) for key in SPLITS if hasattr(parameter, key)}
            for name, parameter in step.model.named_parameters()
        }
        self.hidden = set(optimizer.hidden_matrices(step.model))
        mesh = init_device_mesh(device.type, (ranks.world_size,))
        modules = [module for module in step.modules() if isinstance(module, Block)]
        for module in (*modules, step):
            fully_shard(module, mesh=mesh)
            module.set_gradient_divide_factor(1.0)  # losses are divided by the tokens of all ranks
            module.set_force_sum_reduction_for_comms(True)

    def optimizer(self, recipe: Recipe, ratio: float, bf16: bool) -> "ShardedOptimizer":
        """The optimizer of the sharded parameters; arguments as in ``optimizer.build``."""
        trained = {name: p for name, p in self.step.model.named_parameters() if p.requires_grad}
        matrices = {name: p for name, p in trained.items() if name in self.hidden and recipe.optimizer == "muon"}
        rest = {name: p for name, p in trained.items() if name not in matrices}
        factor = optimizer.hidden_factor(recipe.optimizer, ratio)
        return ShardedOptimizer(matrices, rest, recipe, self.hidden, factor, bf16, self.splits, self.ranks)

    def whole(self, tensors: Mapping[str, Tensor], everywhere: bool = True) -> dict[str, Tensor]:
        """Sharded tensors as full ones on the CPU, or, unless ``everywhere``, on rank 0's; all ranks call this."""
        kept = everywhere or self.ranks.is_main
        full = ((name, gathered(tensor)) for name, tensor in tensors.items())
        return {name: tensor.cpu() if kept else tensor.new_empty(0) for name, tensor in full}

    @contextmanager
    def evaluated(self) -> Iterator[nn.Module]:
        """The unsharded model with the current weights, on the device."""
        self.plain.load_state_dict(self.whole(self.step.model.state_dict()))
        self.plain.to(self.device)
        yield self.plain
        self.plain.cpu()

    def final(self, weights: Mapping[str, Tensor]) -> nn.Module:
        """The unsharded model with the final ``weights``, on the device."""
        self.plain.load_state_dict(self.whole(weights))
        return self.plain.to(self.device)

    def load(self, weights: Mapping[str, Tensor]) -> None:
        """Distribute rank 0's full ``weights`` to all ranks; other ranks pass an empty mapping."""
        with torch.no_grad():
            for name, tensor in self.step.model.state_dict().items():
                _spread(tensor, weights.get(name), self.ranks)

    def sharded(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Rank 0's full ``weights`` as new sharded tensors."""
        parts = {name: tensor.detach().clone() for name, tensor in self.step.model.state_dict().items()}
        for name, tensor in parts.items():
            _spread(tensor, weights.get(name), self.ranks)
        return parts


class ShardedOptimizer(Optimizer):
    """Muon with owned matrices, AdamW on shards. State format as in ``Optimizer``; each can load the other's."""

    def __init__(
        self,
        matrices: dict[str, nn.Parameter],
        rest: dict[str, nn.Parameter],
        recipe: Recipe,
        hidden: Collection[str],
        factor: float,
        bf16: bool,
        splits: Mapping[str, Mapping[str, Any]],
        ranks: Ranks,
    ) -> None:
        super().__init__({}, rest, recipe, hidden, factor, bf16)
        self.parameters = [*matrices.values(), *rest.values()]
        self.matrices, self.ranks = matrices, ranks
        self.owners = _owners(matrices, ranks.world_size)
        self.updates: dict[str, nn.Parameter] = {}
        for name, matrix in matrices.items():
            if self.owners[name] == ranks.rank:
                self.updates[name] = _zeros(matrix, splits[name], matrix.device)
        self.owned = Muon(self.updates.values(), recipe.learning_rate, 0.0, factor, bf16)
        self.pieces: dict[str, dict[tuple[int, int], int]] = {}  # for each matrix, the number of pieces by shape
        for name, matrix in matrices.items():
            groups = Muon([_zeros(matrix, splits[name], "meta")], 0.0, 0.0).groups
            self.pieces[name] = {shape: len(pieces) for shape, pieces in groups.items()}

    @torch.no_grad()
    def step(self) -> None:
        """Update all parameters that have a gradient; all ranks call this together."""
        active = {name: matrix for name, matrix in self.matrices.items() if matrix.grad is not None}
        for name, matrix in active.items():
            gradient = gathered(matrix.grad)
            if name in self.updates:
                self.updates[name].zero_()
                self.updates[name].grad = gradient
        self.owned.step(self.schedule_factor)
        decay = 1 - self.recipe.learning_rate * self.schedule_factor * self.recipe.weight_decay
        for name, matrix in active.items():
            update = (
                self.updates[name].detach() if name in self.updates else torch.empty(matrix.shape, device=matrix.device)
            )
            dist.broadcast(update, self.owners[name])
            local = _local(matrix)
            local.mul_(decay).add_(_own_rows(update, self.ranks))
        for whole in self.updates.values():
            whole.grad = None
        if self.adamw is not None:
            self.adamw.step()

    def state(self) -> dict[str, Tensor]:
        """The state as full tensors on rank 0's CPU, empty on other ranks; all ranks call this together."""
        tensors = {}
        for name, tensor in super().state().items():
            full = gathered(tensor)
            if self.ranks.is_main:
                tensors[name] = full.cpu()
        groups: dict[tuple[int, int], list[Tensor]] = {}
        for name in self.matrices:
            for shape, count in self.pieces[name].items():
                part = self._momentum(name, shape, count)
                dist.broadcast(part, self.owners[name])
                if self.ranks.is_main:
                    groups.setdefault(shape, []).append(part.cpu())
        momenta = {f"muon.{small}x{large}.momentum": torch.cat(parts) for (small, large), parts in groups.items()}
        return momenta | tensors

    @torch.no_grad()
    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Resume from the whole state of rank 0, which is empty on other ranks."""
        for name, tensor in super().state().items():
            _spread(tensor, tensors.get(name), self.ranks)
        taken: dict[tuple[int, int], int] = {}
        for name in self.matrices:
            for shape, count in self.pieces[name].items():
                begin = taken.get(shape, 0)
                taken[shape] = begin + count
                part = torch.empty((count, *shape), device=self.matrices[name].device)
                if self.ranks.is_main:
                    part.copy_(tensors[f"muon.{shape[0]}x{shape[1]}.momentum"][begin : begin + count])
                dist.broadcast(part, 0)
                if name in self.updates:
                    self._momentum(name, shape, count).copy_(part)

    def _momentum(self, name: str, shape: tuple[int, int], count: int) -> Tensor:
        """The momentum of a matrix's pieces of one shape, if this rank owns the matrix, else an empty buffer."""
        if name not in self.updates:
            return torch.empty((count, *shape), device=self.matrices[name].device)
        places = [i for i, piece in enumerate(self.owned.groups[shape]) if piece.matrix is self.updates[name]]
        return self.owned.momentum[shape][places[0] : places[-1] + 1]


def _zeros(matrix: nn.Parameter, splits: Mapping[str, Any], device: torch.device | str) -> nn.Parameter:
    """A full matrix of zeros with the shape and the splits of a sharded one."""
    zeros = nn.Parameter(torch.zeros(matrix.shape, device=device))
    for key, value in splits.items():
        setattr(zeros, key, value)
    return zeros


def _owners(matrices: Mapping[str, nn.Parameter], ranks: int) -> dict[str, int]:
    """The rank that owns each matrix; greedy: the largest matrix first, to the rank with the fewest elements."""
    load, owners = [0] * ranks, dict[str, int]()
    for name in sorted(matrices, key=lambda name: (-matrices[name].numel(), name)):
        owners[name] = load.index(min(load))
        load[owners[name]] += matrices[name].numel()
    return owners


def _is_sharded(tensor: Any) -> bool:
    return hasattr(tensor, "full_tensor")  # a DTensor, whose module only sharded runs import


def gathered(tensor: Any) -> Tensor:
    """A sharded tensor gathered from all ranks; any other as it is."""
    whole: Tensor = tensor.full_tensor() if _is_sharded(tensor) else tensor
    return whole.detach()


def _local(tensor: Any) -> Tensor:
    local: Tensor = tensor.to_local() if _is_sharded(tensor) else tensor
    return local


def _own_rows(whole: Tensor, ranks: Ranks) -> Tensor:
    """The rows that a rank has of a tensor that is sharded by rows."""
    parts = whole.chunk(ranks.world_size)
    return parts[ranks.rank] if ranks.rank < len(parts) else whole[:0]


def _spread(tensor: Any, whole: Tensor | None, ranks: Ranks) -> None:
    """Copy rank 0's ``whole`` tensor into a sharded one, or into one that every rank has."""
    received = torch.empty(tensor.shape, dtype=tensor.dtype, device=tensor.device)
    if ranks.is_main:
        assert whole is not None
        received.copy_(whole)
    dist.broadcast(received, 0)
    _local(tensor).copy_(_own_rows(received, ranks) if _is_sharded(tensor) else received)
