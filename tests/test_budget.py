"""The size solver: within 1% for every architecture and axis, or a clear error."""

import bisect
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from archbench.architectures.catalogue import catalogue
from archbench.architectures.families.size import Limits, Size, count, feedforwards
from archbench.runs.budgets import budget, measurements
from archbench.tasks.base.errors import InputError

LIMITS = Limits(vocabulary=300, source_length=32, target_length=16)
LENGTHS = (np.array([5.0, 20.0, 32.0]), np.array([3.0, 9.0, 16.0]))
NAMES = ("decoder", "encoder", "encoder-decoder", "prefix-decoder")


def fitted(name: str, measure: budget.Measure, target: float, parameters: int, width: int | None = None) -> Size:
    dim = width or budget.reference_width(parameters)
    start = Size(dim, budget.usual_heads(dim), 1, 1)
    coarse = parameters >= budget.COARSE_FROM
    return budget.fit(catalogue.find(name).build, start, LIMITS, measure, target, coarse, name)


def within_reach(name: str, measure: budget.Measure, target: float, size: Size, step: int) -> bool:
    """Whether some depth and feed-forward width meets the target, by halving."""

    def cost(depth: int, steps: int) -> float:
        return measure(
            budget.blank(catalogue.find(name).build, replace(size, depth=depth, hidden=steps * step), LIMITS)
        )

    for depth in range(1, budget.DEEPEST + 1):
        if cost(depth, 1) > 1.01 * target:
            return False
        most = bisect.bisect_left(range(1, 1 << 20), target, key=partial(cost, depth)) + 1
        if any(abs(cost(depth, steps) / target - 1) <= 0.01 for steps in (most, most - 1) if steps):
            return True
    return False


@settings(max_examples=24, deadline=None)
@given(
    parameters=st.integers(20_000, 4_000_000),
    name=st.sampled_from(NAMES),
    width=st.none() | st.integers(2, 32).map(lambda n: 16 * n),
    flops=st.booleans(),
)
def test_a_budget_is_met_within_one_percent_or_an_error_says_that_it_cannot_be(
    parameters: int, name: str, width: int | None, flops: bool
) -> None:
    assume(width is None or parameters < 120 * width**2)  # about ten layers: more take seconds
    measure = budget.flops_per_token(LENGTHS, native=True) if flops else budget.parameters
    target = 6.0 * parameters if flops else parameters
    try:
        size = fitted(name, measure, target, parameters, width)
    except InputError as error:
        assert "cannot be fitted to" in str(error) and (flops or width)
        dim = width or budget.reference_width(parameters)
        step = budget.COARSE if parameters >= budget.COARSE_FROM else 1
        assert not within_reach(name, measure, target, Size(dim, budget.usual_heads(dim), 1, 1), step)
        return
    assert width in (None, size.dim)
    assert measure(budget.blank(catalogue.find(name).build, size, LIMITS)) == pytest.approx(target, rel=0.01)


@pytest.mark.parametrize("parameters", [25_000, 250_000, 1_000_000])
def test_flops_are_met_within_one_percent_and_make_the_encoder_decoder_larger(parameters: int) -> None:
    cost = budget.flops_per_token(LENGTHS, native=True)
    build = catalogue.find("decoder").build
    reference = fitted("decoder", budget.parameters, parameters, parameters)
    target = cost(budget.blank(build, reference, LIMITS))
    for name in NAMES[1:]:
        size = fitted(name, cost, target, parameters)
        assert cost(budget.blank(catalogue.find(name).build, size, LIMITS)) == pytest.approx(target, rel=0.01)
    size = fitted("encoder-decoder", cost, target, parameters)
    larger = budget.counts(catalogue.find("encoder-decoder").build, size, LIMITS).parameters
    assert larger > 1.3 * parameters


def test_seven_decoder_layers_equal_three_and_three_with_cross_attention() -> None:
    size = Size(dim=96, heads=3, depth=7, hidden=256)
    parameters = budget.counts(catalogue.find("decoder").build, size, LIMITS).parameters
    encoder_decoder = budget.counts(catalogue.find("encoder-decoder").build, replace(size, depth=3), LIMITS).parameters
    assert encoder_decoder == pytest.approx(parameters, rel=0.01)


def test_what_cannot_be_fitted_is_an_error_that_says_so() -> None:
    with pytest.raises(InputError, match=r"encoder-decoder of width 512 cannot be fitted to 30,000"):
        fitted("encoder-decoder", budget.parameters, 30_000, 30_000, width=512)


