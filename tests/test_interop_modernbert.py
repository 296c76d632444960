"""ModernBERT of ``transformers`` and ours are one function: logits at real positions, and weights there and back."""

import copy
from typing import Any

import pytest
import torch
from interop_cases import (
    SIDES,
    assert_close,
    assert_fields_are_carried,
    assert_left_over_is_noticed,
    assert_logits,
    assert_logits_without_mask,
    assert_refused,
    assert_returns_bit_equal,
    assert_round_trip_keeps_every_bit,
    assert_same_weights,
    assert_source_and_canvas_are_one,
    batch,
    randomised,
    with_field,
)
from transformers import ModernBertConfig, ModernBertForMaskedLM

from archbench.architectures.catalogue import catalogue
from archbench.architectures.conversion import modernbert
from archbench.architectures.conversion.convert import from_transformers, to_transformers
from archbench.architectures.conversion.shape import SPECIAL_TOKENS
from archbench.architectures.families.size import Limits, Size

LONG = 27  # tokens: much longer than the window
FULL, LOCAL = "full_attention", "sliding_attention"
MARKS = {**SPECIAL_TOKENS, "cls_token_id": 1, "sep_token_id": 2}
BIASES = dict.fromkeys(("attention_bias", "classifier_bias", "mlp_bias", "norm_bias"), True)


def rope(full: float, local: float) -> dict[str, Any]:
    bases = {FULL: full, LOCAL: local}
    return {kind: {"rope_type": "default", "rope_theta": base} for kind, base in bases.items()}


def sizes(width: int, heads: int, layers: int, hidden: int, **more: Any) -> dict[str, Any]:
    named = {"hidden_size": width, "num_attention_heads": heads, "num_hidden_layers": layers}
    return {**named, "intermediate_size": hidden, "local_attention": 8, **more}


SHAPES = {
    "usual": sizes(20, 5, 5, 31),
    "one head, one layer": sizes(6, 1, 1, 3),
    "all biases": sizes(12, 3, 4, 5, hidden_activation="silu", classifier_activation="relu", **BIASES),
    "local first, no bias at all": sizes(
        16,
        2,
        3,
        8,
        layer_types=[LOCAL, FULL, LOCAL],
        rope_parameters=rope(500.0, 10.0),
        decoder_bias=False,
        norm_eps=0.1,
    ),
    "untied, local alone, odd window": sizes(
        8, 2, 2, 9, layer_types=[LOCAL, LOCAL], local_attention=5, tie_word_embeddings=False
    ),
}


def model(name: str = "usual", seed: int = 0, **more: Any) -> ModernBertForMaskedLM:
    """A model whose local layers see 4 tokens to each side (2 with the odd window)."""
    config = ModernBertConfig(vocab_size=29, **MARKS, **(SHAPES[name] | more))
    return randomised(ModernBertForMaskedLM(config), seed)


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("kernel", ["sdpa", "eager"])
def test_logits_are_equal(name: str, side: str, kernel: str) -> None:
    theirs = model(name, attn_implementation=kernel)
    assert theirs.config._attn_implementation == kernel
    assert_logits(theirs, side, LONG)


@pytest.mark.parametrize("name", SHAPES)
def test_logits_without_mask_and_positions_are_equal(name: str) -> None:
    assert_logits_without_mask(model(name), width=40)


@torch.no_grad()
def test_the_published_window_and_bases_are_equal() -> None:
    """A default configuration but for its width, on more tokens than its window of 64 to each side."""
    theirs = model(**sizes(16, 2, 4, 12, local_attention=ModernBertConfig().local_attention))
    ids, mask, positions = batch(29, 2, 200, "left", seed=4)
    ours = from_transformers(theirs)
    attentions = [block.attention for block in ours.stack.blocks]
    assert [attention.window for attention in attentions] == [None, 64, 64, None]
    assert [attention.positions.base for attention in attentions] == [160_000.0, 10_000.0, 10_000.0, 160_000.0]
    expected = theirs(ids, attention_mask=mask, position_ids=positions).logits
    assert_close(ours(None, ids, None, mask), expected, mask)


def test_source_and_canvas_read_as_one_sequence() -> None:
    assert_source_and_canvas_are_one(model(), source=13, canvas=7)


@pytest.mark.parametrize("name", SHAPES)
def test_a_round_trip_keeps_every_bit(name: str) -> None:
    assert_round_trip_keeps_every_bit(model(name), tied=not name.startswith("untied"))


@torch.no_grad()
def test_what_comes_back_computes_the_same() -> None:
    """Window and bases are no weights: the model that comes back has them too."""
    for name in SHAPES:
        theirs = model(name)
        ids, _, _ = batch(29, 3, 27, "none", seed=2)
        assert_close(to_transformers(from_transformers(theirs))(ids).logits, theirs(ids).logits)


