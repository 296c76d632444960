"""Llama of ``transformers`` and ours are one function: logits, cache, writing, and weights there and back."""

from typing import Any

import pytest
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
from transformers import LlamaConfig, LlamaForCausalLM

from archbench.architectures.catalogue import catalogue
from archbench.architectures.components.attention import Attention
from archbench.architectures.components.embedding import Embedding, Head
from archbench.architectures.components.feedforward import GatedFeedForward
from archbench.architectures.components.norm import RMSNorm
from archbench.architectures.components.positions import Rotary
from archbench.architectures.components.stack import Block, Stack
from archbench.architectures.conversion import llama
from archbench.architectures.conversion.convert import from_transformers, to_transformers
from archbench.architectures.conversion.shape import SPECIAL_TOKENS
from archbench.architectures.families.decoder import DecoderOnly
from archbench.architectures.families.size import Limits, Size
from archbench.tasks.base.errors import InputError

SHAPES: dict[str, dict[str, Any]] = {
    "usual": dict(hidden_size=20, num_attention_heads=5, num_hidden_layers=3, intermediate_size=27),
    "one head, one layer": dict(hidden_size=14, num_attention_heads=1, num_hidden_layers=1, intermediate_size=5),
    "grouped, biases": dict(
        hidden_size=24,
        num_attention_heads=6,
        num_key_value_heads=2,
        num_hidden_layers=2,
        intermediate_size=9,
        attention_bias=True,
        mlp_bias=True,
        hidden_act="gelu",
    ),
    "one set of keys, wide heads, tied": dict(
        hidden_size=9,
        num_attention_heads=3,
        num_key_value_heads=1,
        head_dim=8,
        num_hidden_layers=2,
        intermediate_size=31,
        rms_norm_eps=0.01,
        rope_parameters={"rope_type": "default", "rope_theta": 77.0},
        tie_word_embeddings=True,
    ),
}


def model(name: str = "usual", seed: int = 0, **more: Any) -> LlamaForCausalLM:
    config = LlamaConfig(vocab_size=29, **SPECIAL_TOKENS, **(SHAPES[name] | more))
    return randomised(LlamaForCausalLM(config), seed)


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("side", SIDES)
def test_logits_are_equal(name: str, side: str) -> None:
    assert_logits(model(name), side)


def test_logits_are_equal_in_long_texts() -> None:
    """Angles grow with positions, and so does what the rounding of a frequency does to them."""
    long = model(num_attention_heads=4, num_key_value_heads=4, hidden_size=128, max_position_embeddings=2048)
    assert_logits(long, "none", width=2048)


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("side", SIDES)
def test_logits_with_cache_are_equal(name: str, side: str) -> None:
    assert_decoder_cache(model(name), side)


@pytest.mark.parametrize("name", SHAPES)
def test_greedy_writing_is_equal(name: str) -> None:
    assert_decoder_writes_alike(model(name))


@pytest.mark.parametrize("name", SHAPES)
def test_a_round_trip_keeps_every_bit(name: str) -> None:
    assert_round_trip_keeps_every_bit(model(name), tied=name.endswith(" tied"))


@pytest.mark.parametrize("heads, kv_heads", [(1, 1), (2, 1), (3, 3), (4, 2)])
@pytest.mark.parametrize("dropout", [0.0, 0.2])
def test_our_variant_returns_as_it_went(heads: int, kv_heads: int, dropout: float) -> None:
    size = Size(dim=24, heads=heads, depth=2, hidden=17, dropout=dropout)
    ours = randomised(catalogue.find("llama").build(size, Limits(29, 10, 9)), seed=5)
    assert_returns_bit_equal(ours)
    config = to_transformers(ours).config
    assert (config.num_key_value_heads, config.attention_dropout) == (kv_heads, dropout)


@pytest.mark.parametrize("name", ["grouped, biases", "one set of keys, wide heads, tied"])
def test_a_tensor_left_over_is_noticed(name: str) -> None:
    assert_left_over_is_noticed(llama.SHAPE, model(name))


def test_every_field_that_is_read_is_carried() -> None:
    changes = {
        "attention_bias": True,
        "attention_dropout": 0.4,
        "head_dim": 6,
        "hidden_act": "relu",
        "hidden_size": 25,
        "intermediate_size": 11,
        "mlp_bias": True,
        "num_attention_heads": 10,
        "num_hidden_layers": 2,
        "num_key_value_heads": 1,
        "rms_norm_eps": 0.02,
        "rope_parameters": {"rope_type": "default", "rope_theta": 77.0},
        "vocab_size": 28,
    }
    assert changes.keys() == llama.READ
    assert_fields_are_carried(llama.SHAPE, model().config, changes)


