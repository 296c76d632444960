"""Attention with a gate on what each head returns."""

from typing import Any

import torch
from torch import Tensor

from archbench.architectures.components.attention import Attention, AttentionContext
from archbench.architectures.components.initial import linear
from archbench.architectures.components.key_values import KeyValues
from archbench.architectures.components.numbers import Amount


class GatedAttention(Attention):
    """``output(attention(x) * sigmoid(gate(x)))``, a gate for each channel of each head (2505.06708)."""

    def __init__(self, dim: int, heads: int, **options: Any) -> None:
        super().__init__(dim, heads, **options)
        self.gate = linear(dim, self.inner)

    def forward(
        self,
        x: Tensor,
        context: AttentionContext,
        past: KeyValues | None = None,
        memory: KeyValues | Tensor | None = None,
    ) -> tuple[Tensor, KeyValues | Tensor]:
        """As of ``Attention``: (b, n, d) -> (b, n, d), and the keys and values that later queries read."""
        if memory is not None:
            return self.output(self.crossed(x, memory, context) * torch.sigmoid(self.gate(x))), memory
        q, k, v = self.project(x, context)
        seen = KeyValues(k, v) if past is None else past.then(KeyValues(k, v))
        return self.output(self.attended(q, seen, context) * torch.sigmoid(self.gate(x))), seen

    def flops(self, queries: Amount, keys: Amount, pairs: Amount) -> Amount:
        return super().flops(queries, keys, pairs) + 2.0 * queries * self.dim * self.inner
