"""Stock models of ``transformers`` as architectures: fitted, trained and scored as ours are.

Each is one of our families around the stack of ``transformers``. Forward pass, attention, dropout and initial weights
are theirs; budgets, objectives, optimizer and training loop are everyone's. FLOPs are those of our model of the same
configuration, which multiplies the same matrices.
"""

import importlib.metadata
import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from archbench.architectures.components.embedding import Head
from archbench.architectures.components.positions import NoPositions
from archbench.architectures.families.decoder import DecoderOnly
from archbench.architectures.families.encoder import EncoderOnly
from archbench.architectures.families.encoder_decoder import EncoderDecoder
from archbench.architectures.families.size import Limits, Size
from archbench.architectures.families.variant import STOCK, Variant
from archbench.architectures.formats import bert, gpt2, stock_stack, t5
from archbench.architectures.formats.shape import SPECIAL_TOKENS, Config, Shape
from archbench.architectures.formats.stock_stack import StockStack, StockTable
from archbench.tasks.base.example import BOS

StockModel = DecoderOnly | EncoderOnly | EncoderDecoder


@dataclass(frozen=True)
class Stock:
    """``configured`` gives the configuration, ``wrapped(theirs, twin, canvas)`` the family around a model of it."""

    shape: Shape
    family: str
    configured: Callable[[Size, Limits], Config]
    wrapped: Callable[[Any, Any, int], StockModel]


def variant(name: str) -> Variant:
    """The stock model called ``name``, one of ``STOCK``; its text is what decides how it comes out."""

    def build(size: Size, limits: Limits) -> StockModel:
        return wrap(created(name, size, limits), canvas=limits.target_length)

    version = importlib.metadata.version("transformers")
    sources = [inspect.getsource(module) for module in (sys.modules[__name__], stock_stack)]
    text = "\n".join([f"MODEL, TRANSFORMERS = {name!r}, {version!r}", *sources])
    return Variant(name, __file__, True, MODELS[name].family, STOCK[name], text, build)


def created(name: str, size: Size, limits: Limits) -> Any:
    """A new model of ``transformers`` of this size, with the weights that its own initialisation draws."""
    import transformers

    stock = MODELS[name]
    return getattr(transformers, stock.shape.model)(stock.configured(size, limits))


def wrap(theirs: Any, canvas: int = 1) -> StockModel:
    """Our family around a ``GPT2LMHeadModel``, ``BertForMaskedLM`` or ``T5ForConditionalGeneration``: its tensors.

    The output matrix has to be the token table. ``canvas``: cells that an encoder writes to.
    """
    (stock,) = (stock for stock in MODELS.values() if stock.shape.model == type(theirs).__name__)
    with torch.device("meta"):
        twin = stock.shape.build(theirs.config, True)
    return stock.wrapped(theirs, twin, canvas)


def _gpt2_config(size: Size, limits: Limits) -> Config:
    from transformers import GPT2Config

    return GPT2Config(
        vocab_size=limits.vocabulary,
        n_positions=limits.length,
        n_embd=size.dim,
        n_layer=size.depth,
        n_head=size.heads,
        n_inner=size.hidden,
        resid_pdrop=size.dropout,
        embd_pdrop=size.dropout,
        attn_pdrop=size.dropout,
        **SPECIAL_TOKENS,
    )


def _gpt2(theirs: Any, twin: Any, canvas: int) -> DecoderOnly:
    stack = theirs.transformer
    for block in stack.h:
        for matrix in (block.attn.c_attn, block.attn.c_proj, block.mlp.c_fc, block.mlp.c_proj):
            inputs, outputs = matrix.weight.shape
            fused = matrix is block.attn.c_attn  # queries, keys and values
            matrix.weight.column_splits = (inputs,) * 3 if fused else (outputs,)
    table: Any = StockTable(stack.wte, [stack.wpe])
    wrapped: Any = StockStack(stack, [block.mlp for block in stack.h], twin.stack.flops)
    return DecoderOnly(table, wrapped, _head(table), NoPositions())


def _bert_config(size: Size, limits: Limits) -> Config:
    from transformers import BertConfig

    return BertConfig(
        vocab_size=limits.vocabulary,
        hidden_size=size.dim,
        num_hidden_layers=size.depth,
        num_attention_heads=size.heads,
        intermediate_size=size.hidden,
        hidden_dropout_prob=size.dropout,
        attention_probs_dropout_prob=size.dropout,
        max_position_embeddings=limits.length,
        **SPECIAL_TOKENS,
    )


def _bert(theirs: Any, twin: Any, canvas: int) -> EncoderOnly:
    stack, embeddings = theirs.bert, theirs.bert.embeddings
    others = [embeddings.position_embeddings, embeddings.token_type_embeddings]
    table: Any = StockTable(embeddings.word_embeddings, others)
    wrapped: Any = StockStack(stack, [layer.intermediate for layer in stack.encoder.layer], twin.stack.flops)
    predictions = theirs.cls.predictions
    head = _head(table, bias=True, transform=predictions.transform)
    head.bias = predictions.decoder.bias
    return EncoderOnly(table, wrapped, head, NoPositions(), canvas)


def _t5_config(size: Size, limits: Limits) -> Config:
    from transformers import T5Config

    return T5Config(
        vocab_size=limits.vocabulary,
        d_model=size.dim,
        d_kv=size.head_dim,
        d_ff=size.hidden,
        num_layers=size.depth,
        num_heads=size.heads,
        dropout_rate=size.dropout,
        decoder_start_token_id=BOS,
        **SPECIAL_TOKENS,
    )


def _t5(theirs: Any, twin: Any, canvas: int) -> EncoderDecoder:
    table: Any = StockTable(theirs.shared)
    reader: Any = _t5_stack(theirs.encoder, twin.encoder.flops)
    writer: Any = _t5_stack(theirs.decoder, twin.decoder.flops)
    return EncoderDecoder(table, reader, writer, _head(table, scale=twin.head.scale), NoPositions())


def _t5_stack(stack: Any, count: Callable[..., Any]) -> StockStack:
    crossing = [block.layer[1].EncDecAttention for block in stack.block] if stack.is_decoder else []
    return StockStack(stack, [block.layer[-1] for block in stack.block], count, crossing)


def _head(table: Any, bias: bool = False, transform: nn.Module | None = None, scale: float = 1.0) -> Head:
    vocabulary, dim = table.weight.shape
    return Head(vocabulary, dim, tied=table, bias=bias, transform=transform, scale=scale)


MODELS = {
    "transformers:bert": Stock(bert.SHAPE, "encoder", _bert_config, _bert),
    "transformers:gpt2": Stock(gpt2.SHAPE, "decoder", _gpt2_config, _gpt2),
    "transformers:t5": Stock(t5.SHAPE, "encoder-decoder", _t5_config, _t5),
}
