"""Llama: rotary positions, pre-norm without biases, grouped keys and values, gated feed-forward."""

from collections.abc import Iterator

from archbench.architectures.components.attention import Attention
from archbench.architectures.components.embedding import Embedding, Head
from archbench.architectures.components.feedforward import GatedFeedForward
from archbench.architectures.components.norm import RMSNorm
from archbench.architectures.components.positions import Rotary
from archbench.architectures.components.stack import Block, Stack
from archbench.architectures.families.decoder import DecoderOnly
from archbench.architectures.formats.activation import activation, activation_name
from archbench.architectures.formats.shape import SPECIAL_TOKENS, Config, Link, Shape, checked
from archbench.tasks.base.errors import InputError

READ = {
    "attention_bias",
    "attention_dropout",
    "head_dim",
    "hidden_act",
    "hidden_size",
    "intermediate_size",
    "mlp_bias",
    "num_attention_heads",
    "num_hidden_layers",
    "num_key_value_heads",
    "rms_norm_eps",
    "rope_parameters",
    "vocab_size",
}
# Rotary positions of the default type have no end; the first checkpoints carry the second name.
IGNORED = {"max_position_embeddings", "max_sequence_length"}
FIXED = {"is_causal": True, "pretraining_tp": 1}


def build(config: Config, tied: bool) -> DecoderOnly:
    checked(config, READ, IGNORED, FIXED)
    dim = config.hidden_size
    head_dim = config.head_dim or dim // config.num_attention_heads
    if head_dim % 2:
        raise InputError(f"llama configuration: head_dim = {head_dim} is not supported; rotary positions need it even")

    def norm(dim: int) -> RMSNorm:
        return RMSNorm(dim, eps=config.rms_norm_eps)

    def block() -> Block:
        attention = Attention(
            dim,
            config.num_attention_heads,
            kv_heads=config.num_key_value_heads,
            head_dim=head_dim,
            bias=config.attention_bias,
            dropout=config.attention_dropout or 0.0,
        )
        function = activation(config.hidden_act)
        return Block(attention, GatedFeedForward(dim, config.intermediate_size, function, config.mlp_bias), norm)

    embedding = Embedding(config.vocab_size, dim)
    return DecoderOnly(
        embedding,
        Stack(config.num_hidden_layers, block, norm(dim)),
        Head(config.vocab_size, dim, tied=embedding if tied else None),
        positions=Rotary(head_dim, rotary_base(config)),
    )


def rotary_base(config: Config) -> float:
    """The base of rotary positions; raises ``InputError`` for any scaling of them."""
    parameters = dict(config.rope_parameters)
    base, kind = float(parameters.pop("rope_theta")), parameters.pop("rope_type", "default")
    parameters.pop("type", None)  # the name of rope_type in older configurations
    if kind != "default":
        raise InputError(f'llama configuration: rope_parameters: rope_type = "{kind}" is not supported; "default" is')
    for name, value in parameters.items():
        if value is not None:
            raise InputError(f"llama configuration: rope_parameters: {name} = {value!r} is not supported")
    return base


def describe(model: DecoderOnly) -> Config:
    from transformers import LlamaConfig

    block, positions, norm = model.stack.blocks[0], model.positions, model.stack.norm
    assert isinstance(block, Block) and isinstance(positions, Rotary) and isinstance(norm, RMSNorm)
    attention, feedforward = block.attention, block.feedforward
    assert isinstance(feedforward, GatedFeedForward) and isinstance(attention, Attention)
    assert attention.dim % attention.heads == 0
    vocabulary, dim = model.embedding.weight.shape
    return LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=dim,
        intermediate_size=feedforward.down.in_features,
        num_hidden_layers=len(model.stack.blocks),
        num_attention_heads=attention.heads,
        num_key_value_heads=attention.kv_heads,
        head_dim=attention.head_dim,
        hidden_act=activation_name(feedforward.activation),
        rms_norm_eps=norm.eps,
        rope_parameters={"rope_type": "default", "rope_theta": positions.base},
        attention_bias=attention.query_key_value.bias is not None,
        attention_dropout=attention.dropout,
        mlp_bias=feedforward.down.bias is not None,
        tie_word_embeddings=model.head.weight is model.embedding.weight,
        **SPECIAL_TOKENS,
    )


def links(config: Config, tied: bool) -> Iterator[Link]:
    yield Link("embedding.weight", ("model.embed_tokens.weight",))
    attention = ("weight", "bias") if config.attention_bias else ("weight",)
    feedforward = ("weight", "bias") if config.mlp_bias else ("weight",)
    for layer in range(config.num_hidden_layers):
        ours, theirs = f"stack.blocks.{layer}", f"model.layers.{layer}"
        for kind in attention:
            parts = tuple(f"{theirs}.self_attn.{part}_proj.{kind}" for part in "qkv")
            yield Link(f"{ours}.attention.query_key_value.{kind}", parts)
            yield Link(f"{ours}.attention.output.{kind}", (f"{theirs}.self_attn.o_proj.{kind}",))
        for kind in feedforward:
            parts = (f"{theirs}.mlp.gate_proj.{kind}", f"{theirs}.mlp.up_proj.{kind}")
            yield Link(f"{ours}.feedforward.gate_up.{kind}", parts)
            yield Link(f"{ours}.feedforward.down.{kind}", (f"{theirs}.mlp.down_proj.{kind}",))
        yield Link(f"{ours}.around_attention.norm.weight", (f"{theirs}.input_layernorm.weight",))
        yield Link(f"{ours}.around_feedforward.norm.weight", (f"{theirs}.post_attention_layernorm.weight",))
    yield Link("stack.norm.weight", ("model.norm.weight",))
    if not tied:
        yield Link("head.weight", ("lm_head.weight",))


SHAPE = Shape("llama", "LlamaForCausalLM", build, describe, links)
