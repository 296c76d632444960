"""The choice of a learning rate: a parabola's minimum over log2 rate, else the least loss; and its expected regret."""

import math
from types import ModuleType

import numpy as np
import pytest
import simulation_scripts

from archbench.runs.planning.rate_choice import ChosenRate, by_setting, choose, deciding, gave_loss, minima, regret

RATES = (0.0025, 0.005, 0.01, 0.02, 0.04)


def parabola(rate: float, centre: float = 0.3, curvature: float = 0.02) -> float:
    return 1.0 + curvature * (math.log2(rate / 0.01) - centre) ** 2


def trial_losses(losses: dict[float, float], dropout: float = 0.0) -> dict[tuple[float, float], tuple[float, ...]]:
    return {(rate, dropout): (loss,) for rate, loss in losses.items()}


def test_the_minimum_of_a_parabola_is_found() -> None:
    choice = choose(trial_losses({rate: parabola(rate) for rate in RATES}))
    assert choice is not None and choice.fitted
    assert choice.learning_rate == float(f"{0.01 * 2**0.3:.3g}")
    assert choice.loss == pytest.approx(1.0)


def test_with_three_rates_the_least_loss_is_chosen() -> None:
    assert choose(trial_losses({rate: parabola(rate) for rate in RATES[:3]})) == ChosenRate(
        0.01, 0.0, parabola(0.01), False
    )


def test_where_the_fit_has_no_minimum_the_least_loss_is_chosen() -> None:
    falling = dict(zip(RATES, (1.0, 0.99, 0.97, 0.94, 0.90), strict=True))
    assert choose(trial_losses(falling)) == ChosenRate(0.04, 0.0, 0.90, False)


def test_a_minimum_beyond_the_rates_is_taken_at_their_end() -> None:
    choice = choose(trial_losses({rate: parabola(rate, centre=4) for rate in RATES}))
    assert choice is not None and choice.fitted and choice.learning_rate == 0.04


def test_what_diverged_is_left_out_and_bounds_the_range() -> None:
    losses = trial_losses({rate: parabola(rate, centre=3) for rate in (0.00125, *RATES)})
    choice = choose({**losses, (0.04, 0.0): (math.inf,)})
    assert choice is not None and choice.learning_rate == 0.02
    between = choose({**losses, (0.01, 0.0): (math.inf,)})
    assert between == ChosenRate(0.04, 0.0, losses[0.04, 0.0][0], False)
    assert choose({key: (math.inf,) for key in losses}) is None
    assert choose({}) is None


def test_a_seed_that_diverged_takes_its_rate_out() -> None:
    losses = {key: (loss, loss) for key, (loss,) in trial_losses({rate: parabola(rate) for rate in RATES}).items()}
    choice = choose({**losses, (0.01, 0.0): (0.1, math.inf)})
    assert choice is not None and choice.learning_rate == 0.02


def test_a_loss_far_above_the_best_does_not_bend_the_fit() -> None:
    noise = (-0.001, 0.001)
    losses = {(rate, 0.0): tuple(parabola(rate) + part for part in noise) for rate in RATES}
    losses[0.04, 0.0] = (9.0, 9.1)
    choice = choose({key: values for key, values in losses.items()})
    assert choice is not None and choice.fitted
    assert choice.learning_rate == pytest.approx(0.0123, rel=0.01)


def test_each_dropout_has_a_fit_of_its_own() -> None:
    losses = trial_losses({rate: parabola(rate) for rate in RATES})
    losses |= trial_losses({rate: parabola(rate, centre=-0.7) - 0.01 for rate in RATES}, dropout=0.1)
    choice = choose(losses)
    assert choice is not None
    assert (choice.learning_rate, choice.dropout) == (float(f"{0.01 * 2**-0.7:.3g}"), 0.1)


def test_many_sets_are_chosen_from_as_one_is() -> None:
    losses = np.random.Generator(np.random.PCG64(0)).standard_normal((50, 5, 2))
    log_rates, _, _ = minima(np.log2(RATES), losses)
    for log_rate, rate_losses in zip(log_rates, losses, strict=True):
        choice = choose({(rate, 0.0): tuple(values) for rate, values in zip(RATES, rate_losses, strict=True)})
        assert choice is not None and choice.learning_rate == pytest.approx(2**log_rate, rel=0.005)


