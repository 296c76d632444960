"""A linear head on the mean state of a source, in place of a model's own head: how encoders are used on labels.

All families can carry it: the states are those of the source, which an encoder-decoder reads with its encoder alone.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from archbench.architectures.components.embedding import Head
from archbench.architectures.components.numbers import Amount, Flops, in_part, rectangle
from archbench.architectures.components.states import as_bool, mask_or_ones
from archbench.architectures.families.encoder_decoder import EncoderDecoder
from archbench.architectures.families.one_label import OneLabel
from archbench.architectures.objectives.causal import Causal


@dataclass(frozen=True)
class HeadOnly(Causal):
    """Training of a head alone: the model below is read forward, and only the head backward."""

    def training_flops(self, model: Any, source: Amount, target: Amount, native: bool) -> Flops:
        """Forward FLOPs of one example, and the backward pass of its head."""
        forward, head = model.flops(source, target, target), in_part("output", 2.0 * model.head.flops(target))
        return Flops(forward.all_pairs + head, forward.visible_pairs + head)


class Classifier(OneLabel):
    """Logits (b, 1, v) of a label from the mean of a source's states (b, d); ``frozen``: the head alone is trained.

    What the label does not depend on (the model's own head, the decoder of an encoder-decoder) is not trained either.
    """

    def __init__(self, base: Any, vocabulary: int, frozen: bool) -> None:
        super().__init__()
        self.base, self.family = base, base.family
        self.head = Head(vocabulary, base.head.weight.shape[1])
        self.objective = HeadOnly() if frozen else Causal()
        trained = () if frozen else _read_parameters(base)
        for parameter in base.parameters():
            parameter.requires_grad_(any(parameter is other for other in trained))

    def flops(self, source: Amount, target: Amount, outputs: Amount) -> Flops:
        """FLOPs of a forward pass over ``source`` positions with logits at ``outputs``."""
        if isinstance(self.base, EncoderDecoder):
            visible = partial(self.base.mask.pairs, source, 0.0)
            executed, seen = (self.base.encoder.flops(source, n) for n in (rectangle(source, source), visible))
        else:
            whole = self.base.flops(source, 0.0 * source, source)
            own = in_part("output", -self.base.head.flops(source))
            executed, seen = whole.all_pairs + own, whole.visible_pairs + own
        head = in_part("output", self.head.flops(outputs))
        return Flops(executed + head, seen + head)

    def state(self, source: Tensor, source_mask: Tensor | None) -> Tensor:
        """The mean state (b, d) of each source."""
        if isinstance(self.base, EncoderDecoder):
            states, _ = self.base.encode(source, source_mask)
        else:
            states = self.base.hidden(source, source[:, :0], source_mask, None).source
        weights = mask_or_ones(source, as_bool(source_mask)).to(states.dtype)
        mean: Tensor = torch.einsum("bsd,bs->bd", states, weights / weights.sum(1, keepdim=True).clamp(min=1.0))
        return mean


def _read_parameters(base: Any) -> list[Tensor]:
    """The parameters that the states of a source depend on: not those that only the head or a decoder has."""
    unread = ("head.", "decoder.") if isinstance(base, EncoderDecoder) else ("head.",)
    return [value for name, value in base.named_parameters(remove_duplicate=False) if not name.startswith(unread)]
