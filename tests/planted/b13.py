"""Encoder-decoder model whose decoder layers each read a trained mean of all encoder layers (2004.11578, 1808.08437)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from archbench.architectures import (
    Amount,
    Attention,
    AttentionContext,
    Block,
    CrossAttentionCache,
    Embedding,
    EncoderDecoder,
    GatedFeedForward,
    Head,
    KeyValues,
    Limits,
    RMSNorm,
    Rotary,
    Size,
    Stack,
)
from archbench.architectures.components.numbers import AttentionPairs


class AllLayers(Stack):
    """An encoder whose states are those of all its layers, normed, side by side: (b, s, layers * d)."""

    def forward(
        self,
        x: Tensor,
        context: AttentionContext,
        past: Sequence[KeyValues] = (),
        memory: CrossAttentionCache | None = None,
        selected: Tensor | None = None,
    ) -> tuple[Tensor, tuple[KeyValues, ...]]:
        states, layers = [], []
        for block in self.blocks:
            x, key_values = self._run(block, x, context, None)
            states.append(self.norm(x))
            layers.append(key_values)
        return torch.cat(states, -1), tuple(layers)


class PerLayer(CrossAttentionCache):
    """States of its own (b, s, d) for each decoder layer."""

    def __init__(self, states: Tensor, context: AttentionContext) -> None:
        super().__init__(states[0], context)
        self.states = states

    def layer(self, number: int) -> Tensor:
        return self.states[number]


class MixingStack(Stack):
    """A decoder; ``mix`` (decoder layers, encoder layers) has the logarithms of the shares, at first all the same."""

    def __init__(self, depth: int, block: object, norm: nn.Module) -> None:
        super().__init__(depth, block, norm)
        self.mix = nn.Parameter(torch.zeros(depth, depth)) if depth > 1 else None

    def forward(
        self,
        x: Tensor,
        context: AttentionContext,
        past: Sequence[KeyValues] = (),
        memory: CrossAttentionCache | None = None,
        selected: Tensor | None = None,
    ) -> tuple[Tensor, tuple[KeyValues, ...]]:
        if memory is not None and isinstance(memory.memory, Tensor):
            memory = PerLayer(self._mixed(memory.memory, layers=-1), memory.context)
        return super().forward(x, context, past, memory, selected)

    def project_keys_values(self, memory: Tensor) -> list[KeyValues]:
        states = self._mixed(memory, layers=0)
        crossing = [block.cross for block in self.blocks]
        return [c.project_keys_values(own).buffered() for c, own in zip(crossing, states, strict=True)]

    def _mixed(self, memory: Tensor, layers: int) -> Tensor:
        """States (b, s, layers * d) -> (decoder layers, b, s, d); ``layers``: the encoder's axis of ``mix``."""
        if self.mix is None:
            return memory[None]
        shares = self.mix.softmax(layers).to(memory.dtype)
        return (shares @ memory.unflatten(-1, (len(shares), -1))).permute(2, 0, 1, 3)

    def flops(
        self,
        tokens: Amount,
        pairs_at_window: AttentionPairs,
        memory: Amount = 0.0,
        memory_pairs: Amount = 0.0,
        selected: Amount | None = None,
    ) -> Amount:
        total = super().flops(tokens, pairs_at_window, memory, memory_pairs, selected)
        return total if self.mix is None else total + 2.0 * memory * self.mix.numel() * self.norm.weight.numel()


def build(size: Size, limits: Limits) -> EncoderDecoder:
    def block(cross: bool) -> Block:
        return Block(
            Attention(size.dim, size.heads),
            GatedFeedForward(size.dim, size.hidden),
            RMSNorm,
            cross=Attention(size.dim, size.heads) if cross else None,
            dropout=size.dropout,
        )

    return EncoderDecoder(
        Embedding(limits.vocabulary, size.dim, dropout=size.dropout),
        AllLayers(size.depth, lambda: block(cross=False), RMSNorm(size.dim)),
        MixingStack(size.depth, lambda: block(cross=True), RMSNorm(size.dim)),
        Head(limits.vocabulary, size.dim),
        positions=Rotary(size.head_dim),
    )