def test_regret_grows_with_the_noise_and_vanishes_without() -> None:
    def expected(noise: float, seeds: int = 2) -> float:
        random = np.random.Generator(np.random.PCG64(1))
        losses = {(rate, 0.0): tuple(parabola(rate) + noise * random.standard_normal(seeds)) for rate in RATES}
        estimate = regret(losses)
        assert estimate is not None and estimate.lower <= estimate.expected <= estimate.upper
        return estimate.expected

    assert expected(0.0) == pytest.approx(0.0, abs=1e-9)
    assert 0 < expected(0.005) < expected(0.05)


def test_regret_takes_the_spread_of_other_runs_where_trials_have_none() -> None:
    losses = trial_losses({rate: parabola(rate) for rate in RATES[1:4]})
    assert regret(losses) is None
    estimate = regret(losses, (4 * 0.02**2, 4))
    assert estimate is not None and estimate.seed_sd == pytest.approx(0.02)
    assert estimate.expected > 0
    assert regret({key: losses[key] for key in list(losses)[:1]}, (1.0, 4)) is None
    assert regret({}, (1.0, 4)) is None


def test_regret_is_repeatable() -> None:
    losses = {(rate, 0.0): (parabola(rate), parabola(rate) + 0.01) for rate in RATES}
    assert regret(losses) == regret(losses)


def test_exact_losses_decide_where_every_trial_that_gave_a_loss_has_one() -> None:
    losses, are_exact = deciding([0.5, 0.6, math.inf], [0.9, 0.8, math.nan])
    assert are_exact and losses == pytest.approx([0.9, 0.8, math.nan], nan_ok=True)
    losses, are_exact = deciding([0.5, 0.6, math.nan], [0.9, math.nan, 0.1])
    assert not are_exact and losses == pytest.approx([0.5, 0.6, math.nan], nan_ok=True)
    assert not deciding([math.inf], [math.nan])[1] and len(deciding([], [])[0]) == 0


def test_trials_that_gave_no_loss_are_not_chosen() -> None:
    assert gave_loss("done", 3) and gave_loss("done", None)
    assert not any(gave_loss(status, 3) for status in ("diverged", "failed", "unfinished", None))
    assert not gave_loss("done", 0), "the best weights are the untrained ones"
    losses, _ = deciding([0.4, math.inf, 0.7, 0.7], [math.nan] * 4)
    choice = choose(by_setting([(0.01, 0.0), (0.01, 0.0), (0.02, 0.0), (0.02, 0.0)], losses))
    assert choice is not None and choice.learning_rate == 0.02


@pytest.fixture(scope="module")
def simulation() -> ModuleType:
    return simulation_scripts.load("rate_choice")


@pytest.mark.parametrize("curvature", [0.4, 2.0, 5.0])
def test_in_simulations_the_fit_has_less_regret_and_moves_less(simulation: ModuleType, curvature: float) -> None:
    lowest, fitted = simulation.simulated(curvature, draws=2_000)
    assert fitted.regret < 0.7 * lowest.regret
    assert fitted.moved < lowest.moved / 2


@pytest.mark.parametrize("seeds", [1, 2])
def test_where_losses_rise_faster_at_higher_rates_the_fit_is_no_worse(simulation: ModuleType, seeds: int) -> None:
    lowest, fitted = simulation.simulated(1.6, steeper=3.0, seeds=seeds, draws=2_000)
    assert fitted.regret < lowest.regret


def test_regret_is_no_more_than_the_loss_that_was_reached() -> None:
    """A parabola through three steep losses has its minimum below zero, where no negative log-likelihood is."""
    steep = {(0.01, 0.0): [0.5136], (0.02, 0.0): [0.0234], (0.04, 0.0): [0.0006]}
    estimate = regret(steep, spread=(1e-8, 1))
    assert estimate is not None and 0 <= estimate.expected <= 0.0007
