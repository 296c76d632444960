"""The ablations: each is a default variant with a part replaced. `archbench list ablations` lists them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import FunctionType, ModuleType
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from archbench.architectures import (
    Alibi,
    Attention,
    Average,
    Block,
    Canon,
    DecoderOnly,
    Embedding,
    EncoderDecoder,
    EncoderOnly,
    Experts,
    Family,
    FeedForward,
    GatedAttention,
    GatedDelta,
    GatedFeedForward,
    Head,
    Learned,
    Limits,
    NoFeedForward,
    NoNorm,
    NoPositions,
    NoResidual,
    PostNorm,
    RelativeBias,
    RMSNorm,
    Rotary,
    Sinusoidal,
    Size,
    Stack,
    filled,
    gelu_tanh,
)
from archbench.architectures.variants import decoder, encoder, encoder_decoder

SUBJECTS = {decoder: "Decoder-only model", encoder: "Encoder-only model", encoder_decoder: "Encoder-decoder model"}
Parts = Mapping[str, Callable[..., Any]]  # a name that the default's file imports -> its replacement


@dataclass(frozen=True)
class Ablation:
    """The ``default`` variant with some ``parts`` replaced.

    ``parts(size, limits)`` makes them for a size; their random weights are drawn before the model's.

    ``difference`` completes "Decoder-only model ...". ``breaks`` are checks of the contract that it fails.
    """

    default: ModuleType
    difference: str
    parts: Callable[[Size, Limits], Parts]
    breaks: tuple[str, ...] = ()

    @property
    def document(self) -> str:
        return f"{SUBJECTS[self.default]} {self.difference}."

    def build(self, size: Size, limits: Limits) -> Family:
        """The default's ``build``, run with these parts in place of those that its file imports."""
        imported, parts = vars(self.default), self.parts(size, limits)
        assert parts.keys() <= imported.keys()
        model: Family = FunctionType(self.default.build.__code__, {**imported, **parts})(size, limits)
        return model


def always(**parts: Callable[..., Any]) -> Callable[[Size, Limits], Parts]:
    """These parts, whatever the size."""
    return lambda size, limits: parts


def positions(scheme: nn.Module) -> Parts:
    return {"Rotary": lambda head_dim: scheme}


def alibi(size: Size, limits: Limits) -> Parts:
    return positions(Alibi(size.heads))


def learned(size: Size, limits: Limits) -> Parts:
    return positions(Learned(limits.length, size.dim))


def sinusoidal(size: Size, limits: Limits) -> Parts:
    return positions(Sinusoidal(size.dim))


def no_positions(size: Size, limits: Limits) -> Parts:
    return positions(NoPositions())


def biases(size: Size, limits: Limits) -> Parts:
    return positions(RelativeBias(size.heads, bidirectional=True))


def causal_biases(size: Size, limits: Limits) -> Parts:
    return positions(RelativeBias(size.heads, bidirectional=False))


def biases_of_each(size: Size, limits: Limits) -> Parts:
    """Relative biases, one table for the encoder and one for the decoder."""
    encoders = biases(size, limits)
    decoders = RelativeBias(size.heads, bidirectional=False)
    return {**encoders, "EncoderDecoder": partial(EncoderDecoder, decoder_positions=decoders)}


