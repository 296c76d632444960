"""Decoder-only: source and target in one causal sequence (GPT)."""

from functools import partial

import torch
from torch import Tensor, nn

from archbench.architectures.components.attention import AttentionContext
from archbench.architectures.components.cache import Cache
from archbench.architectures.components.embedding import Embedding, Head
from archbench.architectures.components.mask import BIDIRECTIONAL, CAUSAL, PREFIX, Mask
from archbench.architectures.components.numbers import Amount, Flops, in_part, rectangle
from archbench.architectures.components.stack import Stack
from archbench.architectures.components.states import StateIndex, States, as_bool, mask_or_ones, position_ids
from archbench.architectures.families.family import Family
from archbench.architectures.families.layout import count_positions, join
from archbench.architectures.objectives.causal import Causal
from archbench.architectures.objectives.objective import Objective


class DecoderOnly(Family):
    """Reads ``[source, BOS, target]`` causally.

    ``prefix``: the source is read in both directions (prefix language model, 1910.10683) and has no loss of its own.
    ``masked=False`` (an ablation): there is no causal mask and every token attends to all others, so that in one pass
    it sees the token that it should predict.
    """

    family = "decoder"

    def __init__(
        self,
        embedding: Embedding,
        stack: Stack,
        head: Head,
        positions: nn.Module,
        prefix: bool = False,
        masked: bool = True,
        objective: Objective | None = None,
    ) -> None:
        super().__init__()
        self.embedding, self.stack, self.head, self.positions = embedding, stack, head, positions
        self.mask: Mask = (PREFIX if prefix else CAUSAL) if masked else BIDIRECTIONAL
        self.objective: Objective = objective or Causal()
        self.source_predicts = not prefix

    def hidden(
        self,
        source: Tensor | None,
        target: Tensor,
        source_mask: Tensor | None = None,
        target_mask: Tensor | None = None,
        at: StateIndex | None = None,
    ) -> States:
        """States of the source (b, s, d) and of the target (b, t, d), whose first token is BOS."""
        joined = join(source, target, source_mask, target_mask)
        positions = position_ids(joined.tokens.shape[1], target.device)
        geometry = self.positions(positions, positions)
        context = AttentionContext(
            positions,
            positions,
            self.mask,
            source=None if source is None else mask_or_ones(source, as_bool(source_mask)).sum(1, keepdim=True),
            present=None if self.mask is CAUSAL else joined.present,  # padding comes after all tokens
            rotation=geometry.rotation,
            bias=geometry.bias,
        )
        x = self.embedding(joined.tokens, geometry.added)
        if at is None:
            return joined.apart(self.stack(x, context)[0])
        selected = at.joined(joined.source_width, target.shape[1], joined.positions)
        return at.apart(self.stack(x, context, selected=selected)[0])

    def prefill(self, source: Tensor | None, source_mask: Tensor | None = None) -> Cache:
        """Read the source (b, s)."""
        if source is None or source.shape[1] == 0:
            return Cache()
        present = as_bool(source_mask)
        positions = position_ids(source.shape[1], source.device) if present is None else count_positions(present)
        lengths = positions[:, -1] + 1 if present is None else present.sum(1)
        geometry = self.positions(positions, positions)
        context = AttentionContext(
            positions,
            positions,
            BIDIRECTIONAL if self.mask is PREFIX else self.mask,  # no target yet: the same, and faster
            source=lengths[:, None],
            present=present,
            rotation=geometry.rotation,
            bias=geometry.bias,
        )
        nothing = torch.empty(0, dtype=torch.long, device=source.device)
        _, layers = self.stack(self.embedding(source, geometry.added), context, selected=nothing)
        return Cache(layers, present, positions, lengths)

    def decode(self, tokens: Tensor, cache: Cache) -> tuple[Tensor, Cache]:
        """Append tokens (b, n), BOS first -> logits (b, n, v) of the next tokens, and the longer cache."""
        states, cache = extend(self.embedding, self.positions, self.stack, tokens, cache)
        return self.logits(states), cache

    def flops(self, source: Amount, target: Amount, outputs: Amount) -> Flops:
        """FLOPs of a forward pass over ``source`` and ``target`` positions with logits at ``outputs`` of them."""
        n = source + target
        visible = partial(self.mask.pairs, source, target)
        executed, seen = (self.stack.flops(n, pairs, selected=outputs) for pairs in (rectangle(n, n), visible))
        head = in_part("output", self.head.flops(outputs))
        return Flops(executed + head, seen + head)


def extend(
    embedding: Embedding, positions: nn.Module, stack: Stack, tokens: Tensor, cache: Cache
) -> tuple[Tensor, Cache]:
    """Run new tokens (b, n) through a causal stack after what the cache holds -> states (b, n, d), longer cache."""
    new, key_positions, present = cache.extend(tokens)
    geometry = positions(new, key_positions)
    context = AttentionContext(
        new,
        key_positions,
        CAUSAL,
        present=present,
        rotation=geometry.rotation,
        bias=geometry.bias,
    )
    x, layers = stack(embedding(tokens, geometry.added), context, cache.layers, cache.memory)
    return x, Cache(layers, present, key_positions, new[:, -1] + 1, cache.memory)
