"""The families of ``transformers`` that are ours too: configurations, our variants, and what each field does."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import transformers
from interop_cases import randomised

from archbench.architectures.conversion.convert import empty
from archbench.architectures.families.size import Size
from archbench.architectures.formats import bert, gpt2, llama, modernbert, t5
from archbench.architectures.formats.shape import SPECIAL_TOKENS
from archbench.tasks.base.example import BOS

FULL, LOCAL = "full_attention", "sliding_attention"
Refused = tuple[str, object, str | None]  # a field, what we do not have of it, and what is named if not the field
QUANTIZED: Refused = ("quantization_config", {"quant_method": "int8"}, None)


@dataclass(frozen=True)
class Family:
    """A class of models: configurations in ``shapes``, each with the fields of ``common``; the first is the usual one.

    ``is_tied`` says of a shape whether its output matrix is the token table. ``ours`` are variants and sizes that have
    this shape. ``changed`` has another value for each field that is read but those of ``fixed``, ``idle`` one for each
    that is ignored. ``width``: tokens of a batch.
    """

    module: Any
    config: type
    common: Mapping[str, Any]
    shapes: Mapping[str, Mapping[str, Any]]
    is_tied: Callable[[str], bool]
    ours: tuple[tuple[str, Size], ...]
    changed: Mapping[str, object]
    refused: tuple[Refused, ...]
    idle: Mapping[str, object] = field(default_factory=dict)
    fixed: frozenset[str] = frozenset()
    kernels: tuple[str, ...] = ("sdpa",)
    width: int = 11

    @property
    def usual(self) -> str:
        return next(iter(self.shapes))

    def configured(self, name: str = "", **more: Any) -> Any:
        return self.config(vocab_size=29, **{**self.common, **self.shapes[name or self.usual], **more})

    def theirs(self, name: str = "", **more: Any) -> Any:
        """A random model in evaluation mode."""
        return self.of(self.configured(name, **more), name)

    def of(self, config: Any, name: str = "") -> Any:
        return randomised(empty(self.module.SHAPE, config, self.is_tied(name or self.usual)), seed=0)


def sizes(width: int, heads: int, layers: int, hidden: int, **more: Any) -> dict[str, Any]:
    named = {"hidden_size": width, "num_attention_heads": heads, "num_hidden_layers": layers}
    return {**named, "intermediate_size": hidden, **more}


def rope(**parameters: object) -> dict[str, object]:
    return {"rope_type": "default", "rope_theta": 10_000.0, **parameters}


def ropes(full: float, local: float) -> dict[str, Any]:
    return {FULL: rope(rope_theta=full), LOCAL: rope(rope_theta=local)}


SMALL = Size(dim=12, heads=3, depth=2, hidden=17)
GPT2 = Family(
    gpt2,
    transformers.GPT2Config,
    dict(n_positions=24, **SPECIAL_TOKENS),
    {
        "usual": dict(n_embd=20, n_head=5, n_layer=3),
        "one head, one layer": dict(n_embd=7, n_head=1, n_layer=1, n_inner=13),
        "narrow heads": dict(n_embd=9, n_head=9, n_layer=2, n_inner=5, activation_function="relu"),
        "no scaling": dict(n_embd=12, n_head=3, n_layer=2, scale_attn_weights=False, activation_function="gelu"),
        "untied": dict(n_embd=16, n_head=2, n_layer=2, tie_word_embeddings=False, layer_norm_epsilon=0.01),
    },
    lambda name: name != "untied",
    (("gpt2", SMALL),),
    changed={
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
    },
    idle={
        "n_ctx": 12,
        "n_special": 3,
        "predict_special_tokens": True,
        "reorder_and_upcast_attn": True,
        "summary_activation": "tanh",
        "summary_first_dropout": 0.7,
        "summary_proj_to_labels": False,
        "summary_type": "last",
        "summary_use_proj": False,
    },
    refused=(
        QUANTIZED,
        ("activation_function", "quick_gelu", "quick_gelu"),
        ("add_cross_attention", True, None),
        ("is_causal", False, None),
        ("is_encoder_decoder", True, None),
        ("per_layer_config", {"0": {"n_inner": 7}}, None),
        ("scale_attn_by_inverse_layer_idx", True, None),
        ("sliding_window", 4, None),
    ),
)
LLAMA = Family(
    llama,
    transformers.LlamaConfig,
    SPECIAL_TOKENS,
    {
        "usual": sizes(20, 5, 3, 27),
        "one head, one layer": sizes(14, 1, 1, 5),
        "grouped, biases": sizes(
            24, 6, 2, 9, num_key_value_heads=2, attention_bias=True, mlp_bias=True, hidden_act="gelu"
        ),
        "one set of keys, wide heads, tied": sizes(
            9,
            3,
            2,
            31,
            num_key_value_heads=1,
            head_dim=8,
            rms_norm_eps=0.01,
            rope_parameters=rope(rope_theta=77.0),
            tie_word_embeddings=True,
        ),
    },
    lambda name: name.endswith(" tied"),
    tuple(("llama", Size(dim=24, heads=heads, depth=2, hidden=17)) for heads in (1, 2, 3, 4)),
    changed={
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
        "rope_parameters": rope(rope_theta=77.0),
        "vocab_size": 28,
    },
    idle={"max_position_embeddings": 3, "max_sequence_length": 3},
    refused=(
        QUANTIZED,
        ("head_dim", 7, None),
        ("hidden_act", "quick_gelu", "quick_gelu"),
        ("is_causal", False, None),
        ("is_encoder_decoder", True, None),
        ("per_layer_config", {"0": {"num_key_value_heads": 1}}, None),
        ("pretraining_tp", 2, "pretraining_tp = 2 is not supported; pretraining_tp = 1 is"),
        *(
            ("rope_parameters", rope(rope_type=kind, factor=2.0), f'rope_type = "{kind}"')
            for kind in ("linear", "dynamic", "yarn", "longrope", "llama3")
        ),
        ("rope_parameters", rope(partial_rotary_factor=0.5), "partial_rotary_factor = 0.5"),
        ("sliding_window", 4, None),
    ),
)
BERT = Family(
    bert,
    transformers.BertConfig,
    dict(max_position_embeddings=24, **SPECIAL_TOKENS),
    {
        "usual": sizes(20, 5, 3, 31),
        "one head, one layer": sizes(7, 1, 1, 3),
        "one segment": sizes(9, 9, 2, 5, type_vocab_size=1),
        "relu": sizes(12, 2, 2, 11, hidden_act="relu", layer_norm_eps=0.1),
        "untied": sizes(16, 2, 2, 8, hidden_act="gelu_new", tie_word_embeddings=False),
    },
    lambda name: name != "untied",
    (("bert", SMALL),),
    changed={
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
    },
    idle={
        "classifier_dropout": 0.5,
        "directionality": "bidi",
        "pooler_fc_size": 7,
        "pooler_num_attention_heads": 3,
        "pooler_num_fc_layers": 2,
        "pooler_size_per_head": 5,
        "pooler_type": "first_token_transform",
    },
    refused=(
        QUANTIZED,
        ("hidden_act", "quick_gelu", "quick_gelu"),
        ("is_decoder", True, None),
        ("add_cross_attention", True, None),
        ("position_embedding_type", "relative_key", None),
        ("embedding_size", 8, None),
        ("is_encoder_decoder", True, None),
    ),
    kernels=("sdpa", "eager"),
)
MODERNBERT = Family(  # local layers see 4 tokens to each side, 2 with the odd window
    modernbert,
    transformers.ModernBertConfig,
    {**SPECIAL_TOKENS, "cls_token_id": 1, "sep_token_id": 2},
    {
        "usual": sizes(20, 5, 5, 31, local_attention=8),
        "one head, one layer": sizes(6, 1, 1, 3, local_attention=8),
        "all biases": sizes(
            12,
            3,
            4,
            5,
            local_attention=8,
            hidden_activation="silu",
            classifier_activation="relu",
            **dict.fromkeys(("attention_bias", "classifier_bias", "mlp_bias", "norm_bias"), True),
        ),
        "local first, no bias at all": sizes(
            16,
            2,
            3,
            8,
            local_attention=8,
            layer_types=[LOCAL, FULL, LOCAL],
            rope_parameters=ropes(500.0, 10.0),
            decoder_bias=False,
            norm_eps=0.1,
        ),
        "untied, local alone, odd window": sizes(
            8, 2, 2, 9, layer_types=[LOCAL, LOCAL], local_attention=5, tie_word_embeddings=False
        ),
    },
    lambda name: not name.startswith("untied"),
    tuple(("modernbert", Size(dim=12, heads=3, depth=depth, hidden=17)) for depth in (1, 5)),
    changed={
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
        "rope_parameters": ropes(160_000.0, 20_000.0),
        "vocab_size": 28,
    },
    fixed=frozenset({"num_hidden_layers"}),  # layer_types have to have as many entries
    idle={  # those of the published checkpoints among them, which have the words of older releases
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
    },
    refused=(
        QUANTIZED,
        ("attention_dropout", 0.1, None),
        ("hidden_activation", "quick_gelu", "quick_gelu"),
        ("classifier_activation", "tanh", "tanh"),
        ("layer_types", [FULL, "chunked_attention", FULL, FULL, FULL], None),
        (
            "rope_parameters",
            {**ropes(160_000.0, 10_000.0), FULL: rope(rope_type="linear", factor=2.0, rope_theta=160_000.0)},
            f"rope_parameters.{FULL}",
        ),
        ("head_dim", 8, None),
        ("is_decoder", True, None),
    ),
    kernels=("sdpa", "eager"),
    width=27,  # much longer than the window
)


def t5_sizes(width: int, head: int, heads: int, hidden: int, layers: int, buckets: int, **more: Any) -> dict[str, Any]:
    named = {"d_model": width, "d_kv": head, "num_heads": heads, "d_ff": hidden, "num_layers": layers}
    return {**named, "relative_attention_num_buckets": buckets, **more}


V1_0 = t5_sizes(
    *(22, 5, 3, 17, 3, 8),
    num_decoder_layers=2,
    relative_attention_max_distance=9,
    feed_forward_proj="relu",
    layer_norm_epsilon=1e-4,
)
V1_1 = t5_sizes(
    *(15, 8, 2, 40, 2, 7),
    num_decoder_layers=1,
    relative_attention_max_distance=20,
    feed_forward_proj="gated-gelu",
    tie_word_embeddings=False,  # theirs: the output is not scaled
)
ONE_HEAD = {**V1_0, "d_kv": 6, "num_heads": 1, "num_layers": 1, "relative_attention_num_buckets": 32}
T5 = Family(
    t5,
    transformers.T5Config,
    {"dropout_rate": 0.2, "decoder_start_token_id": BOS, **SPECIAL_TOKENS},
    {
        "v1.0": V1_0,
        "v1.1": V1_1,
        "v1.0 untied": V1_0,
        "v1.1 tied": V1_1,
        "one head, gated silu, tied": {**ONE_HEAD, "num_decoder_layers": 1, "feed_forward_proj": "gated-silu"},
        "deep decoder, gelu": {**ONE_HEAD, "num_decoder_layers": 3, "feed_forward_proj": "gelu"},
    },
    lambda name: name == "v1.0" or name.endswith(" tied"),
    (("t5", SMALL), ("t5-gated", SMALL)),
    changed={
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
    },
    idle={
        "classifier_dropout": 0.5,
        "decoder_start_token_id": 5,
        "feed_forward_proj": "relu",  # another one would be another model, by the fields that are made of it
        "initializer_factor": 2.0,
        "n_positions": 7,
    },
    refused=(
        ("chunked_attention", 4, None),
        ("dense_act_fn", "tanh", '"tanh"'),
        ("is_decoder", True, None),
        ("is_encoder_decoder", False, None),
        ("output_gate", True, None),
    ),
)
FAMILIES = {"gpt2": GPT2, "llama": LLAMA, "bert": BERT, "modernbert": MODERNBERT, "t5": T5}
ENCODERS, GENERATORS = ("bert", "modernbert"), ("gpt2", "llama", "t5")
