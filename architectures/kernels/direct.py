"""Attention of few queries to states under bfloat16 autocast on a CPU, without computing keys and values.

``q · K m`` is ``Kᵀ q · m``, and the sum of ``V m`` is ``V`` of the sum (2405.04434). A bias of keys adds the same to
all scores of a query, which changes nothing.
"""

import torch
from torch import Tensor

from archbench.architectures.components.attention import Attention, AttentionContext
from archbench.architectures.components.key_values import KeyValues
from archbench.architectures.kernels import blockwise
from archbench.architectures.kernels.attend import additive

DIRECT = 4  # keys and values have to take so many times the multiplications of doing without them


def crossed(self: Attention, x: Tensor, memory: KeyValues | Tensor, context: AttentionContext) -> Tensor:
    """``Attention.crossed``: to states, for few queries, without keys and values."""
    weight, bias = self.query_key_value.weight, self.query_key_value.bias
    if not isinstance(memory, KeyValues) and self.key_norm is None:
        q = self.project_queries(x)
        if applies(q, memory, weight, self.active_dropout):
            return attention(q, memory, weight, bias, additive(context, self.window, 1), self.scaling)
        return self.attended(q, self.project_keys_values(memory), context)
    return Attention.crossed(self, x, memory, context)


def applies(q: Tensor, states: Tensor, weight: Tensor, dropout: float) -> bool:
    """True if ``attention`` takes less time, by measurement, than keys and values do for so few queries."""
    _, heads, queries, e = q.shape
    keys = (len(weight) - heads * e) // 2  # kv_heads * e
    few = DIRECT * queries * heads <= keys and states.shape[1] >= blockwise.SHORT
    return few and blockwise.applies(states, states[:, None], dropout)


def attention(
    q: Tensor, states: Tensor, weight: Tensor, bias: Tensor | None, mask: Tensor | None, scale: float
) -> Tensor:
    """Queries (b, h, n, e) to states (b, s, d) -> (b, n, h * e).

    ``weight`` (h * e + 2 * kv_heads * e, d) and ``bias`` make queries, keys and values, in this order. ``mask``
    (1 or b, 1, 1, s) is added to scores and is not trained.
    """
    b, h, n, e = q.shape
    keys, values = weight[h * e :].view(2, -1, e, weight.shape[1])
    shared = len(keys)

    def by_head(x: Tensor) -> Tensor:  # (b, h * n, f) -> (kv, b * h / kv * n, f)
        return x.view(b, shared, -1, x.shape[-1]).transpose(0, 1).flatten(1, 2)

    def by_row(x: Tensor) -> Tensor:
        return x.view(shared, b, -1, x.shape[-1]).transpose(0, 1).flatten(1, 2)

    wide, read = by_row(torch.bmm(by_head(q.flatten(1, 2)), keys)), states[:, None]
    mixed = blockwise.attention(wide[:, None], read, read, mask, False, scale)
    y = by_row(torch.bmm(by_head(mixed), values.mT)).view(b, h, n, e)
    if bias is not None:
        y = y + bias[-shared * e :].view(-1, 1, e).repeat_interleave(h // shared, 0)
    return y.transpose(1, 2).flatten(2)
