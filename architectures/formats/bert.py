"""BERT: post-norm with biases, learned positions, one segment throughout, a transform before the tied output matrix."""

from collections.abc import Iterator

from archbench.architectures.components.attention import Attention
from archbench.architectures.components.embedding import Embedding, Head, Transform
from archbench.architectures.components.feedforward import FeedForward
from archbench.architectures.components.norm import LayerNorm, PostNorm
from archbench.architectures.components.positions import Learned
from archbench.architectures.components.stack import Block, Stack
from archbench.architectures.families.encoder import EncoderOnly
from archbench.architectures.formats.activation import activation, activation_name
from archbench.architectures.formats.shape import SPECIAL_TOKENS, Config, Link, Shape, checked

READ = {
    "attention_probs_dropout_prob",
    "hidden_act",
    "hidden_dropout_prob",
    "hidden_size",
    "intermediate_size",
    "layer_norm_eps",
    "max_position_embeddings",
    "num_attention_heads",
    "num_hidden_layers",
    "type_vocab_size",
    "vocab_size",
}
# Of heads that a masked language model does not have, and of older releases.
IGNORED = {
    "classifier_dropout",
    "directionality",
    "pooler_fc_size",
    "pooler_num_attention_heads",
    "pooler_num_fc_layers",
    "pooler_size_per_head",
    "pooler_type",
}
FIXED = {"position_embedding_type": "absolute"}  # a field of older releases


def build(config: Config, tied: bool) -> EncoderOnly:
    checked(config, READ, IGNORED, FIXED)
    dim, dropout, act = config.hidden_size, config.hidden_dropout_prob, activation(config.hidden_act)

    def norm(dim: int) -> LayerNorm:
        return LayerNorm(dim, bias=True, eps=config.layer_norm_eps)

    def block() -> Block:
        weights = config.attention_probs_dropout_prob
        attention = Attention(dim, config.num_attention_heads, bias=True, dropout=weights)
        feedforward = FeedForward(dim, config.intermediate_size, act, bias=True)
        return Block(attention, feedforward, norm, wiring=PostNorm, dropout=dropout)

    segments = config.type_vocab_size
    embedding = Embedding(config.vocab_size, dim, segments=segments, norm=norm(dim), dropout=dropout)
    transform = Transform(dim, act, norm(dim), bias=True)
    return EncoderOnly(
        embedding,
        Stack(config.num_hidden_layers, block),
        Head(config.vocab_size, dim, tied=embedding if tied else None, bias=True, transform=transform),
        positions=Learned(config.max_position_embeddings, dim),
        canvas=1,
    )


def describe(model: EncoderOnly) -> Config:
    from transformers import BertConfig

    block, positions, embedding = model.stack.blocks[0], model.positions, model.embedding
    assert isinstance(block, Block) and isinstance(positions, Learned) and isinstance(block.feedforward, FeedForward)
    assert embedding.segments is not None and isinstance(embedding.norm, LayerNorm)
    vocabulary, dim = embedding.weight.shape
    attention = block.attention
    assert isinstance(attention, Attention) and dim % attention.heads == 0
    return BertConfig(
        vocab_size=vocabulary,
        hidden_size=dim,
        num_hidden_layers=len(model.stack.blocks),
        num_attention_heads=attention.heads,
        intermediate_size=block.feedforward.up.out_features,
        hidden_act=activation_name(block.feedforward.activation),
        hidden_dropout_prob=block.dropout.p,
        attention_probs_dropout_prob=attention.dropout,
        max_position_embeddings=positions.weight.shape[0],
        type_vocab_size=embedding.segments.shape[0],
        layer_norm_eps=embedding.norm.eps,
        tie_word_embeddings=model.head.weight is embedding.weight,
        **SPECIAL_TOKENS,
    )


def links(config: Config, tied: bool) -> Iterator[Link]:
    embeddings, head = "bert.embeddings", "cls.predictions"
    yield Link("embedding.weight", (f"{embeddings}.word_embeddings.weight",))
    yield Link("embedding.segments", (f"{embeddings}.token_type_embeddings.weight",))
    yield Link("positions.weight", (f"{embeddings}.position_embeddings.weight",))
    if not tied:
        yield Link("head.weight", (f"{head}.decoder.weight",))
    # their output matrix has a bias under two names, and reads the second; the two are one tensor where it is tied
    yield Link("head.bias", (f"{head}.decoder.bias",), copies=(f"{head}.bias",))
    parts: dict[str, tuple[str, ...]] = {
        "embedding.norm": (f"{embeddings}.LayerNorm",),
        "head.transform.dense": (f"{head}.transform.dense",),
        "head.transform.norm": (f"{head}.transform.LayerNorm",),
    }
    for layer in range(config.num_hidden_layers):
        parts |= _layer(f"stack.blocks.{layer}", f"bert.encoder.layer.{layer}")
    for ours, theirs in parts.items():
        for kind in ("weight", "bias"):
            yield Link(f"{ours}.{kind}", tuple(f"{module}.{kind}" for module in theirs))


def _layer(ours: str, theirs: str) -> dict[str, tuple[str, ...]]:
    """Which parts of one of their layers hold each part of ours; every part has a weight and a bias."""
    rows = tuple(f"{theirs}.attention.self.{name}" for name in ("query", "key", "value"))
    return {
        f"{ours}.attention.query_key_value": rows,
        f"{ours}.attention.output": (f"{theirs}.attention.output.dense",),
        f"{ours}.around_attention.norm": (f"{theirs}.attention.output.LayerNorm",),
        f"{ours}.feedforward.up": (f"{theirs}.intermediate.dense",),
        f"{ours}.feedforward.down": (f"{theirs}.output.dense",),
        f"{ours}.around_feedforward.norm": (f"{theirs}.output.LayerNorm",),
    }


SHAPE = Shape("bert", "BertForMaskedLM", build, describe, links)
