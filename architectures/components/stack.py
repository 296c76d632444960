"""Blocks and stacks of them; the same for encoders and decoders."""

import inspect
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from archbench.architectures.components.attention import Attention, AttentionContext
from archbench.architectures.components.feedforward import NoFeedForward
from archbench.architectures.components.key_values import KeyValues, LayerState
from archbench.architectures.components.norm import NoNorm, Norm, PreNorm, Wiring
from archbench.architectures.components.numbers import Amount, AttentionPairs, FlopCount, FlopParts, in_part


class AttentionLike(Protocol):
    """Self-attention or what stands in its place: (b, n, d) -> (b, n, d), and the state that later tokens need.

    ``past`` is the state that it returned for the tokens before x, None if there are none. A state is any value with
    ``rows(index)``: ``KeyValues``, or a tuple of your own. ``context.keys`` and ``context.present`` are those of all
    tokens so far, x last; to mask fewer keys, use ``context.fresh(keys=..., present=..., bias=...)``. No token may read
    padding, where ``present`` is False; it can be on either side. ``flops`` has to count what runs, for decoding too.
    Only ``Attention`` itself has cross-attention, and weights in ``inspect``.
    """

    dim: int
    window: int | None

    def __call__(self, x: Tensor, context: AttentionContext, past: Any = None, /) -> tuple[Tensor, LayerState]: ...

    def flops(self, queries: Amount, keys: Amount, pairs: Amount) -> Amount: ...


class FeedForwardLike(Protocol):
    """A feed-forward network: (..., d) -> (..., d), each position by itself, with its FLOPs.

    x is (b, t, d) with padding; in the last block it can be (m, d), the positions whose states are used. Each position
    must have the same result in both forms. What mixes positions belongs into attention.
    """

    def __call__(self, x: Tensor) -> Tensor: ...

    def flops(self, tokens: Amount) -> Amount: ...


@runtime_checkable
class FeedForwards(Protocol):
    """A block or a stack that says which feed-forward networks it has."""

    def feedforwards(self) -> list[nn.Module]: ...


class CrossAttentionCache:
    """Input of cross-attention: the encoder's states, and the ``context`` that says which of them are present.

    ``memory`` has two forms. In one pass over a target, as in training: states (b, s, d), which every layer projects
    to its own keys and values. In decoding: those keys and values of each layer, computed once and kept.
    """

    def __init__(self, memory: Tensor | Sequence[KeyValues], context: AttentionContext) -> None:
        self.memory, self.context = memory, context

    @property
    def count(self) -> int:
        """Number of rows."""
        if isinstance(self.memory, Tensor):
            return len(self.memory)
        return len(self.memory[0].keys) if self.memory else 0

    def layer(self, number: int) -> Tensor | KeyValues:
        """The memory of layer ``number``, counted from 0."""
        return self.memory if isinstance(self.memory, Tensor) else self.memory[number]

    def rows(self, index: Tensor) -> "CrossAttentionCache":
        """The rows at ``index`` (m,), which may repeat or omit rows."""
        present = None if self.context.present is None else self.context.present[index]
        memory = self.memory
        chosen = memory[index] if isinstance(memory, Tensor) else [layer.rows(index) for layer in memory]
        return CrossAttentionCache(chosen, self.context.fresh(present=present))


