"""One attention for all families: self or cross, any mask, any positions, grouped keys and values.

An ``AttentionContext`` states which keys each query may attend to; there are no subclasses for masks.
"""

from copy import copy
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from archbench.architectures.components.initial import linear
from archbench.architectures.components.key_values import KeyValues
from archbench.architectures.components.norm import RMSNorm
from archbench.architectures.components.numbers import Amount
from archbench.architectures.kernels.attend import attend, attend_states
from archbench.architectures.kernels.product import product
from archbench.architectures.kernels.rotate import rotated


@dataclass(frozen=True)
class AttentionContext:
    """The keys that each query may attend to.

    ``queries`` (1 or b, q) and ``keys`` (1 or b, k) are positions. ``causal``: only keys at or before the query.
    ``single_step``: one query, after all keys: the causal mask hides nothing. ``first_query``: positions before it have
    keys but no queries, because their outputs are unused. ``present`` (b, k) is False at masked keys. ``prefix``
    (b, 1): a length; keys at positions below it are visible to all queries, despite ``causal``. ``rotation`` and
    ``bias`` (1 or b, heads, q, k) come from the positional scheme.

    An attention that computes its own scores hides keys with ``masked(scores)``, which is right in every case.

    Masks are (1 or b, 1 or heads, 1 or q, k), in two forms, each computed once per window:
    ``mask()`` is boolean, True at visible keys; with a ``bias`` it is that bias, minus infinity at hidden keys. None:
    every query sees all keys, without a bias.
    ``additive()`` is what kernels add to scores. None does not mean that all is visible: it can also mean causality
    alone (``is_causal_square``), which the kernel then applies itself.
    """

    queries: Tensor
    keys: Tensor
    causal: bool = False
    single_step: bool = False
    first_query: int = 0
    present: Tensor | None = None
    prefix: Tensor | None = None
    rotation: tuple[Tensor, Tensor] | None = None
    bias: Tensor | None = None
    masks: dict[int | None, Tensor | None] = field(default_factory=dict, compare=False)
    additive_masks: dict[int | None, Tensor | None] = field(default_factory=dict, compare=False)

    def from_query(self, first: int) -> "AttentionContext":
        """The same context with queries only at positions from ``first``."""
        return self.fresh(first_query=first)

    def fresh(self, **changes: Any) -> "AttentionContext":
        """A copy with these changes and without the masks that were computed."""
        return replace(self, **changes, masks={}, additive_masks={})

    def snapshot(self) -> "AttentionContext":
        """A copy of the context: values that layers later keep in the original do not appear in it."""
        kept = copy(self)
        vars(kept).update({name: copy(value) for name, value in vars(self).items() if isinstance(value, dict | list)})
        return kept

    def plainly_causal(self, window: int | None) -> bool:
        """Whether plain causal attention is enough, so that no mask is needed."""
        square = self.queries.shape[-1] == self.keys.shape[-1] and not self.first_query
        return self.causal and square and not self._needs_mask(window)

    def mask(self, window: int | None = None) -> Tensor | None:
        """The boolean mask, or the bias with minus infinity at hidden keys; None if all is visible (see the class)."""
        if window not in self.masks:
            self.masks[window] = self._mask(window) if self.causal or self._needs_mask(window) else None
        return self.masks[window]

    def masked(self, scores: Tensor, window: int | None = None) -> Tensor:
        """Scores (b, h, q, k) plus the positional bias, minus infinity at keys that a query does not see."""
        mask = self.mask(window)
        if mask is None:
            return scores
        return scores.masked_fill(~mask, float("-inf")) if mask.dtype == torch.bool else scores + mask

    @property
    def is_causal_square(self) -> bool:
        """Whether queries and keys are the same positions and query i sees no key after i; masks may hide more."""
        return self.causal and self.prefix is None and self.queries is self.keys and not self.first_query

    def additive(self, window: int | None = None) -> Tensor | None:
        """The mask as a summand of scores, for kernels; None also where causality alone hides keys: see ``masked``."""
        if self.is_causal_square and not self._needs_mask(window):
            return None
        if window not in self.additive_masks:
            mask = self.mask(window)
            if mask is not None and mask.dtype == torch.bool:
                mask = torch.zeros(mask.shape, device=mask.device).masked_fill_(~mask, float("-inf"))
            self.additive_masks[window] = (
                mask if mask is None else mask.expand(-1, -1, self.queries.shape[-1] - self.first_query, -1)
            )
        return self.additive_masks[window]

    def _needs_mask(self, window: int | None) -> bool:
        return not (self.present is None and self.prefix is None and self.bias is None and window is None)

    def _mask(self, window: int | None) -> Tensor | None:
        visible, bias = self._visible(window), self.bias
        bias = bias if bias is None else bias[:, :, self.first_query :]
        if visible is None:
            return bias
        visible = visible | ~visible.any(-1, keepdim=True)  # a query at padding that sees nothing must not give NaN
        if bias is None:
            return visible[:, None]
        return bias.masked_fill(~visible[:, None], float("-inf"))

    def _visible(self, window: int | None) -> Tensor | None:
        """The keys that each query sees (1 or b, 1 or q, k); None: all."""
        visible = None if self.present is None else self.present[:, None, :]
        causal = self.causal and not self.single_step
        if not causal and window is None:
            return visible
        distance = self.keys[:, None, :] - self.queries[:, self.first_query :, None]
        if causal:
            reached = distance <= 0
            if self.prefix is not None:
                reached = reached | (self.keys < self.prefix)[:, None, :]
            visible = reached if visible is None else visible & reached
        if window is not None:
            near = distance.abs() <= window
            visible = near if visible is None else visible & near
        return visible


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
        """Self-attention of x (b, n, d) to ``past`` and itself -> (b, q, d), and all keys and values so far.

        q = n, or fewer where the context has queries at the last positions only. With a ``memory``, states (b, s, d) or
        their keys and values: cross-attention to it instead.
        """
        if memory is not None:
            return self.output(self._cross(x, memory, context)), memory
        if context.first_query:
            assert past is None, "after a cache every position has a query"
            rotation = self._rotation(context)
            q, (k, v, _) = self.project_queries(x[:, context.first_query :]), self.project_keys_values(x)
            if rotation is not None:
                cos, sin = rotation
                q = rotated(q, cos[..., context.first_query :, :], sin[..., context.first_query :, :])
                k = rotated(k, cos, sin)
        else:
            q, k, v = self.project(x, context)
        key_values = KeyValues(k, v) if past is None else past.then(KeyValues(k, v))
        y = attend(q, key_values, context, self.window, self.active_dropout, self.scaling)
        return self.output(y), key_values

    def project(self, x: Tensor, context: AttentionContext) -> tuple[Tensor, Tensor, Tensor]:
        """Queries (b, h, n, e), keys and values (b, kv_heads, n, e) of x (b, n, d), with rotary positions."""
        return self._project(x, self._rotation(context))

    def queries(self, x: Tensor, context: AttentionContext) -> Tensor:
        """The queries (b, h, n, e) of self-attention, with positions, as ``forward`` compares them with keys."""
        return self.project(x, context)[0]

    def project_queries(self, x: Tensor) -> Tensor:
        """The queries (b, h, q, e) of x (b, q, d) without positions, as in cross-attention."""
        weight, bias = self.query_key_value.weight, self.query_key_value.bias
        q = self._split(product(x, weight[: self.inner], None if bias is None else bias[: self.inner]))
        return _normed(q, self.query_norm)

    def project_keys_values(self, memory: Tensor) -> KeyValues:
        """The keys and values of states (b, s, d), without positions."""
        weight, bias = self.query_key_value.weight, self.query_key_value.bias
        rest = None if bias is None else bias[self.inner :]
        k, v = product(memory, weight[self.inner :], rest).chunk(2, -1)
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

    def _rotation(self, context: AttentionContext) -> tuple[Tensor, Tensor] | None:
        return context.rotation if self.positions is None else self.positions(context.queries, context.keys).rotation

    def _split(self, y: Tensor) -> Tensor:
        return y.view(*y.shape[:2], -1, self.head_dim).transpose(1, 2)  # (b, n, h * e) -> (b, h, n, e)

    def _project(self, x: Tensor, rotation: tuple[Tensor, Tensor] | None) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values of x (b, n, d), each (b, heads, n, e), queries and keys normed and rotated."""
        split = self._split(self.query_key_value(x))
        if rotation is None or self.query_norm is not None:
            q, k, v = torch.split(split, [self.heads, self.kv_heads, self.kv_heads], 1)
            q, k = _normed(q, self.query_norm), _normed(k, self.key_norm)
            return (q, k, v) if rotation is None else (rotated(q, *rotation), rotated(k, *rotation), v)
        qk, v = torch.split(split, [self.heads + self.kv_heads, self.kv_heads], 1)
        q, k = torch.split(rotated(qk, *rotation), [self.heads, self.kv_heads], 1)  # rotated together
        return q, k, v

    def _cross(self, x: Tensor, memory: KeyValues | Tensor, context: AttentionContext) -> Tensor:
        q, how = self.project_queries(x), (context, self.window, self.active_dropout, self.scaling)
        if isinstance(memory, KeyValues):
            return attend(q, memory, *how)
        if self.key_norm is not None:
            return attend(q, self.project_keys_values(memory), *how)
        weight, bias = self.query_key_value.weight, self.query_key_value.bias
        return attend_states(q, memory, self.project_keys_values, weight, bias, *how)


def _normed(x: Tensor, norm: RMSNorm | None) -> Tensor:
    """Queries or keys (b, h, n, e) after their norm, in the type that they came in."""
    return x if norm is None else norm(x.to(norm.weight.dtype)).to(x.dtype)
