"""Linear attention with a gated delta rule, in attention's place."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from archbench.architectures.components.attention import AttentionContext
from archbench.architectures.components.initial import linear
from archbench.architectures.components.norm import RMSNorm
from archbench.architectures.components.numbers import Amount

CHUNK = 32  # tokens that are read at once


class Memory(NamedTuple):
    """What a layer keeps of all tokens so far: a matrix from keys to values for each head (b, h, e, e)."""

    matrix: Tensor

    def rows(self, index: Tensor) -> Memory:
        return Memory(self.matrix[index])


class GatedDelta(nn.Module):
    """Each token scales the memory down, corrects the value that it has for the token's key, and reads it (2412.06464).

    With the decay ``a`` and the step ``b`` of a token, both from 0 to 1: ``memory = a * memory``, then
    ``memory += b * key (value - key @ memory)``; its output is ``norm(query @ memory) * silu(gate)``. It has no
    positions, and the memory is float32. Tokens before read nothing of tokens after them, whatever the model's mask.
    """

    window: int | None = None

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.dim, self.heads, self.head_dim = dim, heads, dim // heads
        self.splits = (*[heads * self.head_dim] * 4, heads, heads)
        self.inputs = linear(dim, sum(self.splits), splits=self.splits)
        self.norm = RMSNorm(self.head_dim)
        self.output = linear(heads * self.head_dim, dim, zero=True)
        self.rate = nn.Parameter(torch.empty(heads).uniform_(math.log(0.01), math.log(0.5)))  # of decay, a token

    def forward(self, x: Tensor, context: AttentionContext, past: Memory | None = None) -> tuple[Tensor, Memory]:
        *parts, decay, step = self.inputs(x).float().split(self.splits, -1)
        q, k, v, gate = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in parts)  # (b, h, n, e)
        q, k = F.normalize(F.silu(q), dim=-1), F.normalize(F.silu(k), dim=-1)
        decay, step = -(self.rate.exp() * F.softplus(decay)).mT, step.sigmoid().mT  # (b, h, n)
        if context.present is not None:  # padding leaves the memory as it is
            here = context.present[:, None, -x.shape[1] :]
            decay, step = decay * here, step * here
        memory = q.new_zeros(*q.shape[:2], self.head_dim, self.head_dim) if past is None else past.matrix
        outputs = []
        with torch.autocast(x.device.type, enabled=False):
            for chunk in zip(*(part.split(CHUNK, 2) for part in (q, k, v, decay, step)), strict=True):
                y, memory = read(memory, *chunk)
                outputs.append(y)
        y = self.norm(torch.cat(outputs, 2)) * F.silu(gate)
        return self.output(y.transpose(1, 2).flatten(2).to(x.dtype)), Memory(memory)

    def flops(self, queries: Amount, keys: Amount, pairs: Amount) -> Amount:
        """FLOPs of a forward pass: those of the matrix, and of comparing the tokens of each chunk; no pairs."""
        whole = queries // CHUNK
        compared = whole * CHUNK**2 + (queries - whole * CHUNK) ** 2.0
        projections = 2.0 * queries * self.dim * (sum(self.splits) + self.heads * self.head_dim)
        return projections + self.heads * self.head_dim * (6.0 * queries * self.head_dim + 7.0 * compared)


def read(memory: Tensor, q: Tensor, k: Tensor, v: Tensor, decay: Tensor, step: Tensor) -> tuple[Tensor, Tensor]:
    """What c tokens read (b, h, c, e) one after another from a memory (b, h, e, e), and the memory after them.

    ``q``, ``k`` and ``v`` are (b, h, c, e), the logarithm of ``decay`` and ``step`` (b, h, c). All corrections follow
    from one triangular system of equations (2406.06484).
    """
    total = decay.cumsum(-1)
    since = (total[..., :, None] - total[..., None, :]).tril().exp().tril()  # decay from a token j to a token i
    start = total.exp()[..., None]
    earlier = (step[..., None] * since * (k @ k.mT)).tril(-1)
    wanted = step[..., None] * (v - start * (k @ memory))
    change = torch.linalg.solve_triangular(earlier, wanted, upper=False, unitriangular=True)
    y = start * (q @ memory) + (since * (q @ k.mT)) @ change
    return y, start[..., -1:, :] * memory + (since[..., -1, :, None] * k).mT @ change
