"""T5 of ``transformers``, v1.0 and v1.1, tied and untied, is our T5: logits, cache, generation, weights, dropout."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
import transformers
from interop_cases import (
    SIDES,
    assert_close,
    assert_fields_are_carried,
    assert_left_over_is_noticed,
    assert_refused,
    assert_same_weights,
    batch,
    cache_name,
    randomised,
)
from torch import Tensor

from archbench.architectures import contract
from archbench.architectures.catalogue import catalogue
from archbench.architectures.conversion import t5
from archbench.architectures.conversion.convert import empty, from_transformers, is_tied, to_transformers
from archbench.architectures.conversion.structure import difference
from archbench.architectures.families.size import Size
from archbench.architectures.objectives.generate import decode_left_to_right
from archbench.tasks.base.decoding import Decoding
from archbench.tasks.base.errors import InputError
from archbench.tasks.base.example import BOS, END, PAD

VOCABULARY = 29
V1_0 = {
    "d_model": 22,
    "d_kv": 5,
    "d_ff": 17,
    "num_heads": 3,
    "num_layers": 3,
    "num_decoder_layers": 2,
    "relative_attention_num_buckets": 8,
    "relative_attention_max_distance": 9,
    "feed_forward_proj": "relu",
    "layer_norm_epsilon": 1e-4,
}
V1_1 = {
    "d_model": 15,
    "d_kv": 8,
    "d_ff": 40,
    "num_heads": 2,
    "num_layers": 2,
    "num_decoder_layers": 1,
    "relative_attention_num_buckets": 7,
    "relative_attention_max_distance": 20,
    "feed_forward_proj": "gated-gelu",
    "tie_word_embeddings": False,  # theirs: the output is not scaled
}
ONE_HEAD = {**V1_0, "d_kv": 6, "num_heads": 1, "num_layers": 1, "relative_attention_num_buckets": 32}
DEEP_DECODER = {**ONE_HEAD, "num_decoder_layers": 3}
CASES = {
    "v1.0": (V1_0, True),
    "v1.1": (V1_1, False),
    "v1.0 untied": (V1_0, False),
    "v1.1 tied": (V1_1, True),
    "one head, gated silu": ({**ONE_HEAD, "num_decoder_layers": 1, "feed_forward_proj": "gated-silu"}, True),
    "deep decoder, gelu": ({**DEEP_DECODER, "feed_forward_proj": "gelu"}, False),
}
every_case = pytest.mark.parametrize("case", CASES)


def config(**fields: object) -> Any:
    special = {"bos_token_id": BOS, "eos_token_id": END, "pad_token_id": PAD, "decoder_start_token_id": BOS}
    return transformers.T5Config(vocab_size=VOCABULARY, dropout_rate=0.2, **special, **fields)


def stock(case: str, seed: int = 0) -> Any:
    """A random model of theirs in evaluation mode."""
    fields, tied = CASES[case]
    theirs = randomised(empty(t5.SHAPE, config(**fields), tied), seed)
    assert is_tied(theirs) == tied
    return theirs


def logits(theirs: Any, source: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    with torch.no_grad():
        values: Tensor = theirs(input_ids=source, decoder_input_ids=target, attention_mask=mask).logits
    return values


@torch.no_grad()
def assert_same_logits(ours: Any, theirs: Any, side: str = "left") -> None:
    source, mask, _ = batch(VOCABULARY, 4, 11, side, seed=1)
    target, _, _ = batch(VOCABULARY, 4, 9, "none", seed=2)
    assert_close(ours(source, target, mask), logits(theirs, source, target, mask))


@pytest.mark.parametrize("side", SIDES)
@every_case
def test_logits_are_equal(case: str, side: str) -> None:
    theirs = stock(case)
    assert_same_logits(from_transformers(theirs), theirs, side)


@torch.no_grad()
@pytest.mark.parametrize("buckets", [5, 32])
def test_distances_beyond_the_last_bucket_are_equal(buckets: int) -> None:
    fields = {**ONE_HEAD, "relative_attention_num_buckets": buckets, "relative_attention_max_distance": 50}
    theirs = randomised(transformers.T5ForConditionalGeneration(config(**fields)), seed=0)
    for stack in (theirs.encoder, theirs.decoder):  # so that a wrong bucket shows
        stack.block[0].layer[0].SelfAttention.relative_attention_bias.weight.mul_(10)
    source, mask, _ = batch(VOCABULARY, 2, 160, "left", seed=1)
    target, _, _ = batch(VOCABULARY, 2, 140, "none", seed=2)
    assert_close(from_transformers(theirs)(source, target, mask), logits(theirs, source, target, mask))


@torch.no_grad()
@pytest.mark.parametrize("side", ["left", "right"])
@every_case
def test_decoding_from_a_cache_is_equal(case: str, side: str) -> None:
    theirs = stock(case)
    ours, name = from_transformers(theirs), cache_name(theirs)
    source, mask, _ = batch(VOCABULARY, 3, 7, side, seed=1)
    target, _, _ = batch(VOCABULARY, 3, 12, "none", seed=2)
    once = logits(theirs, source, target, mask)
    memory, cache = theirs.encoder(input_ids=source, attention_mask=mask), ours.prefill(source, mask)
    past, begin = None, 0
    for length in (5, 1, 1, 3, 2):
        tokens = target[:, begin : begin + length]
        step = theirs(
            encoder_outputs=memory, attention_mask=mask, decoder_input_ids=tokens, use_cache=True, **{name: past}
        )
        step_logits, cache = ours.decode(tokens, cache)
        assert_close(step_logits, step.logits)
        assert_close(step_logits, once[:, begin : begin + length])
        past, begin = step[name], begin + length


@every_case
def test_generation_is_equal(case: str) -> None:
    theirs = stock(case, seed=4)
    source, mask, _ = batch(VOCABULARY, 6, 8, "left", seed=4)
    allowed_tokens = torch.ones(VOCABULARY, dtype=torch.bool)
    answers = decode_left_to_right(from_transformers(theirs), source, mask, allowed_tokens, Decoding(max_tokens=14))
    cached = theirs.config.num_decoder_layers <= theirs.config.num_layers  # else their own cache is too short
    options = {"max_new_tokens": 14, "do_sample": False, "num_beams": 1, "use_cache": cached}
    written = theirs.generate(source, attention_mask=mask, **options)
    assert (written[:, 0] == BOS).all()
    for answer, row in zip(answers, written[:, 1:].tolist(), strict=True):
        ends = [*row, END].index(END)
        assert answer.tolist() == row[:ends]
    assert len({tuple(answer.tolist()) for answer in answers}) > 1, "rows that all write the same show little"


@every_case
def test_a_round_trip_keeps_every_bit(case: str) -> None:
    theirs = stock(case)
    ours = from_transformers(theirs)
    again = to_transformers(ours)
    assert_same_weights(again, theirs)
    assert is_tied(again) == is_tied(theirs)
    for field in t5.READ:
        assert getattr(again.config, field) == getattr(theirs.config, field), field
    assert difference(from_transformers(again), ours) is None
    assert_same_weights(from_transformers(again), ours)


@every_case
def test_what_is_saved_is_loaded_tied_or_untied_as_it_was(case: str, tmp_path: Path) -> None:
    theirs = stock(case)
    again = to_transformers(from_transformers(theirs))
    again.tie_weights()  # what resizing a vocabulary calls: an untied matrix stays its own
    again.save_pretrained(tmp_path)
    loaded, report = transformers.T5ForConditionalGeneration.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(report.values()), report
    assert_same_weights(loaded, theirs)
    assert is_tied(loaded) == is_tied(theirs)
    assert_same_logits(from_transformers(loaded), theirs)
    assert loaded.config.decoder_start_token_id == loaded.generation_config.decoder_start_token_id == BOS


@pytest.mark.parametrize(("case", "scaled"), [("v1.0", True), ("v1.1", False)])
def test_a_checkpoint_as_it_was_published_is_understood(case: str, scaled: bool, tmp_path: Path) -> None:
    """Its configuration says ``tie_word_embeddings`` where v1.1 means: neither tied nor scaled."""
    theirs = stock(case)
    fields = {"architectures": ["T5ForConditionalGeneration"], "model_type": "t5", "n_positions": 512}
    fields |= {"output_past": True, "vocab_size": VOCABULARY, "decoder_start_token_id": 0, **CASES[case][0]}
    (tmp_path / "config.json").write_text(json.dumps(fields))
    tensors = {n: t.clone() for n, t in theirs.state_dict().items() if "embed_tokens" not in n}
    if is_tied(theirs):
        del tensors["lm_head.weight"]
    safetensors.torch.save_file(tensors, tmp_path / "model.safetensors", {"format": "pt"})
    loaded = transformers.T5ForConditionalGeneration.from_pretrained(tmp_path)
    ours = from_transformers(loaded)
    assert (ours.head.weight is ours.embedding.weight) == scaled
    assert ours.head.scale == (ours.embedding.weight.shape[1] ** -0.5 if scaled else 1.0)
    assert_same_logits(ours, theirs)


@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize("name", ["t5", "t5-gated"])
def test_our_variants_are_theirs(name: str, dropout: float) -> None:
    limits = replace(contract.LIMITS, vocabulary=VOCABULARY)
    size = Size(dim=32, heads=2, depth=2, hidden=24, dropout=dropout)
    ours = contract.subject(catalogue.find(name).build, size, limits).model
    theirs = to_transformers(ours)
    assert theirs.config.dropout_rate == dropout
    assert theirs.config.scale_decoder_outputs == is_tied(theirs) == (name == "t5")
    assert_same_logits(ours, theirs)


@torch.no_grad()
@pytest.mark.parametrize("case", ["v1.0", "v1.1"])
def test_dropout_falls_on_the_same_values(case: str) -> None:
    theirs = stock(case)
    ours, outputs = from_transformers(theirs).train(), []
    source, mask, _ = batch(VOCABULARY, 4, 11, "right", seed=1)
    target, _, _ = batch(VOCABULARY, 4, 9, "none", seed=2)
    still = logits(theirs, source, target, mask)
    theirs.train()
    for run in (lambda: ours(source, target, mask), lambda: logits(theirs, source, target, mask)):
        torch.manual_seed(0)
        outputs.append(run())
    assert (outputs[0] - still).abs().max() > 0.1
    assert_close(*outputs)


def test_every_field_that_is_read_is_carried() -> None:
    changes = {
        "d_ff": 18,
        "d_kv": 6,
        "d_model": 23,
        "dense_act_fn": "silu",
        "dropout_rate": 0.3,
        "is_gated_act": True,
        "layer_norm_epsilon": 1e-3,
        "num_decoder_layers": 4,
        "num_heads": 2,
        "num_layers": 1,
        "relative_attention_max_distance": 10,
        "relative_attention_num_buckets": 9,
        "scale_decoder_outputs": False,
        "vocab_size": 30,
    }
    assert changes.keys() == t5.READ
    assert_fields_are_carried(t5.SHAPE, config(**V1_0), changes)


@pytest.mark.parametrize(
    ("field", "value", "named"),
    [
        ("chunked_attention", 4, None),
        ("dense_act_fn", "tanh", '"tanh"'),
        ("is_decoder", True, None),
        ("is_encoder_decoder", False, None),
        ("output_gate", True, None),
    ],
)
def test_what_we_lack_is_named(field: str, value: object, named: str | None) -> None:
    assert_refused(stock("v1.0"), field, value, named)


def test_a_model_that_is_no_t5_is_told_what_differs() -> None:
    size, limits = contract.SIZE, contract.LIMITS
    ours = catalogue.find("t5").build(size, limits)
    ours.decoder.blocks[1].cross.scale = 0.5
    with pytest.raises(InputError, match=r"T5ForConditionalGeneration.*decoder\.blocks\.1\.cross\.scale is 0\.5"):
        to_transformers(ours)
    ours = catalogue.find("t5").build(size, limits)
    ours.head.scale = 0.25
    with pytest.raises(InputError, match=r"head\.scale is 0\.25"):
        to_transformers(ours)


@pytest.mark.parametrize("case", ["v1.0", "v1.1"])
def test_no_tensor_is_left_over(case: str) -> None:
    assert_left_over_is_noticed(t5.SHAPE, stock(case))
