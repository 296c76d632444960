"""Encoder-only: source and canvas are read together in both directions (BERT); cells of the canvas are filled in."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from archbench.architectures.components.attention import AttentionContext
from archbench.architectures.components.embedding import Embedding, Head
from archbench.architectures.components.numbers import Amount, Flops, in_part, mutual, rectangle
from archbench.architectures.components.stack import Stack
from archbench.architectures.components.states import StateIndex, States, as_bool, position_ids
from archbench.architectures.families.family import Family
from archbench.architectures.families.layout import concatenated, count_positions
from archbench.architectures.objectives.masked import Masked
from archbench.architectures.objectives.objective import Objective
from archbench.tasks.base.example import MASK


@dataclass(frozen=True)
class EncoderState:
    """What decoding keeps between tokens: the source (b, s), its mask, and the tokens written so far (b, n).

    ``written`` is None before BOS, which is no written token.
    """

    source: Tensor | None
    source_mask: Tensor | None
    written: Tensor | None

    def rows(self, index: Tensor) -> "EncoderState":
        """The rows at ``index`` (m,), which may repeat or omit rows."""
        selected = (None if x is None else x[index] for x in (self.source, self.source_mask, self.written))
        return EncoderState(*selected)


class EncoderOnly(Family):
    """Reads ``[source, canvas]``; the canvas always has ``canvas`` cells, [MASK] where no token has been generated.

    The model adds no separator; its objective ends every source with BOS, so that the canvas is seen to begin.
    ``pooled``: a canvas of one cell has the mean state of all positions; a longer one is not changed.
    """

    family = "encoder"
    causal = False
    source_predicts = True

    def __init__(
        self,
        embedding: Embedding,
        stack: Stack,
        head: Head,
        positions: nn.Module,
        canvas: int,
        objective: Objective | None = None,
        pooled: bool = False,
    ) -> None:
        super().__init__()
        self.embedding, self.stack, self.head, self.positions = embedding, stack, head, positions
        self.canvas, self.pooled = canvas, pooled and canvas == 1
        self.objective: Objective = objective or Masked()

    def hidden(
        self,
        source: Tensor | None,
        target: Tensor,
        source_mask: Tensor | None = None,
        target_mask: Tensor | None = None,
        at: StateIndex | None = None,
    ) -> States:
        """States of the source (b, s, d) and of the canvas (b, t, d)."""
        width = 0 if source is None else source.shape[1]
        tokens, present = concatenated(source, target, source_mask, target_mask)
        positions = position_ids(tokens.shape[1], tokens.device) if present is None else count_positions(present)
        geometry = self.positions(positions, positions)
        context = AttentionContext(
            positions, positions, present=present, rotation=geometry.rotation, bias=geometry.bias
        )
        x = self.embedding(tokens, geometry.added)
        if at is not None and not self.pooled:
            return at.apart(self.stack(x, context, selected=at.joined(width, target.shape[1]))[0])
        x, _ = self.stack(x, context)
        target_states = _mean(x, present) if self.pooled else x[:, width:]
        return States(x[:, :width], target_states).at(at)

    def prefill(self, source: Tensor | None, source_mask: Tensor | None = None) -> EncoderState:
        """Keep the source (b, s), which an encoder reads again with every canvas."""
        return EncoderState(source, as_bool(source_mask), None)

    def decode(self, tokens: Tensor, cache: EncoderState) -> tuple[Tensor, EncoderState]:
        """Write tokens (b, n) -> logits (b, n, v) of the cell after each, given the cells before it.

        The first token ever is BOS, which fills no cell: its logits are those of cell 0. One forward pass per token.
        """
        outputs, written = [], cache.written
        for token in tokens.unbind(1):
            # the first token is BOS, which fills no cell
            written = token[:, None][:, :0] if written is None else torch.cat([written, token[:, None]], 1)
            cell = written.shape[1]
            rest = torch.full((len(token), max(self.canvas - cell, 1)), MASK, device=tokens.device)
            canvas = torch.cat([written, rest], 1)
            at = StateIndex(None, position_ids(len(canvas), canvas.device)[0] * canvas.shape[1] + cell)
            outputs.append(self.logits(self.hidden(cache.source, canvas, cache.source_mask, None, at).target))
        return torch.stack(outputs, 1), EncoderState(cache.source, cache.source_mask, written)

    def flops(self, source: Amount, target: Amount, outputs: Amount) -> Flops:
        """FLOPs of a forward pass over ``source`` and ``target`` positions with logits at ``outputs`` of them."""
        n = source + target
        used = n if self.pooled else outputs
        executed, seen = (self.stack.flops(n, pairs, selected=used) for pairs in (rectangle(n, n), mutual(n)))
        head = in_part("output", self.head.flops(outputs))
        return Flops(executed + head, seen + head)


def _mean(x: Tensor, present: Tensor | None) -> Tensor:
    """The mean (b, 1, d) of the states (b, n, d) at present positions."""
    if present is None:
        return x.mean(1, keepdim=True)
    shares = present / present.sum(1, keepdim=True)
    return (x * shares[..., None]).sum(1, keepdim=True)
