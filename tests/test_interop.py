"""Models of ``transformers`` and ours are one function: logits, cache, writing, and weights there and back.

What every family has is here; what only one of them has is in ``test_interop_extras``.
"""

import copy
from dataclasses import replace
from typing import Any

import pytest
import torch
from interop_cases import (
    SIDES,
    assert_cache,
    assert_close,
    assert_fields_are_carried,
    assert_left_over_is_noticed,
    assert_logits,
    assert_refused,
    assert_returns_bit_equal,
    assert_round_trip_keeps_every_bit,
    assert_same_weights,
    assert_writes_alike,
    batch,
    randomised,
    with_field,
)
from interop_families import ENCODERS, FAMILIES, GENERATORS

from archbench.architectures.catalogue import catalogue
from archbench.architectures.conversion.convert import from_transformers
from archbench.architectures.conversion.structure import difference
from archbench.architectures.families.size import Limits, Size
from archbench.architectures.formats.shape import IDLE


def shapes(*families: str) -> list[Any]:
    return [pytest.param(name, shape, id=f"{name}-{shape}") for name in families for shape in FAMILIES[name].shapes]


every_family = pytest.mark.parametrize("name", FAMILIES)
every_shape = pytest.mark.parametrize(("name", "shape"), shapes(*FAMILIES))


@pytest.mark.parametrize("side", SIDES)
@every_shape
def test_logits_are_equal(name: str, shape: str, side: str) -> None:
    for kernel in FAMILIES[name].kernels:
        theirs = FAMILIES[name].theirs(shape, attn_implementation=kernel)
        assert theirs.config._attn_implementation == kernel
        assert_logits(theirs, side, FAMILIES[name].width)


@torch.no_grad()
@pytest.mark.parametrize(("name", "shape"), shapes(*ENCODERS))
def test_logits_without_mask_and_positions_are_equal(name: str, shape: str) -> None:
    theirs = FAMILIES[name].theirs(shape)
    ids, _, _ = batch(theirs.config.vocab_size, 3, {"bert": 24, "modernbert": 40}[name], "none", seed=2)
    assert_close(from_transformers(theirs)(None, ids), theirs(ids).logits)  # of BERT every position that there is


@torch.no_grad()
@pytest.mark.parametrize(("name", "source", "canvas"), [("bert", 9, 4), ("modernbert", 13, 7)])
def test_source_and_canvas_read_as_one_sequence(name: str, source: int, canvas: int) -> None:
    theirs = FAMILIES[name].theirs()
    ids, mask, positions = batch(theirs.config.vocab_size, 4, source + canvas, "left", seed=3)
    expected = theirs(ids, attention_mask=mask, position_ids=positions).logits
    ours = from_transformers(theirs, canvas=canvas)
    assert ours.canvas == canvas
    logits = ours(ids[:, :source], ids[:, source:], mask[:, :source], mask[:, source:])
    assert_close(logits, expected[:, source:], mask[:, source:])


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize(("name", "shape"), shapes(*GENERATORS))
def test_logits_with_cache_are_equal(name: str, shape: str, side: str) -> None:
    assert_cache(FAMILIES[name].theirs(shape), side)


@pytest.mark.parametrize(("name", "shape"), shapes(*GENERATORS))
def test_greedy_writing_is_equal(name: str, shape: str) -> None:
    assert_writes_alike(FAMILIES[name].theirs(shape))


@every_shape
def test_a_round_trip_keeps_every_bit(name: str, shape: str) -> None:
    theirs, tied = FAMILIES[name].theirs(shape), FAMILIES[name].is_tied(shape)
    if name == "bert" and not tied:  # the bias that their model holds and does not read
        theirs.cls.predictions.bias.data.copy_(theirs.cls.predictions.decoder.bias.data)
    assert_round_trip_keeps_every_bit(theirs, tied)


@pytest.mark.parametrize("dropout", [0.0, 0.2])
@pytest.mark.parametrize(("variant", "size"), [pair for family in FAMILIES.values() for pair in family.ours])
def test_our_variant_returns_as_it_went(variant: str, size: Size, dropout: float) -> None:
    ours = catalogue.find(variant).build(replace(size, dropout=dropout), Limits(29, 10, 9))
    assert_returns_bit_equal(randomised(ours, seed=5))


@every_shape
def test_a_tensor_left_over_is_noticed(name: str, shape: str) -> None:
    assert_left_over_is_noticed(FAMILIES[name].module.SHAPE, FAMILIES[name].theirs(shape))


@every_family
def test_every_field_that_is_read_is_carried(name: str) -> None:
    family = FAMILIES[name]
    assert family.changed.keys() | family.fixed == family.module.READ
    assert_fields_are_carried(family.module.SHAPE, family.configured(), family.changed)


@every_family
def test_fields_that_are_ignored_change_no_logits(name: str) -> None:
    family = FAMILIES[name]
    assert family.idle.keys() == family.module.IGNORED
    theirs = family.theirs()
    config = copy.deepcopy(theirs.config)
    for field, value in family.idle.items():
        config = with_field(config, field, value)
        setattr(config, field, value)
    config._attn_implementation = "eager"  # elsewhere reorder_and_upcast_attn of GPT-2 does nothing
    changed, ours = family.of(config), from_transformers(theirs)
    assert_same_weights(changed, theirs)
    assert difference(from_transformers(changed), ours) is None
    assert_logits(changed, "left", family.width, ours)


REFUSED = [(name, *case) for name, family in FAMILIES.items() for case in family.refused]


@pytest.mark.parametrize(("name", "field", "value", "named"), REFUSED)
def test_what_we_do_not_have_is_named(name: str, field: str, value: object, named: str | None) -> None:
    assert_refused(FAMILIES[name].theirs(), field, value, named)


@every_family
def test_a_field_is_accounted_for_once(name: str) -> None:
    """What every configuration may have stands in ``IDLE``; a shape lists what only its own has."""
    parts = [IDLE, *(set(getattr(FAMILIES[name].module, part, ())) for part in ("READ", "IGNORED", "FIXED"))]
    fields = [field for part in parts for field in part]
    assert sorted(fields) == sorted(set(fields))
