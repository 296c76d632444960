"""An encoder of ours is taken for a BERT or a ModernBERT of ``transformers`` only if it is one in every part."""

from typing import Any

import pytest
import torch
from torch.nn import functional as F
from transformers import BertForMaskedLM, ModernBertForMaskedLM

from archbench.architectures.catalogue import catalogue
from archbench.architectures.components.attention import Attention
from archbench.architectures.components.embedding import Embedding, Head, Transform
from archbench.architectures.components.feedforward import FeedForward, GatedFeedForward, gelu_tanh
from archbench.architectures.components.norm import LayerNorm, NoNorm, PostNorm, PreNorm
from archbench.architectures.components.positions import Learned, NoPositions, Rotary
from archbench.architectures.components.stack import Block, Stack
from archbench.architectures.conversion.convert import to_transformers
from archbench.architectures.families.encoder import EncoderOnly
from archbench.architectures.families.size import Limits, Size
from archbench.tasks.base.errors import InputError


def bert(**changes: Any) -> EncoderOnly:
    """BERT of ours, part by part, but for ``changes``."""

    def norm(dim: int) -> LayerNorm:
        return LayerNorm(dim, bias=True)

    def block() -> Block:
        attention = Attention(12, 3, bias=True, **changes.get("attention", {}))
        feedforward = FeedForward(12, 17, bias=True, **changes.get("feedforward", {}))
        return Block(attention, feedforward, norm, wiring=changes.get("wiring", PostNorm))

    embedding = Embedding(29, 12, **{"segments": 2, "norm": norm(12), **changes.get("embedding", {})})
    transform = Transform(12, changes.get("act", F.gelu), norm(12), bias=True)
    head = Head(29, 12, tied=embedding, **{"bias": True, "transform": transform, **changes.get("head", {})})
    return EncoderOnly(embedding, Stack(2, block, changes.get("final")), head, Learned(24, 12), canvas=5)


@pytest.mark.parametrize(
    "changes",
    [
        {"attention": {"kv_heads": 1}},
        {"attention": {"head_dim": 5}},
        {"attention": {"window": 3}},
        {"attention": {"scale": 0.3}},
        {"feedforward": {"dropout": 0.1}},
        {"feedforward": {"activation": torch.sigmoid}},
        {"wiring": PreNorm},
        {"final": LayerNorm(12, bias=True)},
        {"act": gelu_tanh},
        {"embedding": {"scale": 2.0}},
        {"embedding": {"segments": 0}},
        {"embedding": {"norm": None}},
        {"head": {"bias": False}},
        {"head": {"scale": 0.5}},
        {"head": {"transform": None}},
    ],
    ids=", ".join,
)
def test_a_model_that_is_no_bert_is_not_taken_for_one(changes: dict[str, Any]) -> None:
    assert type(to_transformers(bert())) is BertForMaskedLM
    with pytest.raises(InputError, match="to_transformers: this encoder"):
        to_transformers(bert(**changes))


def modernbert(**changes: Any) -> EncoderOnly:
    """ModernBERT of ours, part by part, but for ``changes``."""

    def block(layer: int) -> Block:
        settings = {"window": 4 if layer else None, "positions": Rotary(4, 10.0 if layer else 20.0)}
        attention = Attention(12, 3, **(settings | changes.get(f"attention {layer}", {})))
        feedforward = GatedFeedForward(12, 17, F.gelu, **changes.get("feedforward", {}))
        result = Block(attention, feedforward, LayerNorm, dropout=changes.get("dropout", 0.0))
        if layer == changes.get("bare", 0):
            result.around_attention = NoNorm(LayerNorm(12))
        return result

    embedding = Embedding(29, 12, **{"norm": LayerNorm(12), **changes.get("embedding", {})})
    transform = Transform(12, F.gelu, LayerNorm(12))
    head = Head(29, 12, tied=embedding, **{"transform": transform, **changes.get("head", {})})
    stack = Stack(3, block, changes.get("final", LayerNorm(12)))
    return EncoderOnly(embedding, stack, head, changes.get("positions", NoPositions()), canvas=5)


@pytest.mark.parametrize(
    "changes",
    [
        {"attention 1": {"kv_heads": 1}},
        {"attention 1": {"head_dim": 8, "positions": Rotary(8, 10.0)}},
        {"attention 1": {"window": 3}},
        {"attention 1": {"positions": Rotary(4, 11.0)}},
        {"attention 1": {"positions": None}},
        {"attention 1": {"bias": True}},
        {"attention 1": {"scale": 0.3}},
        {"attention 0": {"dropout": 0.1}},
        {"dropout": 0.1},
        {"feedforward": {"bias": True}, "attention 2": {"bias": True}},
        {"bare": 1},
        {"final": None},
        {"final": LayerNorm(12, bias=True)},
        {"embedding": {"segments": 2}},
        {"embedding": {"norm": None}},
        {"head": {"scale": 0.5}},
        {"head": {"transform": None}},
        {"positions": Rotary(4)},
    ],
    ids=", ".join,
)
def test_a_model_that_is_no_modernbert_is_not_taken_for_one(changes: dict[str, Any]) -> None:
    assert type(to_transformers(modernbert())) is ModernBertForMaskedLM
    with pytest.raises(InputError, match="to_transformers: this encoder"):
        to_transformers(modernbert(**changes))


@pytest.mark.parametrize("name", ["bert", "modernbert"])
def test_heads_that_do_not_divide_the_width_are_not_taken_for_theirs(name: str) -> None:
    ours = catalogue.find(name).build(Size(dim=13, heads=3, depth=1, hidden=8), Limits(29, 5, 5))
    with pytest.raises(InputError, match="to_transformers: this encoder"):
        to_transformers(ours)


def test_the_encoder_that_comes_with_archbench_is_neither() -> None:
    ours = catalogue.find("encoder").build(Size(dim=12, heads=3, depth=1, hidden=8), Limits(29, 5, 5))
    with pytest.raises(InputError, match="to_transformers: this encoder"):
        to_transformers(ours)
