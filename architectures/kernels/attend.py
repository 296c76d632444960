"""Attention in the way that is fastest for its queries, keys and device: in the place of ``Attention.attended``."""

import torch
from torch import Tensor

from archbench.architectures.components.attention import Attention, AttentionContext
from archbench.architectures.components.key_values import KeyValues
from archbench.architectures.components.mask import CAUSAL
from archbench.architectures.kernels import blockwise, fused, single


def attended(self: Attention, q: Tensor, seen: KeyValues, context: AttentionContext) -> Tensor:
    """Attention of queries (b, h, n, e) to keys and values -> (b, n, h * e)."""
    window, dropout, scale = self.window, self.active_dropout, self.scaling
    if blockwise.applies(q, seen.keys, dropout):
        mask, causal = additive(context, window, q.shape[2]), is_causal_square(context)
        return blockwise.attention(q, seen.keys, seen.values, mask, causal, scale)
    if seen.buffer is not None and not dropout and single.applies(q, seen.keys):
        count, buffer = seen.keys.shape[2], seen.buffer
        y = single.attention(q, buffer.keys, buffer.values, count, context.mask(window), scale)
    else:
        causal = plainly_causal(context, window)
        mask = None if causal else context.mask(window)
        y = fused.attention(q, seen.keys, seen.values, mask, causal, dropout, scale)
    return y.transpose(1, 2).flatten(2)


def is_causal_square(context: AttentionContext) -> bool:
    """True if queries and keys are the same positions and query i reads no key after i; masks may hide more."""
    return context.rule is CAUSAL and context.queries is context.keys


def plainly_causal(context: AttentionContext, window: int | None) -> bool:
    """True if query i reads all keys up to i, without a bias, so that no mask is needed."""
    square = context.queries.shape[-1] == context.keys.shape[-1]
    return context.rule is CAUSAL and square and _is_rule_alone(context, window)


def additive(context: AttentionContext, window: int | None, queries: int) -> Tensor | None:
    """The mask as a summand of scores, with ``queries`` rows; None also where ``is_causal_square`` says all."""
    if is_causal_square(context) and _is_rule_alone(context, window):
        return None
    key = "additive", window
    if key not in context.kept:
        mask = context.mask(window)
        if mask is not None and mask.dtype == torch.bool:
            mask = torch.zeros(mask.shape, device=mask.device).masked_fill_(~mask, float("-inf"))
        context.kept[key] = mask
    mask = context.kept[key]
    return mask if mask is None else mask.expand(-1, -1, queries, -1)


def _is_rule_alone(context: AttentionContext, window: int | None) -> bool:
    return context.present is None and context.bias is None and window is None
