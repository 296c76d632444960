"""ModernBERT: rotary positions of each layer's own, local and global attention, GeGLU, norms without biases."""

from collections.abc import Iterator

from archbench.architectures.components.attention import Attention
from archbench.architectures.components.embedding import Embedding, Head, Transform
from archbench.architectures.components.feedforward import GatedFeedForward
from archbench.architectures.components.norm import LayerNorm, NoNorm
from archbench.architectures.components.positions import NoPositions, Rotary
from archbench.architectures.components.stack import Block, Stack
from archbench.architectures.families.encoder import EncoderOnly
from archbench.architectures.formats.activation import activation, activation_name
from archbench.architectures.formats.shape import SPECIAL_TOKENS, Config, Link, Shape, checked
from archbench.tasks.base.errors import InputError

READ = {
    "attention_bias",
    "classifier_activation",
    "classifier_bias",
    "decoder_bias",
    "embedding_dropout",
    "hidden_activation",
    "hidden_size",
    "intermediate_size",
    "layer_types",
    "local_attention",
    "mlp_bias",
    "mlp_dropout",
    "norm_bias",
    "norm_eps",
    "num_attention_heads",
    "num_hidden_layers",
    "rope_parameters",
    "vocab_size",
}
# Of initialisation, of the loss, of classifiers, of kernels, and of older releases, where layer_types and
# rope_parameters now say it.
IGNORED = {
    "classifier_dropout",
    "classifier_pooling",
    "cls_token_id",
    "deterministic_flash_attn",
    "global_attn_every_n_layers",
    "global_rope_theta",
    "initializer_cutoff_factor",
    "layer_norm_eps",
    "local_rope_theta",
    "max_position_embeddings",
    "position_embedding_type",
    "reference_compile",
    "repad_logits_with_grad",
    "sparse_pred_ignore_index",
    "sparse_prediction",
}
# Neither holds attention_dropout, so only its default 0 is taken: theirs also falls on what attention adds to the
# residual stream, where a block of ours drops what its feed-forward network adds as well.
FULL, LOCAL = "full_attention", "sliding_attention"


