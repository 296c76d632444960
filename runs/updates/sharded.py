"""Sharded training (FSDP2): parameters, gradients and optimizer states are split over ranks.

PyTorch's ``fully_shard`` (2304.11277) gathers the parameters of each block when it is used. Muon orthogonalises whole
matrices: one rank owns each matrix, orthogonalises its gathered direction and broadcasts the update. Evaluation and
checkpoints use unsharded weights. All ranks are on one machine.
"""

import copy
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from archbench.architectures.components.stack import Block
from archbench.architectures.objectives.objective import LossInputs
from archbench.runs.updates import grad_accumulation, optimizer
from archbench.runs.updates.muon import Muon, add_orthogonalised
from archbench.runs.updates.ranks import Ranks

SPLITS = ("row_splits", "column_splits")  # attributes of a matrix that holds several


class Sharded:
    """A training step whose parameters are sharded, and an unsharded copy of its model for evaluation and export."""

    reads_checkpoints = False  # rank 0 alone does

    def __init__(self, step: Any, ranks: Ranks) -> None:
        """Shards ``step``, whose model is on its device, in place."""
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard  # its import takes a second, which other runs are spared

        self.step, self.device, self.ranks = step, step.allowed_tokens.device, ranks
        self.plain: nn.Module = copy.deepcopy(step.model).cpu()
        mesh = init_device_mesh(self.device.type, (ranks.world_size,))
        modules = [module for module in step.modules() if isinstance(module, Block)]
        for module in (*modules, step):
            fully_shard(module, mesh=mesh)
            module.set_gradient_divide_factor(1.0)  # losses are divided by the tokens of all ranks
            module.set_force_sum_reduction_for_comms(True)
        sharded = dict(step.model.named_parameters())
        for name, parameter in self.plain.named_parameters():
            for key in SPLITS:
                if hasattr(parameter, key):
                    setattr(sharded[name], key, getattr(parameter, key))

    def share_matrices(self, trained: torch.optim.Optimizer) -> None:
        """Have the ranks share the work of Muon, which needs whole matrices."""
        for part in optimizer.parts(trained):
            if isinstance(part, Muon):
                part.update = SharedUpdate([p for group in part.param_groups for p in group["params"]], self.ranks)

    def deal(self, parts: Sequence[LossInputs], tokens: float) -> Iterator[tuple[int, LossInputs, float]]:
        """As `Replicated.deal`; all ranks need equally many passes, and extra ones add a gradient of 0."""
        own = self.ranks.share(range(len(parts)))
        for place in own:
            yield place, parts[place], tokens
        for _ in range(-(-len(parts) // self.ranks.world_size) - len(own)):
            yield 0, parts[0], math.inf

    def within_memory(self, accumulate: Callable[[int], Tensor], parts: int, most: int) -> Tensor:
        """The result of ``accumulate`` for so many parts; raises ``RuntimeError`` where memory does not suffice.

        The ranks have exchanged parameters by then, so that none can begin the step again.
        """
        try:
            return accumulate(parts)
        except (RuntimeError, MemoryError) as error:
            if not grad_accumulation.is_out_of_memory(error):
                raise
            raise RuntimeError(
                f"out of memory with a batch in {parts} parts; use more devices or smaller batch_tokens"
            ) from error

    def reduce(self, losses: Tensor, parameters: Sequence[nn.Parameter]) -> Tensor:
        """The losses of all micro-batches (parts,); FSDP has added up the gradients."""
        return self.ranks.all_reduce(losses)

    @contextmanager
    def evaluated(self) -> Iterator[nn.Module]:
        """The unsharded model with the current weights in evaluation mode, on the device; all ranks enter together."""
        self.plain.load_state_dict(self._everywhere(self.step.model.state_dict()))
        yield self.plain.to(self.device).eval()
        self.plain.cpu()

    def whole(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Sharded tensors as whole ones on the CPU of rank 0; all ranks call this."""
        return {name: self._on_main(tensor) for name, tensor in tensors.items()}

    def optimizer_state(self, trained: torch.optim.Optimizer) -> dict[str, Tensor]:
        """The optimizer's state as whole tensors on the CPU of rank 0; all ranks call this."""
        return optimizer.state(trained, self._on_main)

    def load(self, weights: Mapping[str, Tensor], trained: torch.optim.Optimizer, state: Mapping[str, Tensor]) -> None:
        """As `Replicated.load`: rank 0's whole tensors, distributed to all ranks; others pass empty mappings."""
        saved = optimizer.unpacked(trained, state) if self.ranks.is_main else {}
        shapes = self.ranks.gathered({name: tensor.shape for name, tensor in saved.items()})[0]
        self._spread(optimizer.blank(trained, shapes), saved)
        self._spread(self.step.model.state_dict(), weights)

    def placed(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Rank 0's whole ``weights`` as new sharded tensors."""
        parts = {name: tensor.detach().clone() for name, tensor in self.step.model.state_dict().items()}
        self._spread(parts, weights)
        return parts

    def finish(self, weights: Mapping[str, Tensor]) -> None:
        """Leave the step with the unsharded model and these ``weights``, on the device."""
        self.plain.load_state_dict(self._everywhere(weights))
        self.step.model = self.plain.to(self.device)

    def _everywhere(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {name: gathered(tensor).cpu() for name, tensor in tensors.items()}

    def _on_main(self, tensor: Tensor) -> Tensor:
        """A tensor gathered on the CPU of rank 0; on other ranks without its numbers."""
        return gathered(tensor).to("cpu" if self.ranks.is_main else "meta")

    @torch.no_grad()
    def _spread(self, tensors: Mapping[str, Any], whole: Mapping[str, Tensor]) -> None:
        """Copy rank 0's ``whole`` tensors into those of the same names, which are sharded or on every rank."""
        for name, tensor in tensors.items():
            received = torch.empty(tensor.shape, dtype=tensor.dtype, device=tensor.device)
            if self.ranks.is_main:
                received.copy_(whole[name])
            dist.broadcast(received, 0)
            _local(tensor).copy_(_own_rows(received, self.ranks) if _is_sharded(tensor) else received)


class SharedUpdate:
    """Muon's update of sharded matrices (`muon.update`): each is orthogonalised by the rank that owns it."""

    def __init__(self, matrices: Sequence[nn.Parameter], ranks: Ranks) -> None:
        self.owners, self.ranks = _owners(matrices, ranks.world_size), ranks

    def __call__(
        self, matrices: Sequence[nn.Parameter], directions: Sequence[Tensor], group: Mapping[str, Any]
    ) -> None:
        own: dict[nn.Parameter, tuple[Tensor, Tensor]] = {}  # updates and whole directions
        for matrix, direction in zip(matrices, directions, strict=True):
            whole = gathered(direction)
            if self.owners[matrix] == self.ranks.rank:
                own[matrix] = torch.zeros_like(whole), whole
        add_orthogonalised([into for into, _ in own.values()], list(own), [whole for _, whole in own.values()], group)
        for matrix in matrices:
            update = own[matrix][0] if matrix in own else torch.empty(matrix.shape, device=matrix.device)
            dist.broadcast(update, self.owners[matrix])
            decay = 1 - group["lr"] * group["weight_decay"]
            _local(matrix).mul_(decay).add_(_own_rows(update, self.ranks))


def _owners(matrices: Sequence[nn.Parameter], ranks: int) -> dict[nn.Parameter, int]:
    """The rank that owns each matrix; greedy: the largest matrix first, to the rank with the fewest elements."""
    load, owners = [0] * ranks, dict[nn.Parameter, int]()
    for matrix in sorted(matrices, key=lambda matrix: -matrix.numel()):
        owners[matrix] = load.index(min(load))
        load[owners[matrix]] += matrix.numel()
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
