"""One attention for all families: self or cross, any mask, any positions, grouped keys and values.

An ``AttentionContext`` states which keys each query may read; there are no subclasses for masks.
"""

from copy import copy
from dataclasses import dataclass, field, replace
from functools import reduce
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from archbench.architectures.components.initial import linear
from archbench.architectures.components.key_values import KeyValues
from archbench.architectures.components.mask import BIDIRECTIONAL, CAUSAL, Mask
from archbench.architectures.components.norm import RMSNorm
from archbench.architectures.components.numbers import Amount
from archbench.architectures.components.positions import rotated


@dataclass(frozen=True)
class AttentionContext:
    """The keys that each query may read, and the positions of both.

    ``queries`` (1 or b, q) and ``keys`` (1 or b, k) are positions; those of the queries are the last ones of the keys.
    ``rule`` says which keys a query may read by their positions, of which the first ``source`` (b, 1) of each row are
    the source's. ``present`` (b, k) is False at padding, which no query reads. ``rotation`` and ``bias`` (1 or b,
    heads, q, k) come from the positional scheme. ``kept`` holds what the layers of one pass share, such as masks.
    """

    queries: Tensor
    keys: Tensor
    rule: Mask = BIDIRECTIONAL
    source: Tensor | None = None
    present: Tensor | None = None
    rotation: tuple[Tensor, Tensor] | None = None
    bias: Tensor | None = None
    kept: dict[Any, Tensor | None] = field(default_factory=dict, compare=False)

    def fresh(self, **changes: Any) -> "AttentionContext":
        """A copy with these changes, which keeps nothing yet."""
        return replace(self, **changes, kept={})

    def snapshot(self) -> "AttentionContext":
        """A copy of the context: values that layers later keep in the original do not appear in it."""
        copied = copy(self)
        vars(copied).update({name: copy(value) for name, value in vars(self).items() if isinstance(value, dict | list)})
        return copied

    def mask(self, window: int | None = None) -> Tensor | None:
        """The mask (1 or b, 1 or heads, 1 or q, k) of a layer with that window, computed once in a pass.

        It is True at keys that a query may read; with a ``bias`` it is the bias, minus infinity at all other keys.
        None: every query reads all keys, without a bias.
        """
        if window not in self.kept:
            self.kept[window] = self._mask(window)
        return self.kept[window]

    def masked(self, scores: Tensor, window: int | None = None) -> Tensor:
        """Scores (b, h, q, k) plus the bias, minus infinity at keys that a query may not read."""
        mask = self.mask(window)
        if mask is None:
            return scores
        return scores.masked_fill(~mask, float("-inf")) if mask.dtype == torch.bool else scores + mask

    def _mask(self, window: int | None) -> Tensor | None:
        visible = self._visible(window)
        if visible is None:
            return self.bias
        visible = visible | ~visible.any(-1, keepdim=True)  # a query at padding that reads nothing must not give NaN
        return visible[:, None] if self.bias is None else self.bias.masked_fill(~visible[:, None], float("-inf"))

    def _visible(self, window: int | None) -> Tensor | None:
        """True at the keys that each query may read (1 or b, 1 or q, k); None: all."""
        query, key = self.queries[:, :, None], self.keys[:, None, :]
        tests = []
        if self.present is not None:
            tests.append(self.present[:, None, :])
        single = self.rule is CAUSAL and self.queries.shape[-1] == 1  # a single query comes after all keys
        if self.rule is not BIDIRECTIONAL and not single:
            tests.append(self.rule.mod(query, key, 0 if self.source is None else self.source[:, :, None]))
        if window is not None:
            tests.append((key - query).abs() <= window)
        return reduce(torch.logical_and, tests) if tests else None


def attend(
    q: Tensor, seen: KeyValues, context: AttentionContext, window: int | None, dropout: float, scale: float
) -> Tensor:
    """Attention of queries (b, h, q, e), times ``scale``, to keys and values -> (b, q, h * e).

    ``h`` is a multiple of the heads of keys and values; ``dropout`` applies to attention weights.
    """
    shared = q.shape[1] != seen.keys.shape[1]
    mask = context.mask(window)
    y = F.scaled_dot_product_attention(q, seen.keys, seen.values, mask, dropout, scale=scale, enable_gqa=shared)
    return y.transpose(1, 2).flatten(2)


