"""BERT of ``transformers`` and ours are one function: logits at real positions, and weights there and back."""

import copy
from typing import Any

import pytest
import torch
from interop_cases import (
    SIDES,
    assert_fields_are_carried,
    assert_left_over_is_noticed,
    assert_logits,
    assert_logits_without_mask,
    assert_refused,
    assert_returns_bit_equal,
    assert_round_trip_keeps_every_bit,
    assert_source_and_canvas_are_one,
    randomised,
    with_field,
)
from transformers import BertConfig, BertForMaskedLM

from archbench.architectures.catalogue import catalogue
from archbench.architectures.conversion import bert
from archbench.architectures.conversion.convert import from_transformers, is_tied
from archbench.architectures.conversion.shape import SPECIAL_TOKENS
from archbench.architectures.families.size import Limits, Size


def sizes(width: int, heads: int, layers: int, hidden: int, **more: Any) -> dict[str, Any]:
    named = {"hidden_size": width, "num_attention_heads": heads, "num_hidden_layers": layers}
    return {**named, "intermediate_size": hidden, **more}


SHAPES = {
    "usual": sizes(20, 5, 3, 31),
    "one head, one layer": sizes(7, 1, 1, 3),
    "one segment": sizes(9, 9, 2, 5, type_vocab_size=1),
    "relu": sizes(12, 2, 2, 11, hidden_act="relu", layer_norm_eps=0.1),
    "untied": sizes(16, 2, 2, 8, hidden_act="gelu_new", tie_word_embeddings=False),
}


def model(name: str = "usual", seed: int = 0, **more: Any) -> BertForMaskedLM:
    config = BertConfig(vocab_size=29, max_position_embeddings=24, **SPECIAL_TOKENS, **(SHAPES[name] | more))
    return randomised(BertForMaskedLM(config), seed)


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("kernel", ["sdpa", "eager"])
def test_logits_are_equal(name: str, side: str, kernel: str) -> None:
    theirs = model(name, attn_implementation=kernel)
    assert theirs.config._attn_implementation == kernel
    assert_logits(theirs, side)


@pytest.mark.parametrize("name", SHAPES)
def test_logits_without_mask_and_positions_are_equal(name: str) -> None:
    assert_logits_without_mask(model(name), width=24)  # every position that there is


def test_source_and_canvas_read_as_one_sequence() -> None:
    assert_source_and_canvas_are_one(model(), source=9, canvas=4)


@pytest.mark.parametrize("name", SHAPES)
def test_a_round_trip_keeps_every_bit(name: str) -> None:
    theirs = model(name)
    if name == "untied":  # the bias that their model holds and does not read
        theirs.cls.predictions.bias.data.copy_(theirs.cls.predictions.decoder.bias.data)
    assert_round_trip_keeps_every_bit(theirs, tied=name != "untied")


@torch.no_grad()
def test_the_bias_that_is_read_is_the_one_that_counts() -> None:
    """Untied, their two biases are two tensors, and ``decoder.bias`` is added; untied by hand, they stay one."""
    theirs = model("untied")
    assert not torch.equal(theirs.cls.predictions.bias, theirs.cls.predictions.decoder.bias)
    assert torch.equal(from_transformers(theirs).head.bias, theirs.cls.predictions.decoder.bias)
    theirs = model()
    output = theirs.get_output_embeddings()
    output.weight = torch.nn.Parameter(torch.randn_like(output.weight))
    assert not is_tied(theirs) and theirs.cls.predictions.bias is output.bias
    assert_logits(theirs, "right")


@pytest.mark.parametrize("dropout", [0.0, 0.2])
def test_our_variant_returns_as_it_went(dropout: float) -> None:
    ours = catalogue.find("bert").build(Size(dim=12, heads=3, depth=2, hidden=17, dropout=dropout), Limits(29, 10, 9))
    assert_returns_bit_equal(randomised(ours, seed=5))


@pytest.mark.parametrize("name", ["usual", "untied"])
def test_a_tensor_left_over_is_noticed(name: str) -> None:
    assert_left_over_is_noticed(bert.SHAPE, model(name))


def test_every_field_that_is_read_is_carried() -> None:
    changes = {
        "attention_probs_dropout_prob": 0.4,
        "hidden_act": "relu",
        "hidden_dropout_prob": 0.4,
        "hidden_size": 25,
        "intermediate_size": 11,
        "layer_norm_eps": 0.02,
        "max_position_embeddings": 8,
        "num_attention_heads": 4,
        "num_hidden_layers": 2,
        "type_vocab_size": 3,
        "vocab_size": 28,
    }
    assert changes.keys() == bert.READ
    assert_fields_are_carried(bert.SHAPE, model().config, changes)


def test_fields_that_are_ignored_change_no_logits() -> None:
    idle = {
        "classifier_dropout": 0.5,
        "directionality": "bidi",
        "pooler_fc_size": 7,
        "pooler_num_attention_heads": 3,
        "pooler_num_fc_layers": 2,
        "pooler_size_per_head": 5,
        "pooler_type": "first_token_transform",
    }
    assert idle.keys() == bert.IGNORED
    config = copy.deepcopy(model().config)
    for field, value in idle.items():
        config = with_field(config, field, value)
    assert_logits(randomised(BertForMaskedLM(config), seed=0), "left")


def test_dropout_is_carried_over_to_where_theirs_has_it() -> None:
    ours = from_transformers(model(hidden_dropout_prob=0.3, attention_probs_dropout_prob=0.2))
    assert ours.embedding.dropout.p == 0.3
    for block in ours.stack.blocks:
        assert (block.dropout.p, block.attention.dropout, block.feedforward.dropout.p) == (0.3, 0.2, 0.0)


@pytest.mark.parametrize(
    "field, value, named",
    [
        ("hidden_act", "quick_gelu", "quick_gelu"),
        ("is_decoder", True, None),
        ("add_cross_attention", True, None),
        ("position_embedding_type", "relative_key", None),
        ("embedding_size", 8, None),
        ("quantization_config", {"quant_method": "int8"}, None),
        ("is_encoder_decoder", True, None),
    ],
)
def test_what_we_do_not_have_is_named(field: str, value: object, named: str | None) -> None:
    assert_refused(model(), field, value, named)


def test_a_configuration_of_an_older_release_is_taken() -> None:
    theirs = model()
    theirs.config.position_embedding_type = "absolute"
    theirs.config.gradient_checkpointing = False
    assert_logits(theirs, "right")
