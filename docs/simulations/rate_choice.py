"""The regret of a learning rate chosen as the lowest of noisy losses, and of one chosen by a fit.

`python -P docs/simulations/rate_choice.py` prints the table of `docs/lab-notebook.md`. The true loss is a parabola
over log2 of the rate; in further parts of the table it is steeper above the best rate. Its curvature, in standard
deviations between seeds, is that of the trials of `docs/reference/public`.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from archbench.reports.base import tables
from archbench.reports.results import trials
from archbench.runs.planning.rate_choice import minima

REFERENCE = Path(__file__).parents[1] / "reference" / "public" / "tables"
RATES, SEEDS, DRAWS = 5, 2, 20_000
CENTRES = 1.0  # the true best rate lies at most so many doublings from the middle of the grid
STEEPER = (1.0, 3.0, 10.0)  # curves: so many times as steep above the best rate as below; 1 is a parabola
QUANTILES = (0.1, 0.25, 0.5, 0.75)
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Rule:
    """The mean regret in standard deviations between seeds, and how often the rate moves by a factor of two or more."""

    regret: float
    moved: float


def simulated(
    curvature: float, steeper: float = 1.0, rates: int = RATES, seeds: int = SEEDS, draws: int = DRAWS
) -> tuple[Rule, Rule]:
    """The lowest loss and the fit, where one doubling from the best rate costs ``curvature`` standard deviations.

    Above the best rate it costs ``steeper`` times as much.
    """
    random = np.random.Generator(np.random.PCG64(0))
    places = np.arange(rates, dtype=np.float64) - (rates - 1) / 2
    centres = random.uniform(-CENTRES, CENTRES, draws)

    def loss(offsets: Floats) -> Floats:
        return curvature * np.where(offsets > 0, steeper, 1.0) * offsets**2

    true, lowest, fitted = loss(places - centres[:, None]), [], []
    for _ in range(2):  # the same true curve, drawn twice
        losses = true[..., None] + random.standard_normal((draws, rates, seeds))
        lowest.append(places[losses.mean(axis=2).argmin(axis=1)])
        fitted.append(minima(places, losses)[0])

    def rule(chosen: list[Floats]) -> Rule:
        regret = np.mean([loss(rates - centres) for rates in chosen])
        return Rule(float(regret), float(np.mean(np.abs(chosen[0] - chosen[1]) >= 1)))

    return rule(lowest), rule(fitted)


def _close(reference: tables.Tables) -> int:
    """How many choices of the reference are between settings whose losses differ by less than those of two seeds."""
    numbers = trials.numbers(trials.trials(reference), trials.settings(reference))
    places = numbers.groupby(["dataset", "condition", "architecture"])
    gaps = places["loss"].agg(lambda losses: losses.nsmallest(2).diff().iloc[-1])
    return int((gaps < places["seed_sd"].first()).sum())


def main() -> None:
    reference = tables.read(REFERENCE)
    settings = trials.settings(reference)
    regrets = [setting.regret for setting in settings if setting.regret]
    deviations = np.array([regret.seed_sd for regret in regrets])
    real = np.array([regret.curvature for regret in regrets]) / deviations
    print(f"{len(real)} fits to trials; {np.mean(real > 0):.0%} have a minimum")
    print(f"standard deviation between seeds: {np.median(deviations):.3f} nats per token (median)")
    print(f"the two best settings differ by less than their own: {_close(reference)} of {len(settings)}")
    curvatures = [float(quantile) for quantile in np.quantile(real[real > 0], QUANTILES)]
    lowest, fitted = simulated(curvatures[1], seeds=1)
    print(f"with one seed, curvature {curvatures[1]:.2f}: regret {lowest.regret:.2f}, {fitted.regret:.2f} with the fit")
    print(f"simulated: {RATES} rates, {SEEDS} seeds, {DRAWS:,} draws")
    print("| above the minimum | curvature | regret, lowest loss | regret, fit | moved, lowest loss | moved, fit |")
    print("| --- | --- | --- | --- | --- | --- |")
    for steeper in STEEPER:
        name = "as steep" if steeper == 1 else f"{steeper:g} times as steep"
        for curvature in curvatures:
            lowest, fitted = simulated(curvature, steeper)
            numbers = f"{lowest.regret:.3f} | {fitted.regret:.3f} | {lowest.moved:.1%} | {fitted.moved:.1%}"
            print(f"| {name} | {curvature:.2f} | {numbers} |")


if __name__ == "__main__":
    main()