class Attention(nn.Module):
    """Multi-head attention (1706.03762) with ``kv_heads`` shared keys and values (2305.13245).

    Queries, keys and values are rows of one matrix; cross-attention uses its parts. ``window``: a query sees keys at
    most that far away. ``scale`` replaces ``head_dim ** -0.5`` (T5 uses 1); queries are then initialised smaller, so
    that scores keep their size. ``positions`` is this layer's own rotary scheme, which replaces the model's.
    ``dropout`` applies to attention weights. ``qk_norm``: queries and keys are divided by their root mean square over
    ``head_dim``, before positions, with a trained factor for each channel (2309.14322).
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        kv_heads: int | None = None,
        head_dim: int | None = None,
        bias: bool = False,
        window: int | None = None,
        scale: float | None = None,
        positions: nn.Module | None = None,
        dropout: float = 0.0,
        qk_norm: bool = False,
    ) -> None:
        super().__init__()
        self.dim, self.heads, self.kv_heads = dim, heads, kv_heads or heads
        self.head_dim = head_dim or dim // heads
        self.window, self.scale, self.positions, self.dropout = window, scale, positions, dropout
        self.inner = heads * self.head_dim
        shared = self.kv_heads * self.head_dim
        splits = (self.inner, shared, shared)
        self.query_key_value = linear(dim, sum(splits), bias, splits=splits)
        if scale is not None:
            with torch.no_grad():
                self.query_key_value.weight[: self.inner] *= self.head_dim**-0.5 / scale
        self.query_norm, self.key_norm = (RMSNorm(self.head_dim) if qk_norm else None for _ in range(2))
        self.output = linear(self.inner, dim, bias, zero=True)

    def forward(
        self,
        x: Tensor,
        context: AttentionContext,
        past: KeyValues | None = None,
        memory: KeyValues | Tensor | None = None,
    ) -> tuple[Tensor, KeyValues | Tensor]:
        """Self-attention of x (b, n, d) to ``past`` and itself -> (b, n, d), and all keys and values so far.

        With a ``memory``, states (b, s, d) or their keys and values: cross-attention to it instead.
        """
        if memory is not None:
            return self.output(self.crossed(x, memory, context)), memory
        q, k, v = self.project(x, context)
        seen = KeyValues(k, v) if past is None else past.then(KeyValues(k, v))
        return self.output(self.attended(q, seen, context)), seen

    def crossed(self, x: Tensor, memory: KeyValues | Tensor, context: AttentionContext) -> Tensor:
        """Cross-attention of x (b, q, d) to states (b, s, d), or to their keys and values -> (b, q, h * e)."""
        seen = memory if isinstance(memory, KeyValues) else self.project_keys_values(memory)
        return self.attended(self.project_queries(x), seen, context)

    def attended(self, q: Tensor, seen: KeyValues, context: AttentionContext) -> Tensor:
        """Attention of queries (b, h, n, e) to keys and values -> (b, n, h * e)."""
        return attend(q, seen, context, self.window, self.active_dropout, self.scaling)

    def project(self, x: Tensor, context: AttentionContext) -> tuple[Tensor, Tensor, Tensor]:
        """Queries (b, h, n, e), keys and values (b, kv_heads, n, e) of x (b, n, d), with rotary positions."""
        own = self.positions
        return self._project(x, context.rotation if own is None else own(context.queries, context.keys).rotation)

    def queries(self, x: Tensor, context: AttentionContext) -> Tensor:
        """The queries (b, h, n, e) of self-attention, with positions, as ``forward`` compares them with keys."""
        return self.project(x, context)[0]

    def project_queries(self, x: Tensor) -> Tensor:
        """The queries (b, h, q, e) of x (b, q, d) without positions, as in cross-attention."""
        return _normed(self._split(self.query_key_value.rows(x, slice(self.inner))), self.query_norm)

    def project_keys_values(self, memory: Tensor) -> KeyValues:
        """The keys and values of states (b, s, d), without positions."""
        k, v = self.query_key_value.rows(memory, slice(self.inner, None)).chunk(2, -1)
        return KeyValues(_normed(self._split(k), self.key_norm), self._split(v))

    def flops(self, queries: Amount, keys: Amount, pairs: Amount) -> Amount:
        """FLOPs of a forward pass that projects ``queries`` and ``keys`` positions and compares ``pairs`` of them."""
        shared = self.kv_heads * self.head_dim
        projections = 4.0 * queries * self.dim * self.inner + 4.0 * keys * self.dim * shared
        return projections + 4.0 * pairs * self.inner

    @property
    def scaling(self) -> float:
        """The factor of queries before they are compared with keys."""
        return self.head_dim**-0.5 if self.scale is None else self.scale

    @property
    def active_dropout(self) -> float:
        """The dropout of attention weights, in training only."""
        return self.dropout if self.training else 0.0

    def _project(self, x: Tensor, rotation: tuple[Tensor, Tensor] | None) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values of x (b, n, d), each (b, heads, n, e), queries and keys normed and rotated."""
        split = self._split(self.query_key_value(x))
        q, k, v = torch.split(split, [self.heads, self.kv_heads, self.kv_heads], 1)
        q, k = _normed(q, self.query_norm), _normed(k, self.key_norm)
        return (q, k, v) if rotation is None else (rotated(q, *rotation), rotated(k, *rotation), v)

    def _split(self, y: Tensor) -> Tensor:
        return y.view(*y.shape[:2], -1, self.head_dim).transpose(1, 2)  # (b, n, h * e) -> (b, h, n, e)


def _normed(x: Tensor, norm: RMSNorm | None) -> Tensor:
    """Queries or keys (b, h, n, e) after their norm, in the type that they came in."""
    return x if norm is None else norm(x.to(norm.weight.dtype)).to(x.dtype)