@pytest.mark.parametrize("dropout", [0.0, 0.2])
@pytest.mark.parametrize("depth", [1, 5])
def test_our_variant_returns_as_it_went(dropout: float, depth: int) -> None:
    size = Size(dim=12, heads=3, depth=depth, hidden=17, dropout=dropout)
    assert_returns_bit_equal(randomised(catalogue.find("modernbert").build(size, Limits(29, 10, 9)), seed=5))


@pytest.mark.parametrize("name", SHAPES)
def test_a_tensor_left_over_is_noticed(name: str) -> None:
    assert_left_over_is_noticed(modernbert.SHAPE, model(name))


def test_every_field_that_is_read_is_carried() -> None:
    changes = {
        "attention_bias": True,
        "classifier_activation": "relu",
        "classifier_bias": True,
        "decoder_bias": False,
        "embedding_dropout": 0.4,
        "hidden_activation": "relu",
        "hidden_size": 30,
        "intermediate_size": 11,
        "layer_types": [FULL] * 5,
        "local_attention": 10,
        "mlp_bias": True,
        "mlp_dropout": 0.4,
        "norm_bias": True,
        "norm_eps": 0.02,
        "num_attention_heads": 2,
        "rope_parameters": rope(160_000.0, 20_000.0),
        "vocab_size": 28,
    }
    assert changes.keys() == modernbert.READ - {"num_hidden_layers"}
    assert_fields_are_carried(modernbert.SHAPE, model().config, changes)
    assert len(from_transformers(model()).stack.blocks) == 5  # layer_types have to have as many entries


@torch.no_grad()
def test_fields_that_are_ignored_change_no_logits() -> None:
    """Those of the published checkpoints among them, whose configuration says it in the words of older releases."""
    idle = {
        "classifier_dropout": 0.5,
        "classifier_pooling": "mean",
        "cls_token_id": 7,
        "deterministic_flash_attn": True,
        "global_attn_every_n_layers": 3,
        "global_rope_theta": 160000.0,
        "initializer_cutoff_factor": 3.0,
        "layer_norm_eps": 0.5,
        "local_rope_theta": 10000.0,
        "max_position_embeddings": 8,
        "position_embedding_type": "absolute",
        "reference_compile": False,
        "repad_logits_with_grad": True,
        "sparse_pred_ignore_index": -1,
        "sparse_prediction": True,
    }
    assert idle.keys() == modernbert.IGNORED
    theirs = model()
    config = copy.deepcopy(theirs.config)
    for field, value in idle.items():
        config = with_field(config, field, value)
        setattr(config, field, value)
    changed = randomised(ModernBertForMaskedLM(config), seed=0)
    assert_same_weights(changed, theirs)
    assert_logits(changed, "left", LONG)
    ids, _, _ = batch(29, 3, 27, "none", seed=2)
    assert_close(changed(ids).logits, theirs(ids).logits)


def test_the_words_of_older_releases_are_understood() -> None:
    words = {
        "global_attn_every_n_layers": 2,
        "global_rope_theta": 700.0,
        "local_rope_theta": 30.0,
        "layer_norm_eps": 1e-5,
        "position_embedding_type": "absolute",
        "reference_compile": None,
        "gradient_checkpointing": False,
    }
    theirs = model(**words)
    attentions = [block.attention for block in from_transformers(theirs).stack.blocks]
    assert [attention.window for attention in attentions] == [None, 4, None, 4, None]
    assert [attention.positions.base for attention in attentions] == [700.0, 30.0, 700.0, 30.0, 700.0]
    assert_logits(theirs, "right", LONG)


def test_dropout_is_carried_over_to_where_theirs_has_it() -> None:
    ours = from_transformers(model(embedding_dropout=0.3, mlp_dropout=0.2))
    assert ours.embedding.dropout.p == 0.3
    for block in ours.stack.blocks:
        assert (block.dropout.p, block.attention.dropout, block.feedforward.dropout.p) == (0.0, 0.0, 0.2)


@pytest.mark.parametrize(
    "field, value, named",
    [
        ("attention_dropout", 0.1, None),
        ("hidden_activation", "quick_gelu", "quick_gelu"),
        ("classifier_activation", "tanh", "tanh"),
        ("layer_types", [FULL, "chunked_attention", FULL, FULL, FULL], None),
        (
            "rope_parameters",
            {**rope(160_000.0, 10_000.0), FULL: {"rope_type": "linear", "factor": 2.0, "rope_theta": 160_000.0}},
            f"rope_parameters.{FULL}",
        ),
        ("head_dim", 8, None),
        ("is_decoder", True, None),
        ("quantization_config", {"quant_method": "int8"}, None),
    ],
)
def test_what_we_do_not_have_is_named(field: str, value: object, named: str | None) -> None:
    assert_refused(model(), field, value, named)
