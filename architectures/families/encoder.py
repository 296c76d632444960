"""Encoder-only: source and canvas are read together in both directions (BERT); cells of the canvas are filled in."""

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from archbench.architectures.components.attention import AttentionContext
from archbench.architectures.components.embedding import Embedding, Head
from archbench.architectures.components.mask import BIDIRECTIONAL, Mask
from archbench.architectures.components.numbers import Amount, Flops, in_part, rectangle
from archbench.architectures.components.stack import Stack
from archbench.architectures.components.states import StateIndex, States, as_bool, mask_or_ones, position_ids
from archbench.architectures.families.family import Family
from archbench.architectures.families.layout import concatenated, count_positions
from archbench.architectures.objectives.masked import Masked
from archbench.architectures.objectives.objective import Objective
from archbench.tasks.base.example import END, MASK


@dataclass(frozen=True)
class EncoderState:
    """State of decoding between tokens: the source (b, s), its mask, and the tokens written so far (b, n).

    ``written`` is None before BOS, which is no written token. ``lengths`` (b,): the cells of each row, where they are
    predicted.
    """

    source: Tensor | None
    source_mask: Tensor | None
    written: Tensor | None
    lengths: Tensor | None = None

    def rows(self, index: Tensor) -> "EncoderState":
        """The rows at ``index`` (m,), which may repeat or omit rows."""
        parts = self.source, self.source_mask, self.written, self.lengths
        return EncoderState(*(None if part is None else part[index] for part in parts))


class EncoderOnly(Family):
    """Reads ``[source, canvas]``; the canvas always has ``canvas`` cells, [MASK] where no token has been generated.

    The model adds no separator; its objective ends every source with BOS, so that the canvas is seen to begin.
    ``pooled``: a canvas of one cell has the mean state of all positions; a longer one is not changed.
    ``lengths``: the head that predicts how many cells a target has, END not among them, from the source alone
    (1904.09324); None: END says where a target ends. ``mask``: the cells and source tokens that each of them reads.
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
        mask: Mask = BIDIRECTIONAL,
    ) -> None:
        super().__init__()
        self.embedding, self.stack, self.head, self.positions = embedding, stack, head, positions
        self.mask = mask
        self.canvas, self.pooled = canvas, pooled and canvas == 1
        self.objective: Objective = objective or Masked()
        self.lengths: Head | None = None

    def predict_lengths(self) -> None:
        """Predict the length of each target; a label has none, since it is one cell."""
        if self.canvas > 1:
            self.lengths = Head(self.canvas + 1, self.embedding.weight.shape[1])

    def length_logits(self, source: Tensor, source_mask: Tensor | None = None) -> Tensor:
        """Logits (b, canvas + 1) of the length of the target, from the last state of the source (b, s)."""
        assert self.lengths is not None
        rows, width = source.shape
        last = torch.arange(1, rows + 1, device=source.device) * width - 1
        at = StateIndex(last, last[:0])
        states = self.hidden(source, source[:, :0], source_mask, None, at).source
        y: Tensor = self.lengths(states)
        return y

    def length_flops(self, source: Amount) -> Flops:
        """FLOPs of a forward pass that predicts the length of a target from ``source`` positions."""
        assert self.lengths is not None
        head = in_part("output", self.lengths.flops(0.0 * source + 1.0) - self.head.flops(0.0 * source + 1.0))
        return self.flops(source, 0.0 * source, 0.0 * source + 1.0) + Flops(head, head)

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
            positions,
            positions,
            self.mask,
            source=None if source is None else mask_or_ones(source, as_bool(source_mask)).sum(1, keepdim=True),
            present=present,
            rotation=geometry.rotation,
            bias=geometry.bias,
        )
        x = self.embedding(tokens, geometry.added)
        if at is not None and not self.pooled:
            return at.apart(self.stack(x, context, selected=at.joined(width, target.shape[1]))[0])
        x, _ = self.stack(x, context)
        target_states = _mean(x, present) if self.pooled else x[:, width:]
        return States(x[:, :width], target_states).at(at)

    def prefill(self, source: Tensor | None, source_mask: Tensor | None = None) -> EncoderState:
        """Keep the source (b, s), which an encoder reads again with every canvas, and the likeliest lengths."""
        mask = as_bool(source_mask)
        if self.lengths is None or source is None:
            return EncoderState(source, mask, None)
        return EncoderState(source, mask, None, self.length_logits(source, mask).argmax(-1))

    def decode(self, tokens: Tensor, cache: EncoderState) -> tuple[Tensor, EncoderState]:
        """Write tokens (b, n) -> logits (b, n, v) of the cell after each, given the cells before it.

        The first token ever is BOS, which fills no cell: its logits are those of cell 0. One forward pass per token.
        Where lengths are predicted, END alone follows the last cell, and stands nowhere else.
        """
        outputs, written, lengths = [], cache.written, cache.lengths
        for token in tokens.unbind(1):
            # the first token is BOS, which fills no cell
            written = token[:, None][:, :0] if written is None else torch.cat([written, token[:, None]], 1)
            cell = written.shape[1]
            width = self.canvas if lengths is None else int(lengths.max())
            rest = torch.full((len(token), max(width - cell, 1)), MASK, device=tokens.device)
            canvas = torch.cat([written, rest], 1)
            at = StateIndex(None, position_ids(len(canvas), canvas.device)[0] * canvas.shape[1] + cell)
            cells = None if lengths is None else position_ids(canvas.shape[1], canvas.device) < lengths[:, None]
            logits = self.logits(self.hidden(cache.source, canvas, cache.source_mask, cells, at).target)
            outputs.append(logits if lengths is None else _ending(logits, lengths == cell))
        return torch.stack(outputs, 1), EncoderState(cache.source, cache.source_mask, written, lengths)

    def flops(self, source: Amount, target: Amount, outputs: Amount) -> Flops:
        """FLOPs of a forward pass over ``source`` and ``target`` positions with logits at ``outputs`` of them."""
        n = source + target
        used = n if self.pooled else outputs
        visible = partial(self.mask.pairs, source, target)
        executed, seen = (self.stack.flops(n, pairs, selected=used) for pairs in (rectangle(n, n), visible))
        head = in_part("output", self.head.flops(outputs))
        return Flops(executed + head, seen + head)


def _ending(logits: Tensor, ends: Tensor) -> Tensor:
    """Logits (b, v) of END alone in the rows that end (b,), and of all other tokens elsewhere."""
    is_end = torch.arange(logits.shape[-1], device=logits.device) == END
    logits = logits.masked_fill(is_end & ends[:, None], 0.0)
    return logits.masked_fill(is_end != ends[:, None], float("-inf"))


def _mean(x: Tensor, present: Tensor | None) -> Tensor:
    """The mean (b, 1, d) of the states (b, n, d) at present positions."""
    if present is None:
        return x.mean(1, keepdim=True)
    shares = present / present.sum(1, keepdim=True)
    return (x * shares[..., None]).sum(1, keepdim=True)
