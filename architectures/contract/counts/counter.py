"""Counts the FLOPs that really run, operator by operator, and those that a mask may make unnecessary.

PyTorch's ``FlopCounterMode`` knows matrix products, convolutions and fused attention. ``FlopCounter`` uses its formulas
and adds products with vectors and broadcast products whose terms are summed later: ``(x[..., None] * weight).sum(-2)``
is a matrix product, too. A product of complex numbers counts as four real ones.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from archbench.architectures.components.stack import Block
from archbench.architectures.contract.subject import BrokenError
from archbench.architectures.kernels.table import SELECTION, Kernel, only

NAMESPACES = ("aten", "prim", "prims", "profiler", "mkldnn")  # whose operators do nothing unseen
SUMS = ("sum", "nansum", "mean", "cumsum", "index_add", "scatter_add", "scatter_reduce", "index_put", "segment_reduce")
NORMS = ("norm", "linalg_vector_norm", "var", "std", "var_mean", "std_mean", "logsumexp", "logcumsumexp")
REDUCTIONS = frozenset((*SUMS, *NORMS, "prod", "cumprod", "amax", "amin", "max", "min"))
ADDITIVE = ("add", "sub")
RUNNING = frozenset(("cumsum", "cumprod", "logcumsumexp"))  # reductions whose results are as large as their inputs
COPIES = frozenset(("clone", "repeat", "cat", "stack", "copy", "_to_copy"))


@contextlib.contextmanager
def counted(
    model: nn.Module, inputs: Iterable[Tensor | None], kernels: Sequence[Kernel] = SELECTION
) -> Iterator[FlopCounter]:
    """Counts the FLOPs of the model's passes over ``inputs`` within this context; masked pairs count, too.

    Plain methods run in it except for ``kernels``: others add rows and keys.
    """
    counter = FlopCounter(model, inputs)
    with contextlib.ExitStack() as contexts:
        for module in model.modules():
            contexts.callback(module.register_forward_pre_hook(counter.enter_call, with_kwargs=True).remove)
            contexts.callback(module.register_forward_hook(counter.leave_call).remove)
        contexts.callback(torch.backends.mha.set_fastpath_enabled, torch.backends.mha.get_fastpath_enabled())
        torch.backends.mha.set_fastpath_enabled(False)
        contexts.enter_context(sdpa_kernel(SDPBackend.MATH))
        contexts.enter_context(only(model, kernels))
        contexts.enter_context(counter)
        yield counter


class Origin(IntEnum):
    """The kinds of values that tensors are computed from; a result has the greatest origin of its operands."""

    CONSTANT = 0  # positions and numbers alone
    WEIGHTS = 1
    DATA = 2


@dataclass
class Outer:
    """A product (or sum) of broadcast operands: ``flops`` count once its terms are added up."""

    flops: int
    is_counted: bool = False


@dataclass
class Trace:
    """Facts about a tensor's memory: ``distinct`` is the number of elements that are not copies of others."""

    origin: Origin
    distinct: int | None = None
    outer: Outer | None = None


@dataclass
class Mixing:
    """A module's call that multiplied activations with activations; ``flops`` are those of these products.

    ``inputs`` and ``outputs`` (b, n, d) are the hidden states before and after. ``is_self_attention``: the module is
    the attention of a shared block, and so reads only ``inputs``.
    """

    flops: int
    is_self_attention: bool
    inputs: Tensor
    outputs: Tensor


@dataclass
class _Call:
    module: nn.Module
    inputs: Tensor | None
    flops: int = 0


