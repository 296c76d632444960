"""Every component keeps the contract in every family that takes it."""

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from archbench.architectures import contract
from archbench.architectures.components.attention import Attention, AttentionContext
from archbench.architectures.components.embedding import Embedding, Head
from archbench.architectures.components.feedforward import (
    FeedForward,
    NoFeedForward,
)
from archbench.architectures.components.mask import CAUSAL
from archbench.architectures.components.norm import LayerNorm, NoNorm, PostNorm, PreNorm, RMSNorm
from archbench.architectures.components.positions import (
    Alibi,
    Learned,
    NoPositions,
    RelativeBias,
    Rotary,
    Sinusoidal,
    rotated,
)
from archbench.architectures.components.stack import Block, Stack
from archbench.architectures.families.decoder import DecoderOnly
from archbench.architectures.families.encoder import EncoderOnly
from archbench.architectures.families.encoder_decoder import EncoderDecoder
from archbench.architectures.families.size import Limits, Size, count
from archbench.runs.updates.muon import hidden_matrices

CHECKS = (
    contract.check("no_look_ahead"),
    contract.check("padding_is_invisible"),
    contract.check("rows_are_apart"),
    contract.check("forward_is_prefill_and_decode"),
    contract.check("caches_are_values"),
    contract.check("flops_are_counted"),
)
POSITIONS: dict[str, Callable[[Size, Limits, bool], nn.Module]] = {
    "none": lambda size, limits, bidirectional: NoPositions(),
    "sinusoidal": lambda size, limits, bidirectional: Sinusoidal(size.dim),
    "learned": lambda size, limits, bidirectional: Learned(limits.length, size.dim),
    "rotary": lambda size, limits, bidirectional: Rotary(size.head_dim, base=500.0),
    "alibi": lambda size, limits, bidirectional: Alibi(size.heads),
    "relative": lambda size, limits, bidirectional: RelativeBias(
        size.heads, bidirectional=bidirectional, buckets=8, max_distance=6
    ),
}
BLOCKS: dict[str, Callable[[Size, bool], Block]] = {
    "plain": lambda size, cross: block(size, cross, Attention(size.dim, size.heads)),
    "biased": lambda size, cross: block(size, cross, Attention(size.dim, size.heads, bias=True)),
    "multi-query": lambda size, cross: block(size, cross, Attention(size.dim, size.heads, kv_heads=1)),
    "wide heads": lambda size, cross: block(size, cross, Attention(size.dim, size.heads, head_dim=24, scale=1.0)),
    "window": lambda size, cross: block(size, cross, Attention(size.dim, size.heads, window=2)),
    "own base": lambda size, cross: block(
        size, cross, Attention(size.dim, size.heads, positions=Rotary(size.head_dim, base=50.0))
    ),
    "qk-norm": lambda size, cross: block(size, cross, Attention(size.dim, size.heads, qk_norm=True)),
    "no feed-forward": lambda size, cross: Block(
        Attention(size.dim, size.heads),
        NoFeedForward(),
        LayerNorm,
        cross=Attention(size.dim, size.heads) if cross else None,
    ),
    "post-norm": lambda size, cross: block(size, cross, Attention(size.dim, size.heads), PostNorm),
    "no norm": lambda size, cross: block(size, cross, Attention(size.dim, size.heads), NoNorm),
}


def block(size: Size, cross: bool, attention: Attention, wiring: type = PreNorm) -> Block:
    feedforward = FeedForward(size.dim, size.hidden, F.relu, bias=True)
    more = {"kv_heads": attention.kv_heads, "qk_norm": attention.query_norm is not None}
    other = Attention(size.dim, size.heads, **more) if cross else None
    return Block(attention, feedforward, RMSNorm, cross=other, wiring=wiring)


def build(family: str, positions: str, blocks: str) -> Callable[[Size, Limits], nn.Module]:
    def built(size: Size, limits: Limits) -> nn.Module:
        embedding = Embedding(limits.vocabulary, size.dim, scale=2.0, segments=1, norm=LayerNorm(size.dim))
        head = Head(limits.vocabulary, size.dim, tied=embedding, bias=True, transform=nn.Linear(size.dim, size.dim))
        make, place = BLOCKS[blocks], POSITIONS[positions]
        stack = Stack(size.depth, lambda: make(size, False), RMSNorm(size.dim))
        if family == "decoder":
            return DecoderOnly(embedding, stack, head, place(size, limits, False))
        if family == "encoder":
            return EncoderOnly(embedding, stack, head, place(size, limits, True), limits.target_length)
        decoder = Stack(size.depth, lambda: make(size, True), RMSNorm(size.dim))
        return EncoderDecoder(
            embedding, stack, decoder, head, place(size, limits, True), decoder_positions=place(size, limits, False)
        )

    return built


