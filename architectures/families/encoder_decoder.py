"""Encoder-decoder: an encoder reads the source in both directions, a causal decoder attends to it (T5)."""

from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn

from archbench.architectures.components.attention import AttentionContext
from archbench.architectures.components.cache import Cache
from archbench.architectures.components.embedding import Embedding, Head
from archbench.architectures.components.mask import BIDIRECTIONAL, CAUSAL, Mask
from archbench.architectures.components.numbers import Amount, Flops, in_part, rectangle
from archbench.architectures.components.stack import CrossAttentionCache, Stack
from archbench.architectures.components.states import StateIndex, States, as_bool, mask_or_ones, position_ids
from archbench.architectures.families.decoder import extend
from archbench.architectures.families.family import Family
from archbench.architectures.families.layout import count_positions, join
from archbench.architectures.objectives.causal import Causal
from archbench.architectures.objectives.objective import Objective
from archbench.tasks.base.example import BOS


class EncoderDecoder(Family):
    """The encoder reads the source (BOS if it is empty); the decoder reads ``[BOS, target]``.

    ``decoder_positions`` defaults to the encoder's scheme. Cross-attention has no positions of its own. ``mask``: the
    tokens of the source that each of them reads in the encoder.
    """

    family = "encoder-decoder"
    source_predicts = False

    def __init__(
        self,
        embedding: Embedding,
        encoder: Stack,
        decoder: Stack,
        head: Head,
        positions: nn.Module,
        decoder_positions: nn.Module | None = None,
        objective: Objective | None = None,
        mask: Mask = BIDIRECTIONAL,
    ) -> None:
        super().__init__()
        self.mask = mask
        self.embedding, self.encoder, self.decoder, self.head = embedding, encoder, decoder, head
        self.positions = positions
        self.decoder_positions = decoder_positions if decoder_positions is not None else positions
        self.objective: Objective = objective or Causal()

    def encode(self, source: Tensor, source_mask: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """States (b, s, d) of the source, and its mask with at least one cell True per row."""
        present = as_bool(source_mask)
        if present is None:
            positions = position_ids(source.shape[1], source.device)
        else:
            empty = ~present.any(1)
            source = torch.cat([torch.where(empty, BOS, source[:, 0])[:, None], source[:, 1:]], 1)
            present = torch.cat([(present[:, 0] | empty)[:, None], present[:, 1:]], 1)
            positions = count_positions(present)
        geometry = self.positions(positions, positions)
        lengths = mask_or_ones(source, present).sum(1, keepdim=True)
        context = AttentionContext(
            positions, positions, self.mask, lengths, present, rotation=geometry.rotation, bias=geometry.bias
        )
        x, _ = self.encoder(self.embedding(source, geometry.added), context)
        return x, present

    def hidden(
        self,
        source: Tensor | None,
        target: Tensor,
        source_mask: Tensor | None = None,
        target_mask: Tensor | None = None,
        at: StateIndex | None = None,
    ) -> States:
        """States of the target (b, t, d), whose first token is BOS."""
        joined = join(None, target, None, target_mask)
        states, everything = self._read(source, source_mask, target.shape[0], target.device)
        memory = CrossAttentionCache(states, everything)
        positions = position_ids(target.shape[1], target.device)
        geometry = self.decoder_positions(positions, positions)
        context = AttentionContext(positions, positions, CAUSAL, rotation=geometry.rotation, bias=geometry.bias)
        x, _ = self.decoder(self.embedding(joined.tokens, geometry.added), context, (), memory)
        return States(None, joined.apart(x).target).at(at)

    def prefill(self, source: Tensor | None, source_mask: Tensor | None = None) -> Cache:
        """Read the source (b, s); without a source, read BOS once for any number of rows."""
        rows = 1 if source is None else source.shape[0]
        states, everything = self._read(source, source_mask, rows, self.head.weight.device)
        return Cache(memory=CrossAttentionCache(self.decoder.project_keys_values(states), everything))

    def decode(self, tokens: Tensor, cache: Cache) -> tuple[Tensor, Cache]:
        """Append tokens (b, n), BOS first -> logits (b, n, v) of the next tokens, and the longer cache."""
        if cache.memory is not None and cache.memory.count != len(tokens):
            cache = replace(cache, memory=cache.memory.rows(torch.zeros_like(tokens[:, 0])))
        states, cache = extend(self.embedding, self.decoder_positions, self.decoder, tokens, cache)
        return self.logits(states), cache

    def flops(self, source: Amount, target: Amount, outputs: Amount) -> Flops:
        """FLOPs of a forward pass over ``source`` and ``target`` positions with logits at ``outputs`` of them."""
        source = source + (source == 0)  # an empty source is read as BOS
        head, across = in_part("output", self.head.flops(outputs)), target * source
        executed = self.encoder.flops(source, rectangle(source, source))
        executed = executed + self.decoder.flops(target, rectangle(target, target), source, across)
        visible = self.encoder.flops(source, partial(self.mask.pairs, source, 0.0))
        visible = visible + self.decoder.flops(target, partial(CAUSAL.pairs, 0.0, target), source, across)
        return Flops(executed + head, visible + head)

    def _read(
        self, source: Tensor | None, mask: Tensor | None, rows: int, device: torch.device
    ) -> tuple[Tensor, AttentionContext]:
        """States (b, s, d) of the source (of BOS if it is empty), and their attention context."""
        if source is None or source.shape[1] == 0:
            source, mask = torch.full((rows, 1), BOS, device=device), None
        states, present = self.encode(source, mask)
        keys = position_ids(states.shape[1], device)
        present = None if mask is None else mask_or_ones(source, present)
        # One query stands for all of the target's: without causality or a window each of them sees the same keys.
        return states, AttentionContext(keys[:, :1], keys, present=present)