class FlopCounter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the FLOPs of everything that runs, in ``total``; see ``counted``.

    ``mixing`` holds the calls of modules that multiplied activations with activations, as attention does, until
    ``is_forward`` is False. Raises ``BrokenError`` for an operator from outside PyTorch, because its work cannot be
    seen.
    """

    def __init__(self, model: nn.Module, inputs: Iterable[Tensor | None]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.total, self.is_forward = 0, True
        self.mixing: list[Mixing] = []
        self._calls: list[_Call] = []
        self._attentions = {id(block.attention) for block in model.modules() if isinstance(block, Block)}
        self._traces = {_key(tensor): Trace(Origin.DATA) for tensor in inputs if tensor is not None}
        for tensor in (*model.parameters(), *model.buffers()):
            self._traces[_key(tensor)] = Trace(Origin.WEIGHTS)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func.namespace not in NAMESPACES:
            raise BrokenError(f"the operator {func} is not PyTorch's: its FLOPs cannot be counted; use PyTorch's own")
        if not is_product(func):
            with self:  # operators made of others, which inference mode passes on whole
                result = func.decompose(*args, **kwargs)
            if result is not NotImplemented:
                return result
        operands = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        before = [self._trace(operand) for operand in operands]
        result = func(*args, **kwargs)
        products = _products(func, args, kwargs, result) * _real_products(operands)
        self.total += products
        if products and Origin.WEIGHTS not in {trace.origin for trace in before} and self._calls:
            self._calls[-1].flops += products
        self._note(func, operands, before, result)
        return result

    def _note(self, func: Any, operands: list[Tensor], before: list[Trace], result: Any) -> None:
        """Remembers where the results of an operator come from, and counts sums over broadcast products."""
        name = _name(func)
        outer = None
        if name in REDUCTIONS:
            outer = self._reduced(name, before)
        elif name in COPIES:
            outer = _largest(before)
        elif torch.Tag.pointwise in func.tags:
            outer = self._multiplied(name, operands, before, result)
        origin = max((trace.origin for trace in before), default=Origin.CONSTANT)
        distinct = _distinct_copies(operands, before) if name in COPIES else None
        for output in tree_leaves(result):
            if isinstance(output, Tensor):
                self._keep(output, operands, Trace(origin, distinct, outer))

    def _keep(self, output: Tensor, operands: list[Tensor], trace: Trace) -> None:
        key = _key(output)
        known = self._traces.get(key) if any(_key(operand) == key for operand in operands) else None
        if known is not None:  # a view of an operand, or an operand that was written to
            known.origin = max(known.origin, trace.origin)
            known.outer = trace.outer or known.outer
        else:
            self._traces[key] = trace

    def _multiplied(self, name: str, operands: list[Tensor], before: list[Trace], result: Any) -> Outer | None:
        """The broadcast product that a pointwise result is, or is computed from."""
        if not isinstance(result, Tensor) or result.dtype == torch.bool:
            return None
        sizes = [_distinct(operand, trace) for operand, trace in zip(operands, before, strict=True)]
        outers = [trace.outer for trace in before if trace.outer is not None]
        if name in ADDITIVE and len(outers) > 1:
            for product in outers:
                self._count(product)
            return outers[0]
        if name in ("addcmul", "addcdiv") and result.numel() > max(sizes[1:], default=0):
            outer = Outer(2 * result.numel() * _real_products(operands))
            self._count(outer)
            return outer
        if len(sizes) > 1 and self._is_product(result.numel(), operands, sizes, before):
            return Outer(2 * result.numel() * _real_products(operands))
        return _largest(before)

    def _is_product(self, count: int, operands: list[Tensor], sizes: list[int], before: list[Trace]) -> bool:
        """True if ``count`` results are more than the elements of each operand, or vectors meet a matrix of weights."""
        if sorted(sizes)[-2] == 1 or all(trace.origin == Origin.CONSTANT for trace in before):
            return False  # a number times a tensor, or angles of positions
        if count > max(sizes):
            return True
        heavy = [
            size == count and (trace.outer is not None or (trace.origin == Origin.WEIGHTS and _is_matrix(operand)))
            for operand, size, trace in zip(operands, sizes, before, strict=True)
        ]
        return any(heavy) and min(sizes) < count

    def _reduced(self, name: str, before: list[Trace]) -> Outer | None:
        """Counts the broadcast products whose terms are summed here."""
        outers = [trace.outer for trace in before if trace.outer is not None]
        for outer in outers:
            self._count(outer)
        return outers[0] if outers and name in RUNNING else None

    def _count(self, outer: Outer) -> None:
        if not outer.is_counted:
            outer.is_counted = True
            self.total += outer.flops

    def _trace(self, tensor: Tensor) -> Trace:
        """Facts about an operand; one that was not computed here counts as weights."""
        return self._traces.setdefault(_key(tensor), Trace(Origin.WEIGHTS))

    def enter_call(self, module: nn.Module, args: Any, kwargs: Any) -> None:
        states = next((x for x in tree_leaves((args, kwargs)) if _is_states(x)), None)
        if states is not None and torch.is_grad_enabled() and not states.requires_grad:
            states.requires_grad_()
        self._calls.append(_Call(module, states))

    def leave_call(self, module: nn.Module, args: Any, result: Any) -> None:
        call = self._calls.pop()
        if not call.flops or not self.is_forward or isinstance(module, Block):
            return  # a block's own products, outside of its self-attention, are those of cross-attention
        outputs = next((x for x in tree_leaves(result) if _is_states(x)), None)
        if call.inputs is not None and outputs is not None and outputs.shape[:2] == call.inputs.shape[:2]:
            self.mixing.append(Mixing(call.flops, id(module) in self._attentions, call.inputs, outputs))
        elif self._calls:
            self._calls[-1].flops += call.flops


def _sized(matrix: Tensor, *rest: Any) -> int:
    return 2 * int(matrix.numel())


def _distances(x: Tensor, y: Tensor, *rest: Any) -> int:
    return 2 * int(x.numel() * y.shape[-2])


def _trilinear(a: Tensor, b: Tensor, c: Tensor, *expanded: Any) -> int:
    """For ``torch.bilinear``: every operand without the axes in ``expanded``, which it lacks."""
    shapes = []
    for operand, axes in zip((a, b, c), expanded[:3], strict=True):
        shape = list(operand.shape)
        for axis in sorted(axes):
            shape.insert(axis, 1)
        shapes.append(shape)
    return 3 * math.prod(int(max(sizes)) for sizes in zip(*shapes, strict=True))


def _rnn(x: Tensor, *weights: Any) -> int:
    return 2 * int(math.prod(x.shape[:-1])) * sum(int(weight.numel()) for weight in weights[:2])


def _rnn_backward(x: Tensor, *weights: Any) -> int:
    return 2 * _rnn(x, *weights)


def _attention(q: Tensor, k: Tensor, v: Tensor, *rest: Any) -> int:
    return 2 * int(math.prod(q.shape[:-1]) * k.shape[-2] * (q.shape[-1] + v.shape[-1]))


def _attention_backward(above: Tensor, q: Tensor, k: Tensor, v: Tensor, *rest: Any) -> int:
    return 2 * _attention(q, k, v)


FORMULAS: dict[str, Callable[..., int]] = {  # products that ``flop_registry`` lacks
    "mv": _sized,
    "addmv": lambda start, matrix, *rest: _sized(matrix),
    "dot": _sized,
    "vdot": _sized,
    "addr": lambda start, left, right: 2 * left.numel() * right.numel(),
    "addbmm": lambda start, left, right: 2 * left.numel() * right.shape[-1],
    "_addmm_activation": lambda start, left, right, *rest: 2 * left.numel() * right.shape[-1],
    "_grouped_mm": lambda left, right, *rest: 2 * left.numel() * right.shape[-1],
    "linalg_solve_triangular": lambda matrix, right, *rest, **options: matrix.shape[-1] * right.numel(),
    "_linear_pointwise": lambda x, weight, *rest: 2 * x.numel() * weight.shape[0],
    "_cdist_forward": _distances,
    "_cdist_backward": lambda above, x, y, *rest: _distances(x, y),
    "_euclidean_dist": _distances,
    "_trilinear": _trilinear,
    "mkldnn_rnn_layer": _rnn,
    "mkldnn_rnn_layer_backward": _rnn_backward,
    "_scaled_dot_product_flash_attention_for_cpu": _attention,
    "_scaled_dot_product_flash_attention_for_cpu_backward": _attention_backward,
}


def is_product(func: Any) -> bool:
    """True if an operator is a product of matrices or vectors."""
    return func._overloadpacket in flop_registry or _name(func) in FORMULAS


def _products(func: Any, args: Any, kwargs: Any, result: Any) -> int:
    """FLOPs of an operator that is a product of matrices or vectors; 0 for all others."""
    formula = flop_registry.get(func._overloadpacket)
    if formula is not None:
        return int(formula(*args, **kwargs, out_val=result))
    known = FORMULAS.get(_name(func))
    return 0 if known is None else known(*args)


def _real_products(operands: list[Tensor]) -> int:
    """Real products in a product of these operands: four for two complex numbers, two for one."""
    return int(2 ** min(2, sum(operand.is_complex() for operand in operands)))


def _name(func: Any) -> str:
    """The name of an operator; in-place operators share it with the others."""
    return str(func._overloadpacket.__name__).rstrip("_")


def _key(tensor: Tensor) -> int:
    """An identity that tensors with the same memory share; also works on the meta device."""
    return int(tensor.untyped_storage()._cdata)


def _distinct(tensor: Tensor, trace: Trace) -> int:
    """Number of elements that are not copies of others: an expanded axis repeats elements."""
    count = math.prod(size for size, stride in zip(tensor.shape, tensor.stride(), strict=True) if stride)
    return count if trace.distinct is None else min(count, trace.distinct)


def _distinct_copies(operands: list[Tensor], traces: list[Trace]) -> int:
    """Number of elements of a copy, or of a chain of copies, that are not copies of others."""
    return sum({_key(x): _distinct(x, trace) for x, trace in zip(operands, traces, strict=True)}.values())


def _largest(traces: list[Trace]) -> Outer | None:
    return max(
        (trace.outer for trace in traces if trace.outer is not None), key=lambda outer: outer.flops, default=None
    )


def _is_matrix(tensor: Tensor) -> bool:
    return sum(size > 1 for size in tensor.shape) > 1


def _is_states(value: object) -> bool:
    return isinstance(value, Tensor) and value.ndim == 3 and value.is_floating_point()
