"""A stack of ``transformers`` in the place of ours, and the table that its tokens are looked up in."""

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from archbench.architectures.components.attention import AttentionContext
from archbench.architectures.components.key_values import KeyValues
from archbench.architectures.components.mask import CAUSAL
from archbench.architectures.components.numbers import Amount, FlopCount
from archbench.architectures.components.stack import CrossAttentionCache, select
from archbench.architectures.kernels.attend import plainly_causal


class StockTable(nn.Module):
    """Looks tokens (b, t) up in a table of ``transformers`` -> (b, t, d), and does no more.

    The stack adds positions and segments, from the tables ``others``, which no budget counts either.
    """

    def __init__(self, table: nn.Embedding, others: Sequence[nn.Embedding] = ()) -> None:
        super().__init__()
        self.table, self.others = table, nn.ModuleList(others)

    @property
    def weight(self) -> nn.Parameter:
        weight = self.table.weight
        assert isinstance(weight, nn.Parameter)
        return weight

    def tables(self) -> list[nn.Parameter]:
        return [self.weight, *self.others.parameters()]

    def forward(self, tokens: Tensor, added: Tensor | None = None) -> Tensor:
        assert added is None, "positions are added by the stack"
        x: Tensor = self.table(tokens)
        return x


class StockStack(nn.Module):
    """``GPT2Model``, ``BertModel`` or a ``T5Stack`` as it is, behind the interface of ``components.stack.Stack``.

    ``networks`` are its feed-forward networks, a layer each, ``crossing`` its cross-attentions. ``count`` counts FLOPs
    as ``Stack.flops`` does: it is that of our stack of the same configuration. T5 measures distances in columns, not
    positions: tokens have to be neighbours, whatever the padding on either side.
    """

    def __init__(
        self,
        model: Any,
        networks: Sequence[nn.Module],
        count: Callable[..., FlopCount],
        crossing: Sequence[Any] = (),
    ) -> None:
        super().__init__()
        self.model, self.count = model, count
        self.networks, self.crossing = tuple(networks), tuple(crossing)  # parts of the model, not registered again
        known = inspect.signature(model.forward).parameters
        self.positioned = "position_ids" in known
        self.cache_name = "cache" if "cache" in known else "past_key_values"  # its name in older releases

    def feedforwards(self) -> list[nn.Module]:
        return list(self.networks)

    def forward(
        self,
        x: Tensor,
        context: AttentionContext,
        past: Sequence[KeyValues] = (),
        memory: CrossAttentionCache | None = None,
        selected: Tensor | None = None,
    ) -> tuple[Tensor, tuple[KeyValues, ...]]:
        """(b, t, d) -> normed (b, t, d), at ``selected`` (m, d), and all keys and values, those of ``past`` too.

        An encoder keeps none. Where there is no mask, a causal model of ``transformers`` is causal, and an encoder sees
        everything.
        """
        plain = plainly_causal(context, None)
        arguments: dict[str, Any] = {"inputs_embeds": x, "attention_mask": None if plain else _added(context, x)}
        if self.positioned:
            arguments["position_ids"] = context.queries
        layers = None if memory is None else self._layers(memory)
        cache = _cache(past, layers) if memory is not None or context.rule is CAUSAL else None
        if cache is not None:
            arguments[self.cache_name] = cache
        if (
            memory is not None and layers
        ):  # of these states only the shape is looked at: their keys and values are in the cache
            arguments["encoder_hidden_states"] = layers[0].keys[:, 0]
            arguments["encoder_attention_mask"] = _added(memory.context, x)
        states: Tensor = self.model(**arguments, use_cache=cache is not None).last_hidden_state
        return states if selected is None else select(states, selected), () if cache is None else _from_cache(cache)

    def project_keys_values(self, memory: Tensor) -> list[KeyValues]:
        """Every layer's keys and values of a memory (b, s, d)."""
        return [_key_values(attention, memory) for attention in self.crossing]

    def _layers(self, memory: CrossAttentionCache) -> Sequence[KeyValues]:
        return self.project_keys_values(memory.memory) if isinstance(memory.memory, Tensor) else memory.memory

    def flops(self, *amounts: Any, selected: Amount | None = None) -> FlopCount:
        """Of all positions, whichever are selected: ``transformers`` leaves nothing out."""
        return self.count(*amounts)


def _added(context: AttentionContext, x: Tensor) -> Tensor | None:
    """The mask of a context as a summand of scores (b, 1, q, k), which every attention of ``transformers`` takes."""
    mask = context.mask()
    if mask is None and context.rule is not CAUSAL:
        return None
    added = torch.zeros(len(x), 1, context.queries.shape[-1], context.keys.shape[-1], dtype=x.dtype, device=x.device)
    return added if mask is None else added.masked_fill_(~mask, float("-inf"))


def _cache(past: Sequence[KeyValues], memory: Sequence[KeyValues] | None) -> Any:
    """A cache of ``transformers`` that begins with what was seen; it never writes into those tensors."""
    from transformers import DynamicCache, EncoderDecoderCache

    before = DynamicCache([(layer.keys, layer.values) for layer in past])
    if memory is None:
        return before
    return EncoderDecoderCache(before, DynamicCache([(layer.keys, layer.values) for layer in memory]))


def _from_cache(cache: Any) -> tuple[KeyValues, ...]:
    layers = getattr(cache, "self_attention_cache", cache).layers
    return tuple(KeyValues(layer.keys, layer.values) for layer in layers)


def _key_values(attention: Any, memory: Tensor) -> KeyValues:
    def heads(y: Tensor) -> Tensor:
        return y.view(*y.shape[:2], attention.n_heads, -1).transpose(1, 2)  # (b, s, h * e) -> (b, h, s, e)

    return KeyValues(heads(attention.k(memory)), heads(attention.v(memory)))