def heads(count: int) -> Callable[[Size, Limits], Parts]:
    def parts(size: Size, limits: Limits) -> Parts:
        return {"Attention": lambda dim, heads: Attention(dim, count), **positions(Rotary(size.dim // count))}

    return parts


def without_last_norm(depth: int, block: Callable[[], Block], norm: nn.Module) -> Stack:
    return Stack(depth, block)


def relu_squared(x: Tensor) -> Tensor:
    return F.relu(x).square()


def canon(depth: int, block: Callable[[], Block], norm: nn.Module) -> Stack:
    stack = Stack(depth, block, norm)
    for layer in stack.blocks:
        layer.attention = Canon(layer.attention)  # type: ignore[arg-type]
    return stack


def local_and_global(depth: int, block: Callable[[], Block], norm: nn.Module) -> Stack:
    """Every second layer, the first to begin with, reads the nearest tokens only."""
    stack = Stack(depth, block, norm)
    for layer in stack.blocks[::2]:
        layer.attention.window = NEAREST  # type: ignore[union-attr]
    return stack


def hybrid(size: Size, limits: Limits) -> Parts:
    """Three layers with a gated delta rule, then one with attention, and so on."""

    def stack(depth: int, block: Callable[[], Block], norm: nn.Module) -> Stack:
        made = Stack(depth, block, norm)
        for number, layer in enumerate(made.blocks):
            if number % 4 != 3:
                layer.attention = Canon(GatedDelta(size.dim, size.heads))
        return made

    return {"Stack": stack}


def tied(family: type[Family]) -> Callable[..., Family]:
    """A tied head divides by the square root of the width as in T5 (1910.10683), as the table's values are large."""

    def build(embedding: Embedding, *others: nn.Module, **named: Any) -> Family:
        vocabulary, dim = embedding.weight.shape
        head = Head(vocabulary, dim, tied=embedding, scale=dim**-0.5)
        return family(embedding, *others[:-1], head, **named)

    return build


NEAREST = 16  # tokens to each side that a local layer reads

ALIBI = "with a penalty on distance in place of rotary positions (ALiBi, 2108.12409)"
BIASES = "with a trained bias for each distance, in place of rotary positions (T5, 1910.10683)"
LEARNED = "with a learned vector for each position, in place of rotary positions (1810.04805)"
SINUSOIDAL = "with sines and cosines added to its embeddings, in place of rotary positions (1706.03762)"
CANON = "whose attention reads each token together with the three before it (Canon-A, 2512.17351)"
EXPERTS = "with four experts in the place of each feed-forward network, of which a token uses one (2101.03961)"
GATED = "with a gate on what each attention head returns (2505.06708)"
LOCAL = "in which every second layer reads 16 tokens to each side only (2004.05150)"
QK_NORM = "with a norm on queries and keys (2309.14322)"
RELU_SQUARED = "with an ungated feed-forward network of squared ReLUs (2109.08668)"
TIED = "whose token table is also its output matrix (tied, 1608.05859)"

ABLATIONS = {
    "decoder-alibi": Ablation(decoder, ALIBI, alibi),
    "decoder-average": Ablation(
        decoder,
        "that averages over what each position sees, in place of attention (1805.00631)",
        always(Attention=lambda dim, heads: Average(dim)),
    ),
    "decoder-canon": Ablation(decoder, CANON, always(Stack=canon)),
    "decoder-eight-heads": Ablation(
        decoder, "with eight attention heads in each layer, at any width (1905.10650)", heads(8)
    ),
    "decoder-experts": Ablation(decoder, EXPERTS, always(GatedFeedForward=Experts)),
    "decoder-four-heads": Ablation(
        decoder, "with four attention heads in each layer, at any width (1905.10650)", heads(4)
    ),
    "decoder-gated-attention": Ablation(decoder, GATED, always(Attention=GatedAttention)),
    "decoder-gelu": Ablation(
        decoder,
        "with an ungated GELU feed-forward network (1606.08415)",
        always(GatedFeedForward=partial(FeedForward, activation=gelu_tanh)),
    ),
    "decoder-hybrid": Ablation(
        decoder,
        "in which three of four layers have a gated delta rule behind a short convolution, in the place of attention "
        "(2412.06464)",
        hybrid,
    ),
    "decoder-learned-positions": Ablation(decoder, LEARNED, learned),
    "decoder-linear": Ablation(
        decoder,
        "with a linear feed-forward network: two matrices without a nonlinearity",
        always(GatedFeedForward=lambda dim, hidden: FeedForward(dim, hidden, nn.Identity())),
    ),
    "decoder-local": Ablation(decoder, LOCAL, always(Stack=local_and_global)),
    "decoder-no-feedforward": Ablation(
        decoder,
        "with attention layers only; the parameters of feed-forward networks go into depth (2103.03404)",
        always(GatedFeedForward=lambda dim, hidden: NoFeedForward()),
    ),
    # Its loss falls to zero and is not a likelihood; without seeing the targets it generates nonsense.
    "decoder-no-mask": Ablation(
        decoder,
        "without a causal mask: it sees the tokens that it is trained to predict",
        always(DecoderOnly=partial(DecoderOnly, masked=False)),
        breaks=(
            "no_look_ahead",
            "forward_is_prefill_and_decode",  # these follow from the first
            "caches_last",
            "likelihood_sums_to_one",
            "writing_follows_scoring",
            "sampling_follows_scoring",
            "beams_find_the_likeliest",
            "gradients_stay_in_place",
            "long_texts_are_read_alike",
            "long_answers_are_greedy",
            "the_training_loss_is_the_likelihood",
            "unusual_texts_and_weights_are_read_alike",
            "large_ids_are_read_alike",
            "dropout_depends_on_chance_alone",
        ),
    ),
    "decoder-no-norm": Ablation(
        decoder,
        "without any norm (1901.09321 describes how to train one)",
        always(Block=partial(Block, wiring=NoNorm), Stack=without_last_norm),
    ),
    "decoder-no-positions": Ablation(
        decoder, "without positions: only the causal mask encodes order (2305.19466)", no_positions
    ),
    # Output matrices that start at zero would give zero output here, so they start like all others.
    "decoder-no-residual": Ablation(
        decoder,
        "without residual connections: sublayers replace the stream instead of adding to it (2103.03404)",
        always(
            Attention=lambda dim, heads: filled(Attention(dim, heads)),
            GatedFeedForward=lambda dim, hidden: filled(GatedFeedForward(dim, hidden)),
            Block=partial(Block, wiring=NoResidual),
        ),
    ),
    "decoder-one-head": Ablation(decoder, "with one attention head in each layer, at any width (1905.10650)", heads(1)),
    "decoder-post-norm": Ablation(
        decoder,
        "with the norm after each sublayer instead of before it (post-norm, 1706.03762; 2002.04745)",
        always(Block=partial(Block, wiring=PostNorm), Stack=without_last_norm),
    ),
    "decoder-qk-norm": Ablation(decoder, QK_NORM, always(Attention=partial(Attention, qk_norm=True))),
    "decoder-relative-bias": Ablation(decoder, BIASES, causal_biases),
    "decoder-relu": Ablation(
        decoder,
        "with an ungated ReLU feed-forward network (1706.03762)",
        always(GatedFeedForward=partial(FeedForward, activation=F.relu)),
    ),
    "decoder-relu-squared": Ablation(
        decoder, RELU_SQUARED, always(GatedFeedForward=partial(FeedForward, activation=relu_squared))
    ),
    "decoder-rms-norm": Ablation(decoder, "with RMSNorm in place of LayerNorm (1910.07467)", always(LayerNorm=RMSNorm)),
    "decoder-sinusoidal": Ablation(decoder, SINUSOIDAL, sinusoidal),
    "decoder-tied": Ablation(decoder, TIED, always(DecoderOnly=tied(DecoderOnly))),
    "encoder-alibi": Ablation(encoder, ALIBI, alibi),
    "encoder-learned-positions": Ablation(encoder, LEARNED, learned),
    "encoder-no-positions": Ablation(
        encoder, "without positions: it reads source and target as bags of tokens (2305.19466)", no_positions
    ),
    "encoder-relative-bias": Ablation(encoder, BIASES, biases),
    "encoder-sinusoidal": Ablation(encoder, SINUSOIDAL, sinusoidal),
    "encoder-tied": Ablation(encoder, TIED, always(EncoderOnly=tied(EncoderOnly))),
    "encoder-decoder-alibi": Ablation(encoder_decoder, ALIBI, alibi),
    "encoder-decoder-canon": Ablation(encoder_decoder, CANON, always(Stack=canon)),
    "encoder-decoder-experts": Ablation(encoder_decoder, EXPERTS, always(GatedFeedForward=Experts)),
    "encoder-decoder-gated-attention": Ablation(encoder_decoder, GATED, always(Attention=GatedAttention)),
    "encoder-decoder-learned-positions": Ablation(encoder_decoder, LEARNED, learned),
    "encoder-decoder-local": Ablation(encoder_decoder, LOCAL, always(Stack=local_and_global)),
    "encoder-decoder-no-positions": Ablation(
        encoder_decoder, "without positions: only the decoder's causal mask encodes order (2305.19466)", no_positions
    ),
    "encoder-decoder-qk-norm": Ablation(encoder_decoder, QK_NORM, always(Attention=partial(Attention, qk_norm=True))),
    "encoder-decoder-relative-bias": Ablation(encoder_decoder, BIASES, biases_of_each),
    "encoder-decoder-relu-squared": Ablation(
        encoder_decoder, RELU_SQUARED, always(GatedFeedForward=partial(FeedForward, activation=relu_squared))
    ),
    "encoder-decoder-sinusoidal": Ablation(encoder_decoder, SINUSOIDAL, sinusoidal),
    "encoder-decoder-tied": Ablation(encoder_decoder, TIED, always(EncoderDecoder=tied(EncoderDecoder))),
}
