"""The last feed-forward network of a stack, at the positions whose states are read and at no others.

A loss reads the states at masked or target positions, scoring those of a target; what the last block does with one
position changes no other.
"""

import inspect
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from torch import Tensor

from archbench.architectures.components.attention import AttentionContext
from archbench.architectures.components.key_values import KeyValues, LayerState
from archbench.architectures.components.numbers import Amount, AttentionPairs, FlopCount, in_part
from archbench.architectures.components.stack import Block, CrossAttentionCache, Stack, select


def block_forward(
    self: Block,
    x: Tensor,
    context: AttentionContext,
    past: LayerState | None = None,
    memory: KeyValues | Tensor | None = None,
    memory_context: AttentionContext | None = None,
    selected: Tensor | None = None,
) -> tuple[Tensor, LayerState]:
    """(b, t, d) -> (b, t, d), or (m, d) at ``selected`` (m,), and the state that later tokens need."""
    x, state = self.attend(x, context, past, memory, memory_context)
    return self.feed(x if selected is None else select(x, selected)), state


def stack_forward(
    self: Stack,
    x: Tensor,
    context: AttentionContext,
    past: Sequence[LayerState] = (),
    memory: CrossAttentionCache | None = None,
    selected: Tensor | None = None,
) -> tuple[Tensor, tuple[LayerState, ...]]:
    """As ``Stack.forward``; the last block selects, if it can."""
    if selected is None or not _can_select(self):
        return Stack.forward(self, x, context, past, memory, selected)
    states, last = [], len(self.blocks) - 1
    for layer in range(len(self.blocks)):
        chosen = {"selected": selected} if layer == last else {}
        block, *read = self.inputs(layer, x, context, past, memory)
        x, state = self._run(block, *read, **chosen)
        states.append(state)
    return self.norm(x), tuple(states)


def stack_flops(
    self: Stack,
    tokens: Amount,
    pairs_at_window: AttentionPairs,
    memory: Amount = 0.0,
    memory_pairs: Amount = 0.0,
    selected: Amount | None = None,
) -> FlopCount:
    """As ``Stack.flops``; the last feed-forward network reads ``selected`` positions."""
    total = Stack.flops(self, tokens, pairs_at_window, memory, memory_pairs, selected)
    if selected is None or not _can_select(self):
        return total
    whole: Any = total
    last: Any = self.blocks[-1].feedforward
    left_out, read = (in_part("feedforward", last.flops(positions)) for positions in (tokens, selected))
    count: FlopCount = whole - left_out + read
    return count


def _can_select(stack: Stack) -> bool:
    """True if the last block takes ``selected``, as a block of one's own may."""
    return len(stack.blocks) > 0 and _takes_selected(type(stack.blocks[-1]).forward)


@cache
def _takes_selected(forward: Callable[..., Any]) -> bool:
    return "selected" in inspect.signature(forward).parameters