@pytest.mark.parametrize("family", ["decoder", "encoder", "encoder-decoder"])
@pytest.mark.parametrize(
    ("positions", "blocks"),
    [
        *((name, "plain") for name in POSITIONS),
        *(("alibi" if name == "wide heads" else "rotary", name) for name in BLOCKS if name != "plain"),
    ],
)
def test_components_keep_the_contract(family: str, positions: str, blocks: str) -> None:
    case = contract.subject(build(family, positions, blocks))
    for check in CHECKS:
        check(case)


def test_tied_tables_count_once_and_stay_tied() -> None:
    model = build("decoder", "learned", "plain")(contract.SIZE, contract.LIMITS)
    tables = contract.LIMITS.vocabulary + contract.LIMITS.length + 1  # tokens, positions, one segment
    assert count(model).embedding_parameters == tables * contract.SIZE.dim + contract.LIMITS.vocabulary  # output bias
    with torch.no_grad():
        model.embedding.weight.zero_()
    assert not model.head.weight.any()


def test_order_reaches_an_encoder_through_positions_alone() -> None:
    source, canvas = contract.sequences(1, 5), contract.sequences(1, 3, seed=1)
    differences = {}
    for positions in POSITIONS:
        model = contract.subject(build("encoder", positions, "plain")).model
        differences[positions] = (model(source.flip(1), canvas) - model(source, canvas)).abs().max().item()
    assert differences.pop("none") < 1e-4
    assert min(differences.values()) > 1e-3


def test_queries_and_keys_are_normed_over_their_head_before_positions() -> None:
    torch.manual_seed(0)
    layer, plain, x = Attention(16, 2, 1, qk_norm=True), Attention(16, 2, 1), torch.randn(3, 6, 16)
    for norm in (layer.query_norm, layer.key_norm):
        nn.init.normal_(norm.weight)
    nn.init.normal_(layer.output.weight)
    places = torch.arange(6)[None]
    rotation = Rotary(8)(places, places).rotation
    context = AttentionContext(places, places, CAUSAL, rotation=rotation)
    split = layer.query_key_value(x).unflatten(-1, (4, 8)).transpose(1, 2)
    q = rotated(F.rms_norm(split[:, :2], (8,), layer.query_norm.weight, 1e-6), *rotation)
    k = rotated(F.rms_norm(split[:, 2:3], (8,), layer.key_norm.weight, 1e-6), *rotation)
    heads = F.scaled_dot_product_attention(q, k, split[:, 3:], is_causal=True, enable_gqa=True)
    expected = layer.output(heads.transpose(1, 2).flatten(2))
    torch.testing.assert_close(layer(x, context)[0], expected)
    torch.testing.assert_close(layer.queries(x, context), q)
    assert sum(p.numel() for p in layer.parameters()) == sum(p.numel() for p in plain.parameters()) + 2 * 8
    assert layer.flops(5.0, 6.0, 7.0) == plain.flops(5.0, 6.0, 7.0)
    assert set(hidden_matrices(layer)) == set(hidden_matrices(plain))


def test_a_stack_tells_a_builder_the_number_of_its_layer_if_it_asks() -> None:
    def block(layer: int, window: int | None = 5) -> Block:
        return Block(Attention(8, 2, window=layer if window is None else window), NoFeedForward(), LayerNorm)

    def windows(builder: Callable[..., Block]) -> list[int | None]:
        return [made.attention.window for made in Stack(3, builder).blocks]

    assert windows(lambda layer: block(layer, None)) == windows(partial(block, window=None)) == [0, 1, 2]
    assert windows(block) == windows(lambda: block(0)) == windows(lambda number=0: block(number)) == [5, 5, 5]
    ready = [block(layer, None) for layer in range(3)]
    assert windows(partial(next, iter(ready))) == [0, 1, 2]