def test_fields_that_are_ignored_change_no_logits() -> None:
    idle = {"max_position_embeddings": 3, "max_sequence_length": 3}
    assert idle.keys() == llama.IGNORED
    for field, value in idle.items():
        theirs = LlamaForCausalLM(with_field(model().config, field, value))
        assert_logits(randomised(theirs, seed=0), "left")


def rope(**parameters: object) -> dict[str, object]:
    return {"rope_theta": 10_000.0, **parameters}


@pytest.mark.parametrize(
    "field, value, named",
    [
        ("head_dim", 7, None),
        ("hidden_act", "quick_gelu", "quick_gelu"),
        ("is_causal", False, None),
        ("is_encoder_decoder", True, None),
        ("per_layer_config", {"0": {"num_key_value_heads": 1}}, None),
        ("pretraining_tp", 2, "pretraining_tp = 2 is not supported; pretraining_tp = 1 is"),
        ("quantization_config", {"quant_method": "int8"}, None),
        ("rope_parameters", rope(rope_type="linear", factor=2.0), 'rope_type = "linear"'),
        ("rope_parameters", rope(rope_type="dynamic", factor=2.0), 'rope_type = "dynamic"'),
        ("rope_parameters", rope(rope_type="yarn", factor=2.0), 'rope_type = "yarn"'),
        ("rope_parameters", rope(rope_type="longrope", factor=2.0), 'rope_type = "longrope"'),
        ("rope_parameters", rope(rope_type="llama3", factor=2.0), 'rope_type = "llama3"'),
        ("rope_parameters", rope(rope_type="default", partial_rotary_factor=0.5), "partial_rotary_factor = 0.5"),
        ("sliding_window", 4, None),
    ],
)
def test_what_we_do_not_have_is_named(field: str, value: object, named: str | None) -> None:
    assert_refused(model(), field, value, named)


def test_scaled_rotary_positions_of_an_older_configuration_are_named() -> None:
    theirs = model(rope_scaling={"type": "linear", "factor": 2.0})
    with pytest.raises(InputError, match='rope_type = "linear"'):
        from_transformers(theirs)


def decoder(**changes: Any) -> DecoderOnly:
    """Llama of ours, part by part, but for ``changes``."""

    def block() -> Block:
        attention = Attention(12, 3, **changes.get("attention", {}))
        feedforward = GatedFeedForward(12, 17, **changes.get("feedforward", {}))
        return Block(attention, feedforward, RMSNorm, **changes.get("block", {}))

    embedding = Embedding(29, 12, **changes.get("embedding", {}))
    stack, positions = Stack(2, block, RMSNorm(12, eps=changes.get("eps", 1e-6))), Rotary(4)
    return DecoderOnly(embedding, stack, Head(29, 12), changes.get("positions", positions), **changes.get("model", {}))


@pytest.mark.parametrize(
    "changes",
    [
        {"attention": {"head_dim": 6}},
        {"attention": {"positions": Rotary(4, 5.0)}},
        {"attention": {"qk_norm": True}},
        {"attention": {"window": 3}},
        {"attention": {"scale": 0.3}},
        {"block": {"dropout": 0.1}},
        {"embedding": {"dropout": 0.1}},
        {"embedding": {"norm": RMSNorm(12)}},
        {"eps": 0.1},
        {"feedforward": {"dropout": 0.1}},
        {"model": {"prefix": True}},
    ],
    ids=", ".join,
)
def test_a_model_that_is_no_llama_is_not_taken_for_one(changes: dict[str, Any]) -> None:
    to_transformers(decoder())
    with pytest.raises(InputError, match="to_transformers: this decoder"):
        to_transformers(decoder(**changes))


def test_normed_queries_are_named_as_what_llama_lacks() -> None:
    with pytest.raises(InputError, match=r"no LlamaForCausalLM: stack\.blocks\.0\.attention\.query_norm is RMSNorm"):
        to_transformers(decoder(attention={"qk_norm": True}))


def test_heads_that_do_not_divide_the_width_are_not_taken_for_llama() -> None:
    ours = catalogue.find("llama").build(Size(dim=14, heads=3, depth=1, hidden=8), Limits(29, 5, 5))
    with pytest.raises(InputError, match="to_transformers: this decoder"):
        to_transformers(ours)
