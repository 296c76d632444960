"""Decoder-only model whose keys are convolved over four tokens (depthwise, causal; Primer, 2109.08668)."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from archbench.architectures import (
    Amount,
    Attention,
    AttentionContext,
    Block,
    DecoderOnly,
    Embedding,
    GatedFeedForward,
    Head,
    KeyValues,
    Limits,
    RMSNorm,
    Rotary,
    Size,
    Stack,
)
from archbench.architectures.kernels.rotate import rotated

WIDTH = 4


class ConvolvedKeys(Attention):
    """Attention whose key at a token is a trained mixture of its own and the three keys before, channel by channel.

    The cache has for each token the key that is attended to and, as more channels, the one before the convolution.
    """

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__(dim, heads)
        self.filter = nn.Parameter(torch.randn(dim, 1, WIDTH) * WIDTH**-0.5)

    def forward(
        self,
        x: Tensor,
        context: AttentionContext,
        past: KeyValues | None = None,
        memory: KeyValues | Tensor | None = None,
    ) -> tuple[Tensor, KeyValues]:
        q, raw, v = self._project(x, None)
        present = context.present
        if present is not None:
            raw = raw * present[:, None, -x.shape[1] :, None]
        if past is None:
            before = torch.zeros_like(raw[:, :, :1]).expand(-1, -1, WIDTH - 1, -1)
        else:
            before = tail(past.keys[..., self.head_dim :], None if present is None else present[:, : -x.shape[1]])
        k = self._convolved(torch.cat([before, raw], 2))
        if context.rotation is not None:
            q, k = rotated(q, *context.rotation), rotated(k, *context.rotation)
        key_values = KeyValues(torch.cat([k, raw], -1), v)
        if past is not None:
            key_values = KeyValues(torch.cat([past.keys, key_values.keys], 2), torch.cat([past.values, v], 2))
        scores = (q * self.scaling) @ key_values.keys[..., : self.head_dim].transpose(2, 3)
        mask = context.mask()
        if mask is not None:
            scores = scores.masked_fill(~mask, float("-inf"))
        y = scores.softmax(-1).to(v.dtype) @ key_values.values
        return self.output(y.transpose(1, 2).flatten(2)), key_values

    def _convolved(self, keys: Tensor) -> Tensor:
        """Keys (b, h, n + 3, e) -> (b, h, n, e)."""
        flat = keys.transpose(2, 3).flatten(1, 2)
        y = F.conv1d(flat, self.filter, groups=self.dim)
        return y.unflatten(1, (self.heads, -1)).transpose(2, 3)

    def flops(self, queries: Amount, keys: Amount, pairs: Amount) -> Amount:
        return super().flops(queries, keys, pairs) + 2.0 * WIDTH * keys * self.dim


def tail(raw: Tensor, present: Tensor | None) -> Tensor:
    """The keys (b, h, 3, e) of each row's last three tokens; zeros where there are none."""
    if present is None:
        return F.pad(raw, (0, 0, WIDTH - 1, 0))[:, :, -(WIDTH - 1) :]
    count = present.sum(1, keepdim=True)
    wanted = count - (WIDTH - 1) + torch.arange(WIDTH - 1, device=raw.device)
    column = (~present).long().argsort(dim=1, stable=True).gather(1, wanted.clamp(min=0))
    last = raw.gather(2, column[:, None, :, None].expand(-1, raw.shape[1], -1, raw.shape[3]))
    return last * (count > 0)[:, None, :, None]


def build(size: Size, limits: Limits) -> DecoderOnly:
    def block() -> Block:
        attention = ConvolvedKeys(size.dim, size.heads)
        return Block(attention, GatedFeedForward(size.dim, size.hidden), RMSNorm, dropout=size.dropout)

    return DecoderOnly(
        Embedding(limits.vocabulary, size.dim, dropout=size.dropout),
        Stack(size.depth, block, RMSNorm(size.dim)),
        Head(limits.vocabulary, size.dim),
        positions=Rotary(size.head_dim),
    )