def test_counting_allocates_nothing_and_agrees_with_a_real_model() -> None:
    size = Size(dim=64, heads=2, depth=3, hidden=100)
    for name in NAMES:
        build = catalogue.find(name).build
        assert all(p.device == torch.device("meta") for p in budget.blank(build, size, LIMITS).parameters())
        assert budget.counts(build, size, LIMITS) == count(build(size, LIMITS))


def test_flops_of_many_examples_are_those_of_each() -> None:
    for name in NAMES:
        model = budget.blank(catalogue.find(name).build, Size(64, 2, 2, 100), LIMITS)
        together = model.objective.training_flops(model, *LENGTHS, True).model
        apart = [model.objective.training_flops(model, s, t, True).model for s, t in zip(*LENGTHS, strict=True)]
        assert np.allclose(together, apart)


@pytest.mark.parametrize("name", NAMES)
def test_large_models_have_feed_forward_widths_in_whole_steps(name: str) -> None:
    size = fitted(name, budget.parameters, 400_000, 400_000)
    assert size.hidden % 8 == 0


@pytest.mark.parametrize("parameters", [60_000, 250_000, 1_000_000, 12_000_000])
def test_experts_are_as_wide_and_layers_as_many_as_without_experts_at_equal_flops(parameters: int) -> None:
    reference = fitted("decoder", budget.parameters, parameters, parameters)
    decoder = catalogue.find("decoder")
    cost = budget.flops_per_token(LENGTHS, native=True)
    target = cost(budget.blank(decoder.build, reference, LIMITS))
    start, coarse = replace(reference, depth=1, hidden=1), parameters >= budget.COARSE_FROM
    variant = catalogue.find("decoder-experts")

    def answer(depth: int | None) -> Size:
        asked = (start, LIMITS, LENGTHS, "flops", True, target, coarse, depth)
        return Size(**measurements.answer(variant, "fit", *asked))

    size = answer(None)
    assert size.depth == reference.depth and size.hidden == pytest.approx(reference.hidden, rel=0.05)
    assert cost(budget.blank(variant.build, size, LIMITS)) == pytest.approx(target, rel=0.01)
    assert answer(reference.depth + 1).depth == reference.depth + 1, "a depth that is asked for is taken"


@pytest.mark.parametrize("name", [name for name in (*catalogue.names(), *catalogue.ablated()) if ":" not in name])
def test_every_token_uses_all_parameters_of_a_built_in_model_without_experts(name: str) -> None:
    """So sizes fitted to FLOPs weigh the feed-forward width as sizes fitted to parameters do."""
    counts = budget.counts(catalogue.find(name).build, Size(64, 2, 3, 16), LIMITS)
    assert (counts.active_parameters == counts.parameters) == ("experts" not in name)


@pytest.mark.parametrize("name", ["decoder-experts", "encoder-decoder-experts"])
def test_a_token_uses_all_but_three_of_four_experts(name: str) -> None:
    model = budget.blank(catalogue.find(name).build, Size(64, 2, 3, 16), LIMITS)
    experts = [network.experts[0] for network in feedforwards(model)]
    idle = 3 * sum(p.numel() for expert in experts for p in expert.parameters())
    assert count(model).idle_parameters == idle > 0


def test_active_parameters_are_held_equal_with_layers_as_many_as_without_experts() -> None:
    reference = fitted("decoder", budget.parameters, 400_000, 400_000)
    wanted = float(budget.counts(catalogue.find("decoder").build, reference, LIMITS).parameters)
    start, variant = replace(reference, depth=1, hidden=1), catalogue.find("decoder-experts")
    asked = (start, LIMITS, LENGTHS, "active_parameters", True, wanted, False, None)
    size = Size(**measurements.answer(variant, "fit", *asked))
    counts = budget.counts(variant.build, size, LIMITS)
    assert size.depth == reference.depth and counts.active_parameters == pytest.approx(wanted, rel=0.01)
    assert counts.parameters > 2 * counts.active_parameters


def test_a_width_that_four_divides_has_two_heads_or_more() -> None:
    for width in range(4, 400, 4):
        heads = budget.usual_heads(width)
        assert 2 <= heads <= max(2, width // 32) and width % (2 * heads) == 0


@pytest.mark.parametrize(("width", "heads"), [(30, 1), (33, 1), (64, 2), (80, 2), (96, 3), (224, 7), (384, 12)])
def test_heads_of_other_widths_are_as_they_were(width: int, heads: int) -> None:
    assert budget.usual_heads(width) == heads
