"""What only one family of ``transformers`` has: biases, windows, buckets, dropout, and words of other releases."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
import transformers
from interop_cases import assert_close, assert_logits, assert_same_weights, batch, randomised
from interop_families import BERT, GPT2, LLAMA, MODERNBERT, ONE_HEAD, T5, sizes

from archbench.architectures import contract
from archbench.architectures.catalogue import catalogue
from archbench.architectures.components.attention import Attention
from archbench.architectures.components.embedding import Embedding, Head
from archbench.architectures.components.feedforward import FeedForward, GatedFeedForward
from archbench.architectures.components.norm import LayerNorm, RMSNorm
from archbench.architectures.components.positions import Learned, Rotary
from archbench.architectures.components.stack import Block, Stack
from archbench.architectures.conversion.convert import from_transformers, is_tied, to_transformers
from archbench.architectures.families.decoder import DecoderOnly
from archbench.architectures.families.size import Limits, Size
from archbench.tasks.base.errors import InputError
from archbench.tasks.base.example import BOS


@torch.no_grad()
def test_the_bias_that_is_read_is_the_one_that_counts() -> None:
    """Untied, the two biases of BERT are two tensors, and ``decoder.bias`` is added; untied by hand, they stay one."""
    theirs = BERT.theirs("untied")
    assert not torch.equal(theirs.cls.predictions.bias, theirs.cls.predictions.decoder.bias)
    assert torch.equal(from_transformers(theirs).head.bias, theirs.cls.predictions.decoder.bias)
    theirs = BERT.theirs()
    output = theirs.get_output_embeddings()
    output.weight = torch.nn.Parameter(torch.randn_like(output.weight))
    assert not is_tied(theirs) and theirs.cls.predictions.bias is output.bias
    assert_logits(theirs, "right")


def test_dropout_is_carried_over_to_where_theirs_has_it() -> None:
    models = {
        (0.3, 0.2, 0.0): BERT.theirs(hidden_dropout_prob=0.3, attention_probs_dropout_prob=0.2),
        (0.0, 0.0, 0.2): MODERNBERT.theirs(embedding_dropout=0.3, mlp_dropout=0.2),
    }
    for rates, theirs in models.items():
        ours = from_transformers(theirs)
        assert ours.embedding.dropout.p == 0.3
        for block in ours.stack.blocks:
            assert (block.dropout.p, block.attention.dropout, block.feedforward.dropout.p) == rates


def test_a_configuration_of_an_older_release_is_taken() -> None:
    theirs = BERT.theirs()
    theirs.config.position_embedding_type = "absolute"
    theirs.config.gradient_checkpointing = False
    assert_logits(theirs, "right")


def test_an_unknown_class_is_named() -> None:
    with pytest.raises(InputError, match="GPT2Model is not supported; expected one of GPT2LMHeadModel"):
        from_transformers(GPT2.theirs().transformer)


def test_logits_are_equal_in_long_texts() -> None:
    """Angles grow with positions, and so does what the rounding of a frequency does to them."""
    long = LLAMA.theirs(num_attention_heads=4, num_key_value_heads=4, hidden_size=128, max_position_embeddings=2048)
    assert_logits(long, "none", width=2048)


def test_scaled_rotary_positions_of_an_older_configuration_are_named() -> None:
    theirs = LLAMA.theirs(rope_scaling={"type": "linear", "factor": 2.0})
    with pytest.raises(InputError, match='rope_type = "linear"'):
        from_transformers(theirs)


@pytest.mark.parametrize("heads, kv_heads", [(1, 1), (2, 1), (3, 3), (4, 2)])
def test_our_llama_shares_keys_where_heads_are_even(heads: int, kv_heads: int) -> None:
    ours = catalogue.find("llama").build(Size(24, heads, 2, 17, dropout=0.2), Limits(29, 10, 9))
    config = to_transformers(randomised(ours, seed=5)).config
    assert (config.num_key_value_heads, config.attention_dropout) == (kv_heads, 0.2)


def gpt2(**changes: Any) -> DecoderOnly:
    """GPT-2 of ours, part by part, but for ``changes``."""

    def norm(dim: int) -> LayerNorm:
        return LayerNorm(dim, bias=True)

    def block() -> Block:
        attention = Attention(12, 3, bias=True, **changes.get("attention", {}))
        feedforward = FeedForward(12, 17, bias=True, **changes.get("feedforward", {}))
        return Block(attention, feedforward, changes.get("norm", norm))

    embedding = Embedding(29, 12, **changes.get("embedding", {}))
    head = Head(29, 12, tied=embedding, **changes.get("head", {}))
    return DecoderOnly(embedding, Stack(2, block, norm(12)), head, Learned(24, 12), **changes.get("model", {}))


def llama(**changes: Any) -> DecoderOnly:
    """Llama of ours, part by part, but for ``changes``."""

    def block() -> Block:
        attention = Attention(12, 3, **changes.get("attention", {}))
        feedforward = GatedFeedForward(12, 17, **changes.get("feedforward", {}))
        return Block(attention, feedforward, RMSNorm, **changes.get("block", {}))

    embedding = Embedding(29, 12, **changes.get("embedding", {}))
    stack = Stack(2, block, RMSNorm(12, **changes.get("end", {})))
    return DecoderOnly(embedding, stack, Head(29, 12), Rotary(4), **changes.get("model", {}))


@pytest.mark.parametrize(
    ("build", "changes"),
    [
        (gpt2, {"attention": {"kv_heads": 1}}),
        (gpt2, {"attention": {"head_dim": 5}}),
        (gpt2, {"attention": {"window": 3}}),
        (gpt2, {"attention": {"scale": 0.3}}),
        (gpt2, {"feedforward": {"dropout": 0.1}}),
        (gpt2, {"feedforward": {"activation": torch.sigmoid}}),
        (gpt2, {"norm": LayerNorm}),
        (gpt2, {"embedding": {"scale": 2.0}}),
        (gpt2, {"embedding": {"segments": 2}}),
        (gpt2, {"head": {"bias": True}}),
        (gpt2, {"head": {"scale": 0.5}}),
        (gpt2, {"model": {"prefix": True}}),
        (llama, {"attention": {"head_dim": 6}}),
        (llama, {"attention": {"positions": Rotary(4, 5.0)}}),
        (llama, {"attention": {"qk_norm": True}}),
        (llama, {"attention": {"window": 3}}),
        (llama, {"attention": {"scale": 0.3}}),
        (llama, {"block": {"dropout": 0.1}}),
        (llama, {"embedding": {"dropout": 0.1}}),
        (llama, {"embedding": {"norm": RMSNorm(12)}}),
        (llama, {"end": {"eps": 0.1}}),
        (llama, {"feedforward": {"dropout": 0.1}}),
        (llama, {"model": {"prefix": True}}),
    ],
)
def test_another_model_is_not_taken_for_one(build: Callable[..., DecoderOnly], changes: dict[str, Any]) -> None:
    to_transformers(build())
    with pytest.raises(InputError, match="to_transformers: this decoder"):
        to_transformers(build(**changes))


def test_normed_queries_are_named_as_what_llama_lacks() -> None:
    with pytest.raises(InputError, match=r"no LlamaForCausalLM: stack\.blocks\.0\.attention\.query_norm is RMSNorm"):
        to_transformers(llama(attention={"qk_norm": True}))


@pytest.mark.parametrize(("name", "dim"), [("gpt2", 10), ("llama", 14)])
def test_heads_that_do_not_divide_the_width_are_not_taken_for_one(name: str, dim: int) -> None:
    ours = catalogue.find(name).build(Size(dim=dim, heads=3, depth=1, hidden=8), Limits(29, 5, 5))
    with pytest.raises(InputError, match="to_transformers: this decoder"):
        to_transformers(ours)


def windows_and_bases(theirs: Any) -> tuple[list[int | None], list[float]]:
    attentions = [block.attention for block in from_transformers(theirs).stack.blocks]
    return [attention.window for attention in attentions], [attention.positions.base for attention in attentions]


def test_the_published_window_and_bases_are_equal() -> None:
    """A default ModernBERT but for its width, on more tokens than its window of 64 to each side."""
    theirs = MODERNBERT.theirs(**sizes(16, 2, 4, 12, local_attention=transformers.ModernBertConfig().local_attention))
    assert windows_and_bases(theirs) == ([None, 64, 64, None], [160_000.0, 10_000.0, 10_000.0, 160_000.0])
    assert_logits(theirs, "left", width=200)


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
    theirs = MODERNBERT.theirs(**words)
    assert windows_and_bases(theirs) == ([None, 4, None, 4, None], [700.0, 30.0, 700.0, 30.0, 700.0])
    assert_logits(theirs, "right", MODERNBERT.width)


@torch.no_grad()
@pytest.mark.parametrize("buckets", [5, 32])
def test_distances_beyond_the_last_bucket_are_equal(buckets: int) -> None:
    fields = {**ONE_HEAD, "relative_attention_num_buckets": buckets, "relative_attention_max_distance": 50}
    theirs = T5.theirs(**fields)
    for stack in (theirs.encoder, theirs.decoder):  # so that a wrong bucket shows
        stack.block[0].layer[0].SelfAttention.relative_attention_bias.weight.mul_(10)
    source, mask, _ = batch(29, 2, 160, "left", seed=1)
    target, _, _ = batch(29, 2, 140, "none", seed=2)
    expected = theirs(input_ids=source, decoder_input_ids=target, attention_mask=mask).logits
    assert_close(from_transformers(theirs)(source, target, mask), expected)


@pytest.mark.parametrize("shape", T5.shapes)
def test_what_is_saved_is_loaded_tied_or_untied_as_it_was(shape: str, tmp_path: Path) -> None:
    theirs = T5.theirs(shape)
    again = to_transformers(from_transformers(theirs))
    again.tie_weights()  # what resizing a vocabulary calls: an untied matrix stays its own
    again.save_pretrained(tmp_path)
    loaded, report = transformers.T5ForConditionalGeneration.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(report.values()), report
    assert_same_weights(loaded, theirs)
    assert is_tied(loaded) == is_tied(theirs)
    assert_logits(theirs, "left", ours=from_transformers(loaded))
    assert loaded.config.decoder_start_token_id == loaded.generation_config.decoder_start_token_id == BOS


@pytest.mark.parametrize(("shape", "scaled"), [("v1.0", True), ("v1.1", False)])
def test_a_checkpoint_as_it_was_published_is_understood(shape: str, scaled: bool, tmp_path: Path) -> None:
    """Its configuration says ``tie_word_embeddings`` where v1.1 means: neither tied nor scaled."""
    theirs = T5.theirs(shape)
    fields = {"architectures": ["T5ForConditionalGeneration"], "model_type": "t5", "n_positions": 512}
    fields |= {"output_past": True, "vocab_size": 29, "decoder_start_token_id": 0, **T5.shapes[shape]}
    (tmp_path / "config.json").write_text(json.dumps(fields))
    tensors = {n: t.clone() for n, t in theirs.state_dict().items() if "embed_tokens" not in n}
    if is_tied(theirs):
        del tensors["lm_head.weight"]
    safetensors.torch.save_file(tensors, tmp_path / "model.safetensors", {"format": "pt"})
    ours = from_transformers(transformers.T5ForConditionalGeneration.from_pretrained(tmp_path))
    assert (ours.head.weight is ours.embedding.weight) == scaled
    assert ours.head.scale == (ours.embedding.weight.shape[1] ** -0.5 if scaled else 1.0)
    assert_logits(theirs, "left", ours=ours)


@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize("name", ["t5", "t5-gated"])
def test_our_variants_of_t5_are_theirs(name: str, dropout: float) -> None:
    ours = catalogue.find(name).build(Size(32, 2, 2, 24, dropout=dropout), Limits(29, 11, 9))
    theirs = to_transformers(randomised(ours, seed=0))
    assert theirs.config.dropout_rate == dropout
    assert theirs.config.scale_decoder_outputs == is_tied(theirs) == (name == "t5")
    assert_logits(theirs, "left", ours=ours)


@torch.no_grad()
@pytest.mark.parametrize("shape", ["v1.0", "v1.1"])
def test_dropout_falls_on_the_same_values(shape: str) -> None:
    theirs = T5.theirs(shape)
    ours = from_transformers(theirs)
    source, mask, _ = batch(29, 4, 11, "right", seed=1)
    target, _, _ = batch(29, 4, 9, "none", seed=2)
    still = ours(source, target, mask)
    torch.manual_seed(0)
    drawn = ours.train()(source, target, mask)
    torch.manual_seed(0)
    expected = theirs.train()(input_ids=source, decoder_input_ids=target, attention_mask=mask).logits
    assert (drawn - still).abs().max() > 0.1
    assert_close(drawn, expected)


def test_a_model_that_is_no_t5_is_told_what_differs() -> None:
    for part in ("decoder.blocks.1.cross", "head"):
        ours = catalogue.find("t5").build(contract.SIZE, contract.LIMITS)
        ours.get_submodule(part).scale = 0.5
        with pytest.raises(InputError, match=rf"T5ForConditionalGeneration.*{re.escape(part)}\.scale is 0\.5"):
            to_transformers(ours)
