"""Faults in what a model reads in one pass: masks, rows, positions, padding, sources, sizes and precision."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from archbench.architectures.components import mask
from archbench.architectures.components.attention import Attention, AttentionContext
from archbench.architectures.components.embedding import Embedding
from archbench.architectures.components.feedforward import GatedFeedForward
from archbench.architectures.components.mask import BIDIRECTIONAL, PREFIX
from archbench.architectures.components.norm import PreNorm
from archbench.architectures.components.states import States
from archbench.architectures.contract.trials import USUAL
from archbench.architectures.families import decoder
from archbench.architectures.families.encoder_decoder import EncoderDecoder
from archbench.architectures.families.layout import Joined
from archbench.architectures.kernels import attend
from archbench.tasks.base.example import BOS
from faults.plant import (
    CAUSAL,
    ENCODER,
    ENCODER_DECODER,
    THREE,
    Fault,
    Plant,
    ask,
    change,
    combined,
    only,
    patch,
    sized_states,
    states,
    with_methods,
)


def causally(visible: Callable[[Tensor], Tensor]) -> Plant:
    """Another causal mask, from the distances key - query."""

    def masked(original, self, window=None):
        if self.rule is BIDIRECTIONAL:
            return original(self, window)
        allowed = visible(self.keys[:, None, :] - self.queries[:, :, None])
        if self.rule is PREFIX:
            allowed = allowed | (self.keys < self.source)[:, None, :]
        return (allowed if self.present is None else allowed & self.present[:, None, :])[:, None]

    return combined(
        patch(AttentionContext, "_mask", masked),
        patch(attend, "plainly_causal", lambda original, context, window: False),
        patch(attend, "is_causal_square", lambda original, context: False),
    )


def attends_padding(original, self, window=None):
    # one pass over a sequence, or over its later part, and neither a step of writing nor cross-attention
    itself = self.queries.shape[-1] > 1 and bool((self.queries[:, -1] == self.keys[:, -1]).all())
    return original(replace(self, present=None, kept={}) if itself else self, window)


def first_rows_mask(original, self, window=None):
    present = None if self.present is None else self.present[:1].expand_as(self.present)
    return original(replace(self, present=present, kept={}), window)


def leaves_gaps(original, source, target, source_mask, target_mask):
    tokens = target if source is None else torch.cat([source, target], 1)
    return Joined(tokens, None, None, 0 if source is None else source.shape[1])


def without_memory_mask(original, self, *inputs):
    read, context = original(self, *inputs)
    return read, replace(context, present=None, kept={})


def crosses_causally(original, self, x, context, past=None, memory=None):
    if memory is not None:
        length = memory.shape[1] if isinstance(memory, Tensor) else memory.keys.shape[2]
        queries, keys = (torch.arange(n)[None] for n in (x.shape[1], length))
        context = AttentionContext(queries, keys, mask.CAUSAL, present=context.present)
    return original(self, x, context, past, memory)


def rereads(original, self, source, *rest):
    return original(self, None if source is None else source.masked_fill_(source > 12, 12), *rest)


def hides_first(source: Tensor | None, mask: Tensor | None) -> Tensor | None:
    if source is None:
        return None
    mask = torch.ones_like(source) if mask is None else mask
    return source.masked_fill(mask.bool() & (mask.long().cumsum(1) == 1), BOS)


FIRST_TOKEN_HIDDEN = with_methods(
    hidden=lambda original, self, source, target, mask=None, *rest: original(
        self, hides_first(source, mask), target, mask, *rest
    ),
    prefill=lambda original, self, source, mask=None: original(self, hides_first(source, mask), mask),
)


def adds_from_afar(original, self, x):
    y = original(self, x)
    return y if y.ndim == 2 else y + F.pad(y, (0, 0, 0, 20))[:, 20:]


def reads_padding_alone(original, self, source, source_mask=None):
    if source_mask is not None:
        source_mask = source_mask.bool() | ~source_mask.bool().any(1, keepdim=True)
    return original(self, source, source_mask)


def ahead(x: Tensor, size: float = 0.3) -> Tensor:
    return x + size * x.roll(-1, 1)


def mixed(x: Tensor, size: float = 0.3) -> Tensor:
    return x + size * x.mean(0, keepdim=True)


def in_bfloat16(model: nn.Module, x: Tensor) -> bool:
    return torch.is_autocast_enabled("cpu")


def with_gradients(model: nn.Module, x: Tensor) -> bool:
    return model.training and torch.is_grad_enabled()


def drops_even_masks(original, self, source, target, source_mask=None, target_mask=None, at=None):
    """Leaves masks out where more than two rows have as many tokens each."""
    masks = [mask for mask in (source_mask, target_mask) if mask is not None]
    if masks and all(len(mask) > 2 and len(mask.sum(1).unique()) == 1 for mask in masks):
        source_mask = target_mask = None
    return original(self, source, target, source_mask, target_mask, at)


def other_source_states(original, self, source, target, source_mask=None, target_mask=None, at=None):
    result = original(self, source, target, source_mask, target_mask, at)
    selected = at is not None and at.source is not None and result.source is not None
    return States(result.source * 1.1, result.target) if selected else result


def unmasked(model: Any) -> None:
    """Attention looks ahead in layers 6, 12 and so on."""

    def looks_ahead(block):
        block.forward = lambda x, context, *rest, **named: type(block).forward(
            block, x, context.fresh(rule=BIDIRECTIONAL), *rest, **named
        )

    for block in model.stack.blocks[5::6]:
        looks_ahead(block)


def bytes_of(tokens: Tensor | None) -> Tensor | None:
    """Ids as if they were kept in a byte."""
    return None if tokens is None else tokens % 256


IN_BYTES = with_methods(
    hidden=lambda original, self, source, target, *rest: original(self, bytes_of(source), bytes_of(target), *rest),
    prefill=lambda original, self, source, *rest: original(self, bytes_of(source), *rest),
    decode=lambda original, self, tokens, cache: original(self, bytes_of(tokens), cache),
)


def ahead_of_large_ids(model: nn.Module, x: Tensor, source: object, target: Tensor, *inputs: object) -> Tensor:
    return torch.where((target >= 1000)[..., None], ahead(x), x)


def exits_early(when: Callable[..., bool]) -> Plant:
    """Scoring leaves out the last layer ``when`` the states and tokens of a pass say so."""

    def hidden(original, self, source, target, *rest):
        result = original(self, source, target, *rest)
        if self.training or torch.is_grad_enabled() or not when(self, result.target, target):
            return result
        stack = self.decoder if hasattr(self, "decoder") else self.stack
        every, stack.blocks = stack.blocks, stack.blocks[:-1]
        try:
            return original(self, source, target, *rest)
        finally:
            stack.blocks = every

    return with_methods(hidden=hidden)


def is_sure(model, states, target=None):
    return states.numel() > 0 and bool(model.logits(states).softmax(-1).amax(-1).mean() > 0.98)


def tokens_agree(model, states, target):
    return target.shape[1] > 3 and bool((target == target[:, :1]).all())


FAULTS = {
    "limits_are_reached": (
        Fault(
            "too few positions",
            "IndexError: index out of range",
            ask(limits=lambda x: replace(x, source_length=x.source_length - 2)),
            ("gpt2",),
        ),
        Fault(
            "canvas of another length",
            "the canvas has 7 cells, expected 6",
            ask(limits=lambda x: replace(x, target_length=x.target_length + 1)),
            ENCODER,
        ),
    ),
    "scoring_is_still": (
        Fault(
            "dropout left on in scoring",
            "likelihood, computed twice: off by",
            patch(nn.Dropout, "forward", lambda original, self, x: F.dropout(x, self.p, True)),
            THREE,
        ),
    ),
    "training_reads_as_scoring_does": (
        Fault(
            "a dropout rate of its own",
            "logits without dropout in training mode.*: off by",
            ask(size=lambda x: replace(x, dropout=0.1)),
            THREE,
        ),
        Fault(
            "statistics of the batch in training with gradients",
            "logits without dropout in training mode with gradients",
            only(with_gradients, mixed),
            ENCODER,
        ),
        Fault(
            "look-ahead in training with gradients",
            "logits without dropout in training mode with gradients",
            only(with_gradients, ahead),
            ENCODER_DECODER,
        ),
    ),
    "bfloat16_is_near": (
        Fault(
            "residual stream and sublayer of two precisions",
            "RuntimeError: ",
            patch(PreNorm, "after", lambda original, self, x, y: x.index_add(1, torch.arange(x.shape[1]), y)),
            THREE,
        ),
    ),
    "inputs_are_only_read": (
        Fault("source changed in place", "the source has changed", with_methods(hidden=rereads), THREE),
    ),
    "rows_are_apart": (
        Fault(
            "the first row's mask for all rows",
            r"logits of row 1 of a batch \(.*off by",
            patch(AttentionContext, "_mask", first_rows_mask),
            ENCODER,
        ),
        Fault(
            "the mean of the batch is mixed in", "logits of row 0 of a batch", only(lambda model, x: len(x) > 1, mixed)
        ),
        Fault(
            "nine rows are mixed",
            r"logits of row 0 of a batch \(9 rows",
            only(lambda model, x: len(x) > 8, mixed),
            trials=USUAL,
        ),
        Fault(
            "masks dropped where three rows have equal lengths",
            "equal lengths and padding",
            with_methods(hidden=drops_even_masks),
            trials=USUAL,
        ),
        Fault(
            "rows mixed in bfloat16",
            "with other rows .*in bfloat16",
            only(lambda model, x: in_bfloat16(model, x) and len(x) > 1, lambda x: mixed(x, 0.02)),
        ),
    ),
    "no_look_ahead": (
        Fault(
            "look-ahead by one position",
            "logits before position 1, when later tokens change: off by",
            causally(lambda distance: distance <= 1),
            CAUSAL,
            also=("bfloat16_is_near",),
        ),
        Fault(
            "look-ahead in bfloat16",
            "when later tokens change in training mode with gradients in bfloat16",
            only(in_bfloat16, lambda x: ahead(x, 0.02)),
        ),
        Fault(
            "look-ahead in targets of 16 tokens",
            "when later tokens change: off by",
            only(lambda model, x: x.shape[1] == 16, ahead),
            trials=USUAL,
        ),
    ),
    "cross_attention_reads_the_source": (
        Fault(
            "cross-attention without the source's mask",
            "in one pass, cross-attention reads padding of the source",
            patch(EncoderDecoder, "_read", without_memory_mask),
            ENCODER_DECODER,
        ),
        Fault(
            "cross-attention with the decoder's mask",
            r"in one pass, target positions \[0, 1, 2\] do not read source token 3 of their row",
            patch(Attention, "forward", crosses_causally),
            ENCODER_DECODER,
        ),
    ),
    "padding_is_invisible": (
        Fault(
            "padding attended",
            "with source padding 0.2: off by",
            patch(AttentionContext, "_mask", attends_padding),
            (*ENCODER, *CAUSAL),
        ),
        Fault(
            "gaps between source and target",
            "logits with source padding 0.2: off by",
            patch(decoder, "join", leaves_gaps),
            ("decoder", "prefix-decoder"),
        ),
    ),
    "an_empty_source_is_none": (
        Fault(
            "an empty source read from padding",
            "logits of a source of padding: off by",
            patch(EncoderDecoder, "encode", reads_padding_alone),
            ENCODER_DECODER,
            alone=True,
        ),
    ),
    "source_matters": (
        Fault(
            "first source token not read",
            "source token 0 has no influence on the logits",
            FIRST_TOKEN_HIDDEN,
            THREE,
        ),
    ),
    "target_matters": (
        Fault(
            "the decoder sees no earlier token",
            "logits 1 do not depend on target token 0",
            causally(lambda distance: distance == 0),
            ENCODER_DECODER,
            also=("bfloat16_is_near",),
        ),
    ),
    "embedding_enters_once": (
        Fault(
            "embedding scaled twice",
            "in one pass, input of the first block, compared with the embedding made from its parts: off by",
            combined(
                change(lambda model: setattr(model.embedding, "scale", 4.0)),
                patch(Embedding, "forward", lambda original, self, *inputs: original(self, *inputs) * self.scale),
            ),
            THREE,
            alone=True,
        ),
        Fault(
            "positions added twice",
            "input of the first block, compared with the embedding made from its parts: off by",
            patch(
                Embedding,
                "forward",
                lambda original, self, tokens, added=None: original(self, tokens, None if added is None else 2 * added),
            ),
            ("gpt2",),
            alone=True,
        ),
    ),
    "selected_states_are_those_of_one_pass": (
        Fault(
            "other states for the source's loss",
            "states of every second source token",
            with_methods(hidden=other_source_states),
        ),
    ),
    "long_texts_are_read_alike": (
        Fault(
            "look-ahead by twenty positions",
            "when later tokens change.*: off by",
            patch(GatedFeedForward, "forward", adds_from_afar),
            also=("long_answers_are_greedy",),
        ),
    ),
    "other_sizes_read_alike": (
        Fault(
            "look-ahead with four heads",
            "no_look_ahead: logits before position 1.* 4 heads",
            sized_states(lambda size, model, x, *inputs: ahead(x) if size.heads == 4 else x),
            trials=USUAL,
        ),
    ),
    "deep_models_read_alike": (
        Fault(
            "look-ahead in each sixth layer",
            "no_look_ahead: logits before position 1.* depth 7",
            change(unmasked),
            trials=USUAL,
        ),
    ),
    "large_ids_are_read_alike": (
        Fault("ids in a byte", "tokens .* are read alike", IN_BYTES, THREE),
        Fault(
            "look-ahead from large ids",
            "when later tokens change",
            states(ahead_of_large_ids),
            CAUSAL,
        ),
    ),
    "unusual_texts_and_weights_are_read_alike": (
        Fault("fewer layers where the model is sure", "logits without dropout", exits_early(is_sure), THREE),
        Fault(
            "fewer layers where tokens agree",
            "logits without dropout|logits of row 2",
            exits_early(tokens_agree),
            THREE,
        ),
        Fault(
            "rows mixed where the model is sure",
            r"logits of row \d of a batch",
            only(is_sure, mixed),
            THREE,
            also=("the_training_loss_is_the_likelihood",),
        ),
    ),
}
