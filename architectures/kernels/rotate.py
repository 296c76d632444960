"""Queries and keys rotated together: fewer calls, which count where single tokens are written."""

import torch
from torch import Tensor

from archbench.architectures.components.attention import Attention
from archbench.architectures.components.positions import rotated


def project(self: Attention, x: Tensor, rotation: tuple[Tensor, Tensor] | None) -> tuple[Tensor, Tensor, Tensor]:
    """``Attention._project``: queries, keys and values of x (b, n, d), each (b, heads, n, e)."""
    if rotation is None or self.query_norm is not None or torch.is_grad_enabled():
        return Attention._project(self, x, rotation)
    both = self.heads + self.kv_heads
    queries_keys, v = torch.split(self._split(self.query_key_value(x)), [both, self.kv_heads], 1)
    q, k = torch.split(rotated(queries_keys, *rotation), [self.heads, self.kv_heads], 1)
    return q, k, v
