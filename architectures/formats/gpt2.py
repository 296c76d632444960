"""GPT-2: learned positions, pre-norm with biases, fused attention matrices stored as (inputs, outputs)."""

from collections.abc import Iterator

from archbench.architectures.components.attention import Attention
from archbench.architectures.components.embedding import Embedding, Head
from archbench.architectures.components.feedforward import FeedForward
from archbench.architectures.components.norm import LayerNorm
from archbench.architectures.components.positions import Learned
from archbench.architectures.components.stack import Block, Stack
from archbench.architectures.families.decoder import DecoderOnly
from archbench.architectures.formats.activation import activation, activation_name
from archbench.architectures.formats.shape import SPECIAL_TOKENS, Config, Link, Shape, checked

READ = {
    "activation_function",
    "attn_pdrop",
    "embd_pdrop",
    "layer_norm_epsilon",
    "n_embd",
    "n_head",
    "n_inner",
    "n_layer",
    "n_positions",
    "resid_pdrop",
    "scale_attn_weights",
    "vocab_size",
}
IGNORED = {
    "n_ctx",  # n_positions under an older name; the first checkpoints carry both
    "n_special",
    "predict_special_tokens",
    "reorder_and_upcast_attn",  # another order of the same operations, in float32
    "summary_activation",
    "summary_first_dropout",
    "summary_proj_to_labels",
    "summary_type",
    "summary_use_proj",
}
FIXED = {"is_causal": True}


def build(config: Config, tied: bool) -> DecoderOnly:
    checked(config, READ, IGNORED, FIXED)
    dim = config.n_embd

    def norm(dim: int) -> LayerNorm:
        return LayerNorm(dim, bias=True, eps=config.layer_norm_epsilon)

    def block() -> Block:
        scale = None if config.scale_attn_weights else 1.0
        attention = Attention(dim, config.n_head, bias=True, scale=scale, dropout=config.attn_pdrop)
        hidden = 4 * dim if config.n_inner is None else config.n_inner
        feedforward = FeedForward(dim, hidden, activation(config.activation_function), bias=True)
        return Block(attention, feedforward, norm, dropout=config.resid_pdrop)

    embedding = Embedding(config.vocab_size, dim, dropout=config.embd_pdrop)
    return DecoderOnly(
        embedding,
        Stack(config.n_layer, block, norm(dim)),
        Head(config.vocab_size, dim, tied=embedding if tied else None),
        positions=Learned(config.n_positions, dim),
    )


def describe(model: DecoderOnly) -> Config:
    from transformers import GPT2Config

    block, positions = model.stack.blocks[0], model.positions
    assert isinstance(block, Block) and isinstance(positions, Learned) and isinstance(block.feedforward, FeedForward)
    norm, attention = model.stack.norm, block.attention
    assert isinstance(norm, LayerNorm) and isinstance(attention, Attention) and attention.dim % attention.heads == 0
    vocabulary, dim = model.embedding.weight.shape
    return GPT2Config(
        vocab_size=vocabulary,
        n_positions=positions.weight.shape[0],
        n_embd=dim,
        n_layer=len(model.stack.blocks),
        n_head=attention.heads,
        n_inner=block.feedforward.up.out_features,
        activation_function=activation_name(block.feedforward.activation),
        resid_pdrop=block.dropout.p,
        embd_pdrop=model.embedding.dropout.p,
        attn_pdrop=attention.dropout,
        layer_norm_epsilon=norm.eps,
        scale_attn_weights=attention.scale is None,
        tie_word_embeddings=model.head.weight is model.embedding.weight,
        **SPECIAL_TOKENS,
    )


def links(config: Config, tied: bool) -> Iterator[Link]:
    yield Link("embedding.weight", ("transformer.wte.weight",))
    yield Link("positions.weight", ("transformer.wpe.weight",))
    parts = {
        "around_attention.norm": "ln_1",
        "attention.query_key_value": "attn.c_attn",
        "attention.output": "attn.c_proj",
        "around_feedforward.norm": "ln_2",
        "feedforward.up": "mlp.c_fc",
        "feedforward.down": "mlp.c_proj",
    }
    for layer in range(config.n_layer):
        for ours, theirs in parts.items():
            for kind in ("weight", "bias"):
                matrix = kind == "weight" and not theirs.startswith("ln")
                their_names = (f"transformer.h.{layer}.{theirs}.{kind}",)
                yield Link(f"stack.blocks.{layer}.{ours}.{kind}", their_names, transposed=matrix)
    yield Link("stack.norm.weight", ("transformer.ln_f.weight",))
    yield Link("stack.norm.bias", ("transformer.ln_f.bias",))
    if not tied:
        yield Link("head.weight", ("lm_head.weight",))


SHAPE = Shape("gpt2", "GPT2LMHeadModel", build, describe, links)
