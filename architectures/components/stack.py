"""Blocks and stacks of them; the same for encoders and decoders."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from archbench.architectures.components.attention import Attention, View
from archbench.architectures.components.feedforward import NoFeedForward
from archbench.architectures.components.key_values import KeyValues
from archbench.architectures.components.norm import NoNorm, Norm, PreNorm, Wiring
from archbench.architectures.components.numbers import Amount, Pairs

LATE = 0.5  # of positions that do not look, from which it is worth to make their queries no part of one product


class AttentionLike(Protocol):
    """Self-attention or what stands in its place: (b, q, d) -> (b, q, d) and what later tokens need; with FLOPs."""

    dim: int
    window: int | None

    def __call__(self, x: Tensor, view: View, past: KeyValues | None = None) -> tuple[Tensor, KeyValues]: ...

    def flops(self, queries: Amount, keys: Amount, pairs: Amount) -> Amount: ...


class FeedForwardLike(Protocol):
    """A feed-forward network: (..., d) -> (..., d), each position by itself, with its FLOPs.

    The last block's reads (m, d), the positions whose states are used. What mixes positions belongs into attention.
    """

    def __call__(self, x: Tensor) -> Tensor: ...

    def flops(self, tokens: Amount) -> Amount: ...


@runtime_checkable
class FeedForwards(Protocol):
    """A block or a stack that says which feed-forward networks it has."""

    def feedforwards(self) -> list[nn.Module]: ...


class Memory:
    """What cross-attention reads: what every layer remembers, and who may be seen."""

    def __init__(self, layers: Sequence[KeyValues | Tensor], view: View) -> None:
        self.layers, self.view = tuple(layers), view

    @property
    def count(self) -> int:
        """Number of rows."""
        first = self.layers[0] if self.layers else None
        return 0 if first is None else len(first if isinstance(first, Tensor) else first.keys)

    def rows(self, index: Tensor) -> "Memory":
        """The rows at ``index`` (m,), repeated or left out as it says."""
        present = None if self.view.present is None else self.view.present[index]
        layers = [kept[index] if isinstance(kept, Tensor) else kept.rows(index) for kept in self.layers]
        return Memory(layers, replace(self.view, present=present, masks={}))


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
        view: View,
        past: KeyValues | None = None,
        memory: KeyValues | Tensor | None = None,
        memory_view: View | None = None,
        picked: Tensor | None = None,
        begin: int = 0,
    ) -> tuple[Tensor, KeyValues]:
        """(b, t, d) -> (b, t, d), and the keys and values that later tokens need.

        With ``picked`` (m,), counted row by row, the feed-forward network reads these positions alone -> (m, d). None
        of them may be before ``begin``, from where on positions look at others.
        """
        late: dict[str, Any] = {"begin": begin} if begin else {}
        y, seen = self.attention(self.around_attention.before(x), view, past, **late)
        x = self.around_attention.after(x[:, begin:], self.dropout(y))
        if self.cross is not None and self.around_cross is not None:
            assert memory is not None and memory_view is not None
            y = self.cross.cross(self.around_cross.before(x), memory, memory_view)
            x = self.around_cross.after(x, self.dropout(y))
        if picked is not None:
            x = pick(x, picked - begin * (1 + picked // (begin + x.shape[1])) if begin else picked)
        y = self.feedforward(self.around_feedforward.before(x))
        return self.around_feedforward.after(x, self.dropout(y)), seen

    def flops(self, tokens: Amount, pairs: Pairs, memory: Amount = 0.0, memory_pairs: Amount = 0.0) -> Amount:
        """FLOPs of a forward pass: ``pairs`` query-key pairs within, ``memory_pairs`` with ``memory`` positions."""
        feedforward: FeedForwardLike = self.feedforward  # type: ignore[assignment]
        total = self.attention.flops(tokens, tokens, pairs(self.attention.window)) + feedforward.flops(tokens)
        return total if self.cross is None else total + self.cross.flops(tokens, memory, memory_pairs)


class Stack(nn.Module):
    """``depth`` blocks and a final norm.

    With ``recompute`` a block's inner activations are computed again for the backward pass, not kept (1604.06174).
    """

    recompute = False

    def __init__(self, depth: int, block: Callable[[], Block], norm: nn.Module | None = None) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(block() for _ in range(depth))
        self.norm = norm if norm is not None else nn.Identity()

    def forward(
        self,
        x: Tensor,
        view: View,
        past: Sequence[KeyValues] = (),
        memory: Memory | None = None,
        picked: Tensor | None = None,
    ) -> tuple[Tensor, tuple[KeyValues, ...]]:
        """(b, t, d) -> normed (b, t, d), and every layer's keys and values, those of ``past`` included.

        With ``picked`` (m,), counted row by row, states of these positions alone -> (m, d): nobody else reads what the
        last feed-forward network writes.
        """
        seen = []
        for layer, block in enumerate(self.blocks):
            before = past[layer] if past else None
            inputs = (x, view, before) if memory is None else (x, view, before, memory.layers[layer], memory.view)
            last: dict[str, Any] = {}
            if picked is not None and layer == len(self.blocks) - 1:
                begin = _begin(block, picked, x.shape[1])
                last = {"picked": picked, "begin": begin} if begin else {"picked": picked}
            if self.recompute and torch.is_grad_enabled():
                x, kept = checkpoint(_anew, block, *inputs, use_reentrant=False, **last)
            else:
                x, kept = block(*inputs, **last)
            seen.append(kept)
        return self.norm(x), tuple(seen)

    def remember(self, memory: Tensor, queries: int | None = None) -> list[KeyValues | Tensor]:
        """Every layer's keys and values of a memory (b, s, d), or what serves so few ``queries`` better."""
        return [block.cross.remember(memory, queries) for block in self.blocks if isinstance(block.cross, Attention)]

    def flops(
        self,
        tokens: Amount,
        pairs: Pairs,
        memory: Amount = 0.0,
        memory_pairs: Amount = 0.0,
        picked: Amount | None = None,
    ) -> Amount:
        total: Amount = 0.0
        for block in self.blocks:
            assert isinstance(block, Block)
            total = total + block.flops(tokens, pairs, memory, memory_pairs)
        if picked is not None:
            last: Any = self.blocks[-1].feedforward
            total = total - last.flops(tokens) + last.flops(picked)
        return total


def _begin(block: nn.Module, picked: Tensor, length: int) -> int:
    """The first position of a row that is picked, if it is worth to begin there; a GPU would have to be waited for."""
    attention = block.attention if type(block) is Block and block._compiled_call_impl is None else None
    if not isinstance(attention, Attention) or not attention.starts_late() or picked.device.type != "cpu":
        return 0
    begin = min(int((picked % length).min()), length - 1) if len(picked) else length - 1
    return begin if begin >= LATE * length else 0


def pick(x: Tensor, index: Tensor) -> Tensor:
    """The positions of (b, n, ...) at an index (m,) that counts them row by row: (m, ...)."""
    return x.flatten(0, 1).index_select(0, index)


def _anew(block: nn.Module, x: Tensor, view: View, past: KeyValues | None, *memory: Any, **last: Any) -> Any:
    """A block's forward pass that finds nothing computed, so that the second time does the same as the first."""
    fresh = [replace(each, masks={}) if isinstance(each, View) else each for each in memory]
    return block(x, replace(view, masks={}), past, *fresh, **last)
