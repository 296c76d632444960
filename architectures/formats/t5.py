"""T5: relative bias, no biases, unscaled scores, RMS norms; v1.0 (ReLU, tied, scaled output) and v1.1 (gated, untied).

`scale_decoder_outputs` now has the meaning that `tie_word_embeddings` had in published v1.1 configurations. The
tensors show whether the output matrix is the token table.
"""

from collections.abc import Iterator

from torch import nn

from archbench.architectures.components.attention import Attention
from archbench.architectures.components.embedding import Embedding, Head
from archbench.architectures.components.feedforward import FeedForward, GatedFeedForward
from archbench.architectures.components.norm import RMSNorm
from archbench.architectures.components.positions import RelativeBias
from archbench.architectures.components.stack import Block, Stack
from archbench.architectures.families.encoder_decoder import EncoderDecoder
from archbench.architectures.formats.activation import activation, activation_name
from archbench.architectures.formats.shape import SPECIAL_TOKENS, Config, Link, Shape, checked
from archbench.tasks.base.example import BOS

READ = {
    "d_ff",
    "d_kv",
    "d_model",
    "dense_act_fn",
    "dropout_rate",
    "is_gated_act",
    "layer_norm_epsilon",
    "num_decoder_layers",
    "num_heads",
    "num_layers",
    "relative_attention_max_distance",
    "relative_attention_num_buckets",
    "scale_decoder_outputs",
    "vocab_size",
}
IGNORED = {
    "classifier_dropout",
    "decoder_start_token_id",
    "feed_forward_proj",  # is_gated_act and dense_act_fn are made of it
    "initializer_factor",
    "n_positions",
}
FIXED = {"is_causal": True, "is_decoder": False, "is_encoder_decoder": True}


def build(config: Config, tied: bool) -> EncoderDecoder:
    checked(config, READ, IGNORED, FIXED)
    dim, heads, dropout = config.d_model, config.num_heads, config.dropout_rate

    def norm(dim: int) -> RMSNorm:
        return RMSNorm(dim, config.layer_norm_epsilon)

    def attention() -> Attention:
        return Attention(dim, heads, head_dim=config.d_kv, scale=1.0, dropout=dropout)

    def block(cross: bool) -> Block:
        kind = GatedFeedForward if config.is_gated_act else FeedForward
        feedforward = kind(dim, config.d_ff, activation(config.dense_act_fn), dropout=dropout)
        return Block(attention(), feedforward, norm, cross=attention() if cross else None, dropout=dropout)

    def stack(depth: int, cross: bool) -> Stack:
        return Stack(depth, lambda: block(cross), nn.Sequential(norm(dim), nn.Dropout(dropout)))

    def positions(bidirectional: bool) -> RelativeBias:
        buckets, distance = config.relative_attention_num_buckets, config.relative_attention_max_distance
        return RelativeBias(heads, bidirectional, buckets, distance)

    embedding = Embedding(config.vocab_size, dim, dropout=dropout)
    scale = dim**-0.5 if config.scale_decoder_outputs else 1.0
    return EncoderDecoder(
        embedding,
        stack(config.num_layers, cross=False),
        stack(config.num_decoder_layers, cross=True),
        Head(config.vocab_size, dim, tied=embedding if tied else None, scale=scale),
        positions=positions(bidirectional=True),
        decoder_positions=positions(bidirectional=False),
    )


def describe(model: EncoderDecoder) -> Config:
    from transformers import T5Config

    block, positions = model.encoder.blocks[0], model.positions
    assert isinstance(block, Block) and isinstance(positions, RelativeBias)
    attention, feedforward, norm = block.attention, block.feedforward, block.around_attention.norm
    assert isinstance(feedforward, FeedForward | GatedFeedForward) and isinstance(norm, RMSNorm)
    assert isinstance(attention, Attention)
    gated, name = isinstance(feedforward, GatedFeedForward), activation_name(feedforward.activation)
    if gated:
        name = "gated-" + name.removesuffix("_new")  # theirs: "gated-gelu" is the approximation, as in v1.1
    vocabulary, dim = model.embedding.weight.shape
    return T5Config(
        vocab_size=vocabulary,
        d_model=dim,
        d_kv=attention.head_dim,
        d_ff=feedforward.down.in_features,
        num_layers=len(model.encoder.blocks),
        num_decoder_layers=len(model.decoder.blocks),
        num_heads=attention.heads,
        relative_attention_num_buckets=positions.buckets,
        relative_attention_max_distance=positions.max_distance,
        dropout_rate=block.dropout.p,
        layer_norm_epsilon=norm.eps,
        feed_forward_proj=name,
        tie_word_embeddings=model.head.scale != 1.0,  # theirs: whether the output is scaled
        decoder_start_token_id=BOS,
        **SPECIAL_TOKENS,
    )


def links(config: Config, tied: bool) -> Iterator[Link]:
    yield Link("embedding.weight", ("shared.weight",))
    for ours, theirs in (("positions", "encoder"), ("decoder_positions", "decoder")):
        bias = f"{theirs}.block.0.layer.0.SelfAttention.relative_attention_bias.weight"
        yield Link(f"{ours}.weight", (bias,))
    yield from _stack("encoder", config.num_layers, config.is_gated_act)
    yield from _stack("decoder", config.num_decoder_layers, config.is_gated_act)
    if not tied:
        yield Link("head.weight", ("lm_head.weight",))


def _stack(stack: str, depth: int, gated: bool) -> Iterator[Link]:
    sublayers = ["attention", "cross", "feedforward"] if stack == "decoder" else ["attention", "feedforward"]
    for layer in range(depth):
        for index, ours in enumerate(sublayers):
            block, sublayer = f"{stack}.blocks.{layer}", f"{stack}.block.{layer}.layer.{index}"
            yield Link(f"{block}.around_{ours}.norm.weight", (f"{sublayer}.layer_norm.weight",))
            for matrix, parts in _matrices(ours, gated).items():
                yield Link(f"{block}.{ours}.{matrix}.weight", tuple(f"{sublayer}.{part}.weight" for part in parts))
    yield Link(f"{stack}.norm.0.weight", (f"{stack}.final_layer_norm.weight",))


def _matrices(sublayer: str, gated: bool) -> dict[str, list[str]]:
    """Matrices of one of our sublayers, and the parts of theirs that are their rows."""
    if sublayer == "feedforward":
        rows = {"gate_up": ["wi_0", "wi_1"]} if gated else {"up": ["wi"]}
        theirs, rows = "DenseReluDense", {**rows, "down": ["wo"]}
    else:
        theirs = "SelfAttention" if sublayer == "attention" else "EncDecAttention"
        rows = {"query_key_value": ["q", "k", "v"], "output": ["o"]}
    return {matrix: [f"{theirs}.{part}" for part in parts] for matrix, parts in rows.items()}


SHAPE = Shape("t5", "T5ForConditionalGeneration", build, describe, links)