class Block(nn.Module):
    """Self-attention, cross-attention where there is one, feed-forward; each wired to the residual stream."""

    def __init__(
        self,
        attention: AttentionLike,
        feedforward: nn.Module,
        norm: Norm,
        cross: Attention | None = None,
        wiring: Wiring = PreNorm,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        dim = attention.dim
        self.attention, self.around_attention = attention, wiring(norm(dim))
        self.cross = cross
        self.around_cross = wiring(norm(dim)) if cross is not None else None
        absent = isinstance(feedforward, NoFeedForward)  # a norm in front of nothing would never learn
        self.feedforward, self.around_feedforward = feedforward, (NoNorm if absent else wiring)(norm(dim))
        self.dropout = nn.Dropout(dropout)

    def feedforwards(self) -> list[nn.Module]:
        return [self.feedforward]

    def forward(
        self,
        x: Tensor,
        context: AttentionContext,
        past: LayerState | None = None,
        memory: KeyValues | Tensor | None = None,
        memory_context: AttentionContext | None = None,
    ) -> tuple[Tensor, LayerState]:
        """(b, t, d) -> (b, t, d), and the state that later tokens need."""
        x, state = self.attend(x, context, past, memory, memory_context)
        return self.feed(x), state

    def attend(
        self,
        x: Tensor,
        context: AttentionContext,
        past: LayerState | None,
        memory: KeyValues | Tensor | None,
        memory_context: AttentionContext | None,
    ) -> tuple[Tensor, LayerState]:
        """The first part, which mixes positions: self-attention, and cross-attention where there is one."""
        y, state = self.attention(self.around_attention.before(x), context, past)
        x = self.around_attention.after(x, self.dropout(y))
        if self.cross is not None and self.around_cross is not None:
            y, _ = self.cross(self.around_cross.before(x), memory_context, memory=memory)
            x = self.around_cross.after(x, self.dropout(y))
        return x, state

    def feed(self, x: Tensor) -> Tensor:
        """The second part, which reads each position (..., d) by itself: the feed-forward network."""
        y = self.feedforward(self.around_feedforward.before(x))
        return self.around_feedforward.after(x, self.dropout(y))

    def flops(
        self, tokens: Amount, pairs_at_window: AttentionPairs, memory: Amount = 0.0, memory_pairs: Amount = 0.0
    ) -> FlopCount:
        """FLOPs of a forward pass over ``tokens`` positions, by part; a variant may return a number.

        ``pairs_at_window(window)`` is the number of query-key pairs of self-attention with that window;
        ``memory_pairs`` are those of cross-attention to ``memory`` positions.
        """
        feedforward: FeedForwardLike = self.feedforward  # type: ignore[assignment]
        total = in_part("attention", self.attention.flops(tokens, tokens, pairs_at_window(self.attention.window)))
        total = total + in_part("feedforward", feedforward.flops(tokens))
        if self.cross is None:
            return total
        return total + in_part("attention", self.cross.flops(tokens, memory, memory_pairs))


BlockBuilder = Callable[[], Block] | Callable[[int], Block]


class Stack(nn.Module):
    """``depth`` blocks, each made by ``block()`` or ``block(layer)``, layers counted from 0, and a final norm.

    In training ``call`` runs a block, where it is given: compiled, say. With ``recompute`` a block's inner activations
    are computed again for the backward pass, not kept (1604.06174); what it keeps in ``context`` stays there.
    """

    def __init__(self, depth: int, block: BlockBuilder, norm: nn.Module | None = None) -> None:
        super().__init__()
        numbers = ((layer,) if _takes_layer(block) else () for layer in range(depth))
        self.blocks = nn.ModuleList(block(*number) for number in numbers)
        self.norm = norm if norm is not None else nn.Identity()
        self.call: Callable[..., Any] | None = None
        self.recompute = False

    def forward(
        self,
        x: Tensor,
        context: AttentionContext,
        past: Sequence[LayerState] = (),
        memory: CrossAttentionCache | None = None,
        selected: Tensor | None = None,
    ) -> tuple[Tensor, tuple[LayerState, ...]]:
        """(b, t, d) -> normed (b, t, d), and every layer's state, which includes ``past``.

        With ``selected`` (m,), counted row by row, the states of these positions alone -> (m, d).
        """
        states = []
        for layer in range(len(self.blocks)):
            x, state = self._run(*self.inputs(layer, x, context, past, memory))
            states.append(state)
        return self.norm(x if selected is None else select(x, selected)), tuple(states)

    def inputs(
        self,
        layer: int,
        x: Tensor,
        context: AttentionContext,
        past: Sequence[LayerState],
        memory: CrossAttentionCache | None,
    ) -> tuple[Any, ...]:
        """A layer's block and what it reads."""
        across = () if memory is None else (memory.layer(layer), memory.context)
        return self.blocks[layer], x, context, past[layer] if past else None, *across

    def _run(self, block: nn.Module, *inputs: Any, **last: Tensor) -> Any:
        if not torch.is_grad_enabled():
            return block(*inputs, **last)
        call = self.call or _call
        if self.recompute:
            return checkpoint(_repeatable(partial(call, block, **last), inputs), *inputs, use_reentrant=False)
        return call(block, *inputs, **last)

    def project_keys_values(self, memory: Tensor) -> list[KeyValues]:
        """Every layer's keys and values of a memory (b, s, d), as single queries read them fast."""
        crossing = (block.cross for block in self.blocks)
        return [c.project_keys_values(memory).buffered() for c in crossing if isinstance(c, Attention)]

    def flops(
        self,
        tokens: Amount,
        pairs_at_window: AttentionPairs,
        memory: Amount = 0.0,
        memory_pairs: Amount = 0.0,
        selected: Amount | None = None,
    ) -> FlopCount:
        """FLOPs of all blocks, as of ``Block.flops``, of which ``selected`` positions are read."""
        total = FlopParts(0.0)
        for block in self.blocks:
            assert isinstance(block, Block)
            total = total + block.flops(tokens, pairs_at_window, memory, memory_pairs)
        return total


def _takes_layer(block: BlockBuilder) -> bool:
    """True if a builder takes the layer's number: it has a positional argument without a default."""
    kinds = inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD
    try:
        arguments = inspect.signature(block).parameters.values()
    except ValueError:  # of builtins such as `next`
        return False
    return any(argument.kind in kinds and argument.default is argument.empty for argument in arguments)


def select(x: Tensor, index: Tensor) -> Tensor:
    """The positions of (b, n, ...) at an index (m,) that counts them row by row: (m, ...)."""
    return x.flatten(0, 1).index_select(0, index)


def _call(block: nn.Module, *inputs: Any, **last: Tensor) -> Any:
    return block(*inputs, **last)


def recompute_blocks(model: nn.Module) -> bool:
    """Keep only the inputs of blocks for the backward pass, not their activations; False if there is no ``Stack``."""
    stacks = [module for module in model.modules() if isinstance(module, Stack)]
    for stack in stacks:
        stack.recompute = True
    return bool(stacks)


def _repeatable(call: Callable[..., Any], inputs: Sequence[Any]) -> Callable[..., Any]:
    """``call``; every later call gets its contexts as they were before the first.

    The first time, layers keep values in them for later layers: masks, or what a variant shares between layers.
    """
    before, started = [_snapshot(part) for part in inputs], False

    def run(*first: Any) -> Any:
        nonlocal started
        parts, started = map(_snapshot, before) if started else first, True
        return call(*parts)

    return run


def _snapshot(part: Any) -> Any:
    return part.snapshot() if isinstance(part, AttentionContext) else part
