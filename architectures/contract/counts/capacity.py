"""Checks of what a parameter budget leaves out: tables, buffers, and uncounted tensors."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from archbench.architectures.contract.counts.counter import is_product
from archbench.architectures.contract.subject import LIMITS, SIZE, Build, Subject, allowed, fresh, require, sequences
from archbench.architectures.families.size import Limits, Size, count, embedding_parameters
from archbench.architectures.objectives.objective import Batch, mean_loss

AXES = ("vocabulary", "source_length", "target_length")
PER_TOKEN = 2  # tables a token may have a row of: one that it is looked up in, and the output matrix
PER_POSITION = 2
ROWS_BESIDE = 4  # rows of tables that no token or position accounts for: segments, a first position
SCALING = ("mul", "mul_", "div", "div_", "addcmul", "addcmul_")
FEW = 16  # numbers of a constant that is no weight, such as a factor
FEW_IN_ALL = 64
EVEN = Limits(vocabulary=64, source_length=64, target_length=64)  # buffers of whole blocks grow evenly from here on
WIDER = Size(dim=128, heads=4, depth=4, hidden=256)
CONSTANTS = 0.01  # numbers in constant buffers for each parameter
MOST_CONSTANTS = 256  # that any model may have


def tables_are_lookups(case: Subject) -> None:
    """A table excluded from `parameters` is only looked up; each token or position has a row of at most `dim` numbers.

    The budget excludes tables because the task determines their size. A layer's matrix, or a memory with a fixed number
    of rows, is capacity that counts in other architectures: do not return it from `tables()`. Tables grow linearly with
    the vocabulary or a length, with at most two for each token (input and output) and two for each position; four more
    rows, as for segments, are allowed. No product, norm or scale reads a table before the output head.
    """
    grown = {axis: [_left_out(_at(case, axis, times)) for times in (2, 3)] for axis in AXES}
    for name, size in _left_out(case.model).items():
        sizes = {axis: [size, *(table.get(name, 0) for table in tables)] for axis, tables in grown.items()}
        _grows_evenly(name, sizes)
    left_out_is_explained(case.model, SIZE, LIMITS)
    _are_looked_up(case)


def _at(case: Subject, axis: str, times: int) -> nn.Module:
    """The model with one of its limits multiplied."""
    model: nn.Module = fresh(case.build, limits=_times(LIMITS, axis, times))
    return model


def _times(limits: Limits, axis: str, times: int) -> Limits:
    return replace(limits, **{axis: times * getattr(limits, axis)})


def _grows_evenly(name: str, sizes: dict[str, list[int]]) -> None:
    """Requires a table to have a row for each token or position; ``sizes`` at one, two and three times each limit."""
    advice = "leave it out of `tables()`"
    for axis, (once, twice, thrice) in sizes.items():
        rate = (twice - once) / getattr(LIMITS, axis)
        growth = f"the table {name} has {once}, {twice}, {thrice} numbers at once, twice, three times the {axis}"
        require(thrice - twice == twice - once, f"{growth}: not linear; {advice}")
        message = f"{growth}: {rate:g} for each, and `dim` is {SIZE.dim}"
        require(0 <= rate <= SIZE.dim, f"{message}; {advice}")
    size = sizes["vocabulary"][0]
    rest = size - sum(twice - once for once, twice, _ in sizes.values())
    message = f"{rest} of the {size} numbers of the table {name} belong to no token and no position"
    require(rest <= ROWS_BESIDE * SIZE.dim, f"{message}; {advice}")


def left_out_is_explained(model: nn.Module, size: Size, limits: Limits) -> None:
    """Requires tables left out of `parameters` to be no larger than tokens and positions account for."""
    counted = count(model).embedding_parameters
    tokens, positions = limits.vocabulary * (PER_TOKEN * size.dim + 1), limits.length * PER_POSITION * size.dim
    most = tokens + positions + ROWS_BESIDE * size.dim
    message = (
        f"tables have {counted:,} numbers; {limits.vocabulary} tokens and {limits.length} positions explain {most:,}"
    )
    require(counted <= most, f"{message}; leave other weights out of `tables()`")


def every_tensor_is_counted(case: Subject) -> None:
    """Every tensor that takes part in the loss is a parameter, a registered buffer, an input or computed from these.

    Weights in a list, a dictionary, a closure, a global, a default argument or an attribute that begins with an
    underscore are not counted in the budget, not saved in checkpoints, and not moved with the model. Use
    `nn.Parameter`, `nn.ModuleList` or `register_buffer`, and compute constants in the pass that needs them.
    """
    model = case.model.train()
    _step(model, native=True, seed=0)  # what is made in the first pass and kept is there from the second on
    for native in (True, False):
        with TensorWatch(model) as watch:
            loss = _loss(model, native, seed=1, watch=watch)
        parameter_ids = {id(parameter) for parameter in model.parameters()}
        strange = [tuple(leaf.shape) for leaf in _leaves(loss) if id(leaf) not in parameter_ids]
        message = f"tensors of shape {_shapes(strange)} get a gradient but are not parameters of the model"
        require(not strange, f"{message}; make each an `nn.Parameter` of its module")
        _are_constants(watch.unknown)


def constants_are_few(case: Subject) -> None:
    """Constant buffers hold few numbers besides those for each token and position: at most 1% of `parameters`.

    Random or fixed weights in a buffer are capacity outside the budget, although layers use them like trained weights.
    Any model may have 256 such numbers. Make weights parameters, size tables by `limits`, and compute other
    constants in the pass that needs them.
    """
    for size in (SIZE, WIDER):
        constants_fit(case.build, size)


def constants_fit(build: Build, size: Size) -> None:
    """Requires few constant numbers in the buffers of a model of this size.

    A buffer's numbers are constant if neither the vocabulary nor a length accounts for them; a complex number counts as
    two.
    """
    with torch.device("meta"):
        plan = build(size, EVEN)
        grown = [_buffers(build(size, _times(EVEN, axis, 2))) for axis in AXES]
    constants = {
        name: numbers - sum(buffers.get(name, 0) - numbers for buffers in grown)
        for name, numbers in _buffers(plan).items()
    }
    constant_numbers = sum(max(numbers, 0) for numbers in constants.values())
    parameters = count(plan).parameters
    most = max(CONSTANTS * parameters, MOST_CONSTANTS)
    largest = max(constants, key=constants.__getitem__, default="")
    message = (
        f"buffers hold {constant_numbers:,} numbers that no token or position accounts for; parameters: {parameters:,}"
    )
    require(constant_numbers <= most, f"{message}; the most in {largest}; make weights parameters")


def training_changes_no_buffer(case: Subject) -> None:
    """A training step changes no buffer.

    A buffer that training changes learns outside the optimizer and the budget: batch statistics, averages of states
    or weights, a memory, weights updated by hand. Scores then depend on the order of the batches. Make it a parameter
    that the loss trains, or compute it in the pass.
    """
    changed = _changed_by_training(case.model)
    require(not changed, f"a training step changes the buffers {', '.join(sorted(changed))}")


def _changed_by_training(model: nn.Module) -> set[str]:
    """The names of the buffers that training steps write to, add or remove."""
    model.train()
    before = {name: buffer.detach().clone() for name, buffer in model.named_buffers()}
    for seed, native in enumerate((True, False)):
        _step(model, native, seed)
    after = dict(model.named_buffers())
    return {name for name in before.keys() | after.keys() if not _same(before.get(name), after.get(name))}


def _buffers(model: nn.Module) -> dict[str, int]:
    """Real numbers in each buffer, by its name."""
    return {name: buffer.numel() * (1 + buffer.is_complex()) for name, buffer in model.named_buffers()}


class TensorWatch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Within this context, records in ``unknown`` every tensor that an operator reads from an unknown origin.

    Known are the model's parameters and buffers, what was passed to ``gives``, and the results of operators.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.unknown: list[tuple[str, Tensor]] = []
        self._known: dict[int, Any] = {}  # memory, and what keeps its address from being used again
        self.gives((*model.parameters(), *model.buffers()))

    def gives(self, tensors: Iterable[object]) -> None:
        for tensor in tensors:
            if isinstance(tensor, Tensor):
                storage = tensor.untyped_storage()
                self._known[storage._cdata] = storage

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        for operand in tree_leaves((args, kwargs)):
            if isinstance(operand, Tensor) and operand.untyped_storage()._cdata not in self._known:
                self.unknown.append((str(func), operand))
                self.gives([operand])
        result = func(*args, **kwargs)
        self.gives(tree_leaves(result))
        return result


class _UsesAsWeights(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Within this context, records the operators that read some tensors, by their memory, as layers read weights.

    These are products of matrices, norms, and multiplication by a vector that is the same for every position.
    """

    def __init__(self, tensors: dict[str, Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.names = {tensor.untyped_storage()._cdata: name for name, tensor in tensors.items()}
        self.read: dict[str, str] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        for operand in tree_leaves((args, kwargs or {})):
            name = self.names.get(operand.untyped_storage()._cdata) if isinstance(operand, Tensor) else None
            if name is not None and _is_weight(func, operand):
                self.read[name] = str(func)
        return func(*args, **(kwargs or {}))


def _is_weight(func: Any, operand: Tensor) -> bool:
    """True if an operator uses this operand as a layer uses its weights."""
    name = func._overloadpacket.__name__
    is_vector = operand.numel() > 1 and operand.numel() == operand.shape[-1]
    return is_product(func) or name.endswith("_norm") or (name in SCALING and is_vector)


@torch.no_grad()
def _are_looked_up(case: Subject) -> None:
    left_out = embedding_parameters(case.model)
    tables = {name: weight for name, weight in case.model.named_parameters() if id(weight) in left_out}
    batch = _batch(seed=0)
    with _UsesAsWeights(tables) as watch:
        case.model.train().hidden(batch.source, batch.target)
    readers = ", ".join(f"{name} ({operator})" for name, operator in watch.read.items())
    message = f"the tables {readers} are read as weights of a layer before the output head"
    require(not watch.read, f"{message}; leave them out of `tables()`")


def _loss(model: Any, native: bool, seed: int, watch: TensorWatch | None = None) -> Tensor:
    batch, allowed_tokens = _batch(seed), allowed()
    if watch is not None:
        watch.gives((*batch, allowed_tokens))
    loss: Tensor = mean_loss(model, batch, allowed_tokens, torch.Generator().manual_seed(seed), native=native)
    return loss


def _step(model: Any, native: bool, seed: int) -> None:
    """A training step without the optimizer's part."""
    torch.autograd.backward(_loss(model, native, seed))
    model.zero_grad()


def _batch(seed: int) -> Batch:
    return Batch(sequences(3, 5, seed=2 * seed), sequences(3, LIMITS.target_length, seed=2 * seed + 1))


def _leaves(loss: Tensor) -> list[Tensor]:
    """The tensors at which the graph of a loss ends: those that ``backward`` gives a gradient."""
    leaves: dict[int, Tensor] = {}
    seen, waiting = set(), deque([loss.grad_fn])
    while waiting:
        node: Any = waiting.popleft()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):
            leaves[id(node.variable)] = node.variable
        waiting.extend(following for following, _ in node.next_functions)
    return list(leaves.values())


def _are_constants(unknown: list[tuple[str, Tensor]]) -> None:
    """Requires tensors that were neither given nor computed to hold only a few numbers."""
    large = [f"{tuple(tensor.shape)} ({operator})" for operator, tensor in unknown if tensor.numel() > FEW]
    message = f"read, but neither parameter, buffer, input nor computed: tensors of shape {', '.join(large)}"
    require(not large, f"{message}; register them")
    total = sum(tensor.numel() for _, tensor in unknown)
    require(total <= FEW_IN_ALL, f"{total} numbers are read that are neither parameters, buffers, inputs nor computed")


def _left_out(model: nn.Module) -> dict[str, int]:
    """Elements of each table, by its first name."""
    left_out = embedding_parameters(model)
    return {name: weight.numel() for name, weight in model.named_parameters() if id(weight) in left_out}


def _shapes(shapes: list[tuple[int, ...]]) -> str:
    return ", ".join(map(str, shapes))


def _same(first: Tensor | None, second: Tensor | None) -> bool:
    return first is not None and second is not None and first.dtype == second.dtype and torch.equal(first, second)