def build(config: Config, tied: bool) -> EncoderOnly:
    checked(config, READ, IGNORED)
    dim = config.hidden_size
    bases = {kind: _base(config, kind) for kind in sorted(set(config.layer_types))}

    def norm(dim: int) -> LayerNorm:
        return LayerNorm(dim, bias=config.norm_bias, eps=config.norm_eps)

    def block(layer: int) -> Block:
        kind, heads = config.layer_types[layer], config.num_attention_heads
        window = config.local_attention // 2 if kind == LOCAL else None
        positions = Rotary(dim // heads, bases[kind])
        attention = Attention(dim, heads, bias=config.attention_bias, window=window, positions=positions)
        act, dropout = activation(config.hidden_activation), config.mlp_dropout
        made = Block(attention, GatedFeedForward(dim, config.intermediate_size, act, config.mlp_bias, dropout), norm)
        if layer == 0:
            made.around_attention = NoNorm(norm(dim))  # the embedding is normed already
        return made

    embedding = Embedding(config.vocab_size, dim, norm=norm(dim), dropout=config.embedding_dropout)
    transform = Transform(dim, activation(config.classifier_activation), norm(dim), config.classifier_bias)
    return EncoderOnly(
        embedding,
        Stack(config.num_hidden_layers, block, norm(dim)),
        Head(config.vocab_size, dim, embedding if tied else None, bias=config.decoder_bias, transform=transform),
        positions=NoPositions(),
        canvas=1,
    )


def describe(model: EncoderOnly) -> Config:
    from transformers import ModernBertConfig

    blocks = [block for block in model.stack.blocks if isinstance(block, Block)]
    attentions = [block.attention for block in blocks if isinstance(block.attention, Attention)]
    feedforward, norm = blocks[0].feedforward, model.stack.norm
    transform = model.head.transform
    assert (
        isinstance(feedforward, GatedFeedForward) and isinstance(norm, LayerNorm) and isinstance(transform, Transform)
    )
    vocabulary, dim = model.embedding.weight.shape
    assert dim % attentions[0].heads == 0
    windows = [attention.window for attention in attentions if attention.window is not None]
    return ModernBertConfig(
        vocab_size=vocabulary,
        hidden_size=dim,
        intermediate_size=feedforward.down.in_features,
        num_hidden_layers=len(blocks),
        num_attention_heads=attentions[0].heads,
        hidden_activation=activation_name(feedforward.activation),
        norm_eps=norm.eps,
        norm_bias=norm.bias is not None,
        attention_bias=attentions[0].output.bias is not None,
        layer_types=[_kind(attention) for attention in attentions],
        rope_parameters={_kind(attention): _rope(attention) for attention in attentions},
        local_attention=2 * windows[0] if windows else ModernBertConfig().local_attention,
        embedding_dropout=model.embedding.dropout.p,
        mlp_bias=feedforward.down.bias is not None,
        mlp_dropout=feedforward.dropout.p,
        decoder_bias=model.head.bias is not None,
        classifier_bias=transform.dense.bias is not None,
        classifier_activation=activation_name(transform.activation),
        tie_word_embeddings=model.head.weight is model.embedding.weight,
        cls_token_id=SPECIAL_TOKENS["bos_token_id"],
        sep_token_id=SPECIAL_TOKENS["eos_token_id"],
        **SPECIAL_TOKENS,
    )


def links(config: Config, tied: bool) -> Iterator[Link]:
    yield Link("embedding.weight", ("model.embeddings.tok_embeddings.weight",))
    if not tied:
        yield Link("head.weight", ("decoder.weight",))
    if config.decoder_bias:
        yield Link("head.bias", ("decoder.bias",))
    for ours, (theirs, biased) in _parts(config).items():
        for kind in ("weight", "bias") if biased else ("weight",):
            yield Link(f"{ours}.{kind}", (f"{theirs}.{kind}",))


def _parts(config: Config) -> dict[str, tuple[str, bool]]:
    """Which part of theirs holds each part of ours, and whether it has a bias besides its weight."""
    parts = {
        "embedding.norm": ("model.embeddings.norm", config.norm_bias),
        "stack.norm": ("model.final_norm", config.norm_bias),
        "head.transform.dense": ("head.dense", config.classifier_bias),
        "head.transform.norm": ("head.norm", config.norm_bias),
    }
    for layer in range(config.num_hidden_layers):
        ours, theirs = f"stack.blocks.{layer}", f"model.layers.{layer}"
        parts[f"{ours}.attention.query_key_value"] = (f"{theirs}.attn.Wqkv", config.attention_bias)
        parts[f"{ours}.attention.output"] = (f"{theirs}.attn.Wo", config.attention_bias)
        if layer > 0:
            parts[f"{ours}.around_attention.norm"] = (f"{theirs}.attn_norm", config.norm_bias)
        parts[f"{ours}.feedforward.gate_up"] = (f"{theirs}.mlp.Wi", config.mlp_bias)
        parts[f"{ours}.feedforward.down"] = (f"{theirs}.mlp.Wo", config.mlp_bias)
        parts[f"{ours}.around_feedforward.norm"] = (f"{theirs}.mlp_norm", config.norm_bias)
    return parts


def _base(config: Config, kind: str) -> float:
    """The rotary base of a kind of layer; raises ``InputError`` for other kinds and for scaled frequencies."""
    if kind not in (FULL, LOCAL):
        raise InputError(f"modernbert configuration: layer_types: {kind} is not supported; {FULL} and {LOCAL} are")
    rope = dict(config.rope_parameters[kind])
    base = rope.pop("rope_theta")
    if rope != {"rope_type": "default"}:
        raise InputError(f"modernbert configuration: rope_parameters.{kind}: {rope} is not supported; the default is")
    return float(base)


def _kind(attention: Attention) -> str:
    return FULL if attention.window is None else LOCAL


def _rope(attention: Attention) -> dict[str, object]:
    assert isinstance(attention.positions, Rotary)
    return {"rope_type": "default", "rope_theta": attention.positions.base}


SHAPE = Shape("modernbert", "ModernBertForMaskedLM", build, describe, links)
