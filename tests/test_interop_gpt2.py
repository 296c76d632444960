"""GPT-2 of ``transformers`` and ours are one function: logits, cache, writing, and weights there and back."""

from typing import Any

import pytest
import torch
from interop_cases import (
    SIDES,
    assert_decoder_cache,
    assert_decoder_writes_alike,
    assert_fields_are_carried,
    assert_left_over_is_noticed,
    assert_logits,
    assert_refused,
    assert_returns_bit_equal,
    assert_round_trip_keeps_every_bit,
    randomised,
    with_field,
)
from transformers import GPT2Config, GPT2LMHeadModel

from archbench.architectures.catalogue import catalogue
from archbench.architectures.components.attention import Attention
from archbench.architectures.components.embedding import Embedding, Head
from archbench.architectures.components.feedforward import FeedForward
from archbench.architectures.components.norm import LayerNorm
from archbench.architectures.components.positions import Learned
from archbench.architectures.components.stack import Block, Stack
from archbench.architectures.conversion import gpt2
from archbench.architectures.conversion.convert import from_transformers, to_transformers
from archbench.architectures.conversion.shape import SPECIAL_TOKENS
from archbench.architectures.families.decoder import DecoderOnly
from archbench.architectures.families.size import Limits, Size
from archbench.tasks.base.errors import InputError

SHAPES: dict[str, dict[str, Any]] = {
    "usual": dict(n_embd=20, n_head=5, n_layer=3),
    "one head, one layer": dict(n_embd=7, n_head=1, n_layer=1, n_inner=13),
    "narrow heads": dict(n_embd=9, n_head=9, n_layer=2, n_inner=5, activation_function="relu"),
    "no scaling": dict(n_embd=12, n_head=3, n_layer=2, scale_attn_weights=False, activation_function="gelu"),
    "untied": dict(n_embd=16, n_head=2, n_layer=2, tie_word_embeddings=False, layer_norm_epsilon=0.01),
}


def model(name: str = "usual", seed: int = 0, **more: Any) -> GPT2LMHeadModel:
    config = GPT2Config(vocab_size=29, n_positions=24, **SPECIAL_TOKENS, **(SHAPES[name] | more))
    return randomised(GPT2LMHeadModel(config), seed)


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("side", SIDES)
def test_logits_are_equal(name: str, side: str) -> None:
    assert_logits(model(name), side)


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("side", SIDES)
def test_logits_with_cache_are_equal(name: str, side: str) -> None:
    assert_decoder_cache(model(name), side)


@pytest.mark.parametrize("name", SHAPES)
def test_greedy_writing_is_equal(name: str) -> None:
    assert_decoder_writes_alike(model(name))


@pytest.mark.parametrize("name", SHAPES)
def test_a_round_trip_keeps_every_bit(name: str) -> None:
    assert_round_trip_keeps_every_bit(model(name), tied=name != "untied")


@pytest.mark.parametrize("dropout", [0.0, 0.2])
def test_our_variant_returns_as_it_went(dropout: float) -> None:
    ours = catalogue.find("gpt2").build(Size(dim=12, heads=3, depth=2, hidden=17, dropout=dropout), Limits(29, 10, 9))
    assert_returns_bit_equal(randomised(ours, seed=5))


@pytest.mark.parametrize("name", ["usual", "untied"])
def test_a_tensor_left_over_is_noticed(name: str) -> None:
    assert_left_over_is_noticed(gpt2.SHAPE, model(name))


def test_every_field_that_is_read_is_carried() -> None:
    changes = {
        "activation_function": "relu",
        "attn_pdrop": 0.4,
        "embd_pdrop": 0.4,
        "layer_norm_epsilon": 0.02,
        "n_embd": 25,
        "n_head": 4,
        "n_inner": 11,
        "n_layer": 2,
        "n_positions": 8,
        "resid_pdrop": 0.4,
        "scale_attn_weights": False,
        "vocab_size": 28,
    }
    assert changes.keys() == gpt2.READ
    assert_fields_are_carried(gpt2.SHAPE, model().config, changes)


def test_fields_that_are_ignored_change_no_logits() -> None:
    idle = {
        "n_ctx": 12,
        "n_special": 3,
        "predict_special_tokens": True,
        "reorder_and_upcast_attn": True,
        "summary_activation": "tanh",
        "summary_first_dropout": 0.7,
        "summary_proj_to_labels": False,
        "summary_type": "last",
        "summary_use_proj": False,
    }
    assert idle.keys() == gpt2.IGNORED
    for field, value in idle.items():
        config = with_field(model().config, field, value)
        config._attn_implementation = "eager"  # elsewhere reorder_and_upcast_attn does nothing
        assert_logits(randomised(GPT2LMHeadModel(config), seed=0), "left")


@pytest.mark.parametrize(
    "field, value, named",
    [
        ("activation_function", "quick_gelu", "quick_gelu"),
        ("add_cross_attention", True, None),
        ("is_causal", False, None),
        ("is_encoder_decoder", True, None),
        ("per_layer_config", {"0": {"n_inner": 7}}, None),
        ("quantization_config", {"quant_method": "int8"}, None),
        ("scale_attn_by_inverse_layer_idx", True, None),
        ("sliding_window", 4, None),
    ],
)
def test_what_we_do_not_have_is_named(field: str, value: object, named: str | None) -> None:
    assert_refused(model(), field, value, named)


def test_an_unknown_class_is_named() -> None:
    with pytest.raises(InputError, match="GPT2Model is not supported; expected one of GPT2LMHeadModel"):
        from_transformers(model().transformer)


def decoder(**changes: Any) -> DecoderOnly:
    """GPT-2 of ours, part by part, but for ``changes``."""

    def norm(dim: int) -> LayerNorm:
        return LayerNorm(dim, bias=True)

    def block() -> Block:
        attention = Attention(12, 3, bias=True, **changes.get("attention", {}))
        feedforward = FeedForward(12, 17, bias=True, **changes.get("feedforward", {}))
        return Block(attention, feedforward, changes.get("norm", norm))

    embedding = Embedding(29, 12, **changes.get("embedding", {}))
    head = Head(29, 12, tied=embedding, **changes.get("head", {}))
    stack = Stack(2, block, norm(12))
    return DecoderOnly(embedding, stack, head, changes.get("positions", Learned(24, 12)), **changes.get("model", {}))


@pytest.mark.parametrize(
    "changes",
    [
        {"attention": {"kv_heads": 1}},
        {"attention": {"head_dim": 5}},
        {"attention": {"window": 3}},
        {"attention": {"scale": 0.3}},
        {"feedforward": {"dropout": 0.1}},
        {"feedforward": {"activation": torch.sigmoid}},
        {"norm": LayerNorm},
        {"embedding": {"scale": 2.0}},
        {"embedding": {"segments": 2}},
        {"head": {"bias": True}},
        {"head": {"scale": 0.5}},
        {"model": {"prefix": True}},
    ],
    ids=", ".join,
)
def test_a_model_that_is_no_gpt2_is_not_taken_for_one(changes: dict[str, Any]) -> None:
    to_transformers(decoder())
    with pytest.raises(InputError, match="to_transformers: this decoder"):
        to_transformers(decoder(**changes))


def test_heads_that_do_not_divide_the_width_are_not_taken_for_gpt2() -> None:
    ours = catalogue.find("gpt2").build(Size(dim=10, heads=3, depth=1, hidden=8), Limits(29, 5, 5))
    with pytest.raises(InputError, match="to_transformers: this decoder"):
        to_transformers(ours)
