"""Positional schemes: each turns the positions of queries and keys into one ``Geometry``.

A scheme is called once for a forward pass, with positions ``(1 or b, q)`` and ``(1 or b, k)`` that count tokens from 0,
and fills one field: vectors added to the embeddings, a rotation of queries and keys, or a bias of attention scores.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Geometry:
    """``added`` (b, q, d); ``rotation`` cos and sin, each (b, 1, q, head_dim); ``bias`` (b, heads, q, k)."""

    added: Tensor | None = None
    rotation: tuple[Tensor, Tensor] | None = None
    bias: Tensor | None = None


class NoPositions(nn.Module):
    """Order is left to the causal mask alone (NoPE, 2305.19466)."""

    def forward(self, queries: Tensor, keys: Tensor) -> Geometry:
        return Geometry()


class Sinusoidal(nn.Module):
    """Fixed sines and cosines added to the embeddings (1706.03762, section 3.5)."""

    def __init__(self, dim: int, base: float = 10_000.0) -> None:
        super().__init__()
        self.dim, self.base = dim, base

    def forward(self, queries: Tensor, keys: Tensor) -> Geometry:
        angles = queries[..., None].float() * _frequencies(self.dim, self.base, queries.device)
        return Geometry(added=torch.stack([angles.sin(), angles.cos()], -1).flatten(-2)[..., : self.dim])


class Learned(nn.Module):
    """A trained vector per position, added to the embeddings (GPT-2, BERT). ``length`` positions exist."""

    def __init__(self, length: int, dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(length, dim) * 0.02)

    def tables(self) -> list[nn.Parameter]:
        return [self.weight]

    def forward(self, queries: Tensor, keys: Tensor) -> Geometry:
        return Geometry(added=nn.functional.embedding(queries, self.weight))


class Rotary(nn.Module):
    """Rotates pairs of query and key channels by an angle proportional to the position (RoPE, 2104.09864)."""

    def __init__(self, head_dim: int, base: float = 10_000.0) -> None:
        super().__init__()
        if head_dim % 2:
            raise ValueError(f"rotary positions need an even head_dim, got {head_dim}")
        self.head_dim, self.base = head_dim, base

    def forward(self, queries: Tensor, keys: Tensor) -> Geometry:
        angles = queries[:, None, :, None].float() * _frequencies(self.head_dim, self.base, queries.device)
        angles = torch.cat([angles, angles], -1)
        return Geometry(rotation=(angles.cos(), angles.sin()))


class Alibi(nn.Module):
    """A penalty on attention scores that grows with the distance, one slope per head (ALiBi, 2108.12409)."""

    def __init__(self, heads: int) -> None:
        super().__init__()
        self.heads = heads

    def forward(self, queries: Tensor, keys: Tensor) -> Geometry:
        slopes = 2.0 ** (-8.0 * torch.arange(1, self.heads + 1, device=queries.device) / self.heads)
        distance = (queries[:, None, :, None] - keys[:, None, None, :]).abs()
        return Geometry(bias=-slopes[:, None, None] * distance)


class RelativeBias(nn.Module):
    """A trained bias per head and bucket of relative distance (T5, 1910.10683); buckets grow logarithmically.

    ``bidirectional`` gives half of the buckets to keys on the right; otherwise those share bucket 0.
    """

    def __init__(self, heads: int, bidirectional: bool, buckets: int = 32, max_distance: int = 128) -> None:
        super().__init__()
        self.bidirectional, self.buckets, self.max_distance = bidirectional, buckets, max_distance
        self.weight = nn.Parameter(torch.randn(buckets, heads) * 0.02)

    def forward(self, queries: Tensor, keys: Tensor) -> Geometry:
        buckets = self._bucket(keys[:, None, :] - queries[:, :, None])
        return Geometry(bias=nn.functional.embedding(buckets, self.weight).permute(0, 3, 1, 2).contiguous())

    def _bucket(self, distance: Tensor) -> Tensor:
        """Relative position, key minus query (b, q, k) -> index of its bucket."""
        count, offset = self.buckets, torch.zeros_like(distance)
        if self.bidirectional:
            count //= 2
            offset = (distance > 0).long() * count
            distance = distance.abs()
        else:
            distance = (-distance).clamp(min=0)
        exact = count // 2
        ratio = torch.log(distance.clamp(min=1).float() / exact) / math.log(self.max_distance / exact)
        far = (exact + (ratio * (count - exact)).long()).clamp(max=count - 1)
        return offset + torch.where(distance < exact, distance, far)


def rotated(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate channel i of x (b, h, n, e) with channel i + e / 2, as Llama lays them out.

    ``cos`` and ``sin`` (1 or b, 1, n, e) have two equal halves.
    """
    half = x.shape[-1] // 2
    turned = torch.cat([-x[..., half:], x[..., :half]], -1)
    return x * cos.to(x.dtype) + turned * sin.to(x.dtype)


def _frequencies(dim: int, base: float, device: torch.device) -> Tensor:
    """Angular step per position of each channel pair (ceil(dim / 2),)."""
    return 1.0 / base ** (torch.arange(0, dim, 2, device=device).float() / dim)
