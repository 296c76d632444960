"""The choice of a learning rate and a dropout from the losses of trials, and what the choice is expected to cost.

Planning chooses here, and reports ask here for the loss and the regret of what was chosen: both with ``gave_loss``,
``deciding``, ``by_setting`` and ``choose``.

From four rates on, the losses of the trials are fitted by a parabola over log2 of the rate, and its minimum is chosen;
with fewer rates, or where the fit has no minimum, the rate of least mean loss.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Losses = Mapping[tuple[float, float], Sequence[float]]  # by rate and dropout: a loss for each seed

FITTED = 4  # rates from which a parabola is fitted
FAR = 6.0  # a mean so many times its noise above the least is not fitted
DRAWS = 2_000
INTERVAL = 0.95


@dataclass(frozen=True)
class ChosenRate:
    """A chosen setting and its loss: on the fitted curve (``fitted``), or the mean of its trials."""

    learning_rate: float
    dropout: float
    loss: float
    fitted: bool


@dataclass(frozen=True)
class Regret:
    """The expected excess loss of a choice over the best of the fitted curve, with its 95% range over redrawn trials.

    ``seed_sd`` is the standard deviation between seeds with which the trials were redrawn. ``curvature`` is that of the
    best curve: how far its loss rises one doubling of the rate from its minimum; nan for a line.
    """

    expected: float
    lower: float
    upper: float
    seed_sd: float
    curvature: float


@dataclass(frozen=True)
class DropoutTrials:
    """The trials of one dropout: ``losses`` (r, s) at the ``rates`` (r,) around the best, up to where one diverged."""

    rates: Floats
    losses: Floats

    @property
    def log_rates(self) -> Floats:
        return np.log2(self.rates)

    def rate(self, log_rate: float) -> float:
        """The rate at ``log_rate`` (log2), to three significant digits; at the ends as it was tried."""
        tried = self.rates[np.isclose(self.log_rates, log_rate, rtol=0, atol=1e-9)]
        return float(tried[0]) if len(tried) else float(f"{2.0**log_rate:.3g}")


@dataclass(frozen=True)
class FittedCurve:
    """A parabola fitted to the trials of one dropout; beyond the rates that were fitted, lines between their means."""

    trials: DropoutTrials
    coefficients: Floats
    kept: NDArray[np.bool_]

    @staticmethod
    def of(trials: DropoutTrials) -> "FittedCurve":
        kept = _kept(trials.losses[None])[0]
        degree = min(2, int(kept.sum()) - 1)
        means = trials.losses.mean(axis=1)
        fitted = np.polyfit(trials.log_rates[kept] - trials.log_rates[0], means[kept], degree)
        return FittedCurve(trials, np.asarray(fitted), kept)

    def __call__(self, log_rates: Floats) -> Floats:
        known = self.trials.log_rates
        inside = (log_rates >= known[self.kept].min()) & (log_rates <= known[self.kept].max())
        fitted = np.maximum(np.polyval(self.coefficients, log_rates - known[0]), 0.0)  # a negative log-likelihood
        return np.where(inside, fitted, np.interp(log_rates, known, self.trials.losses.mean(axis=1)))

    @property
    def curvature(self) -> float:
        return float(self.coefficients[0]) if len(self.coefficients) > 2 else math.nan

    def least(self) -> float:
        known = self.trials.log_rates
        return float(self(np.linspace(known[0], known[-1], 1_001)).min())

    def residuals(self) -> tuple[float, int]:
        """The sum of squared residuals of the trials that were fitted, and its degrees of freedom."""
        left = (self.trials.losses - self(self.trials.log_rates)[:, None])[self.kept]
        return float((left**2).sum()), left.size - len(self.coefficients)


def gave_loss(status: str | None, best_step: float | None) -> bool:
    """True if a trial gave a loss: it is done, and its best weights are not the untrained ones of step 0."""
    return status == "done" and best_step != 0


def deciding(losses: Sequence[float], exact: Sequence[float]) -> tuple[Floats, bool]:
    """The losses (n,) by which an architecture's settings are chosen, and whether they are the ``exact`` ones (n,).

    They are where every trial that gave a loss has an exact one: estimates can be off by more at one rate than at
    another. Of trials that gave no loss they are nan.
    """
    estimated, known = np.asarray(losses, np.float64), np.asarray(exact, np.float64)
    given: NDArray[np.bool_] = np.isfinite(estimated)
    are_exact = bool(given.any() and np.isfinite(known[given]).all())
    return np.where(given, known if are_exact else estimated, math.nan), are_exact


def learned(losses: Iterable[float], bar: float) -> bool:
    """True if a trial has a loss below ``bar``, that of a classical method; one that gave no loss has none."""
    return any(math.isfinite(loss) and loss < bar for loss in losses)


def by_setting(
    settings: Iterable[tuple[float, float]], losses: Iterable[float]
) -> dict[tuple[float, float], list[float]]:
    """The losses of trials by their ``settings``, rate and dropout, as ``choose`` reads them."""
    found: dict[tuple[float, float], list[float]] = {}
    for (rate, dropout), loss in zip(settings, losses, strict=True):
        found.setdefault((float(rate), float(dropout)), []).append(float(loss))
    return found


def choose(losses: Losses) -> ChosenRate | None:
    """The best setting, ties to the smaller rate; None where no setting has a finite loss."""
    choices = []
    for dropout, trials in _slices(losses).items():
        log_rates, values, fitted = minima(trials.log_rates, trials.losses[None])
        choices.append(ChosenRate(trials.rate(float(log_rates[0])), dropout, float(values[0]), bool(fitted[0])))
    return min(choices, key=lambda choice: (choice.loss, choice.learning_rate), default=None)


def regret(losses: Losses, spread: tuple[float, int] = (0.0, 0), draws: int = DRAWS, seed: int = 0) -> Regret | None:
    """The regret of ``choose``, by a parametric bootstrap: trials redrawn around the fitted curve, and chosen from.

    The variance between seeds is that of the residuals, together with ``spread``: a sum of squares from other runs of
    the architecture, and its degrees of freedom. None where there is no choice, or no variance to be known.
    """
    curves = [FittedCurve.of(trials) for trials in _slices(losses).values()]
    squares, freedom = (sum(part) for part in zip(spread, *(curve.residuals() for curve in curves), strict=True))
    if not freedom or sum(len(curve.trials.rates) for curve in curves) < 2:
        return None
    deviation = float(np.sqrt(squares / freedom))
    random = np.random.Generator(np.random.PCG64(seed))
    excess, values = [], []
    best = min(curves, key=FittedCurve.least)
    least = best.least()
    for curve in curves:
        log_rates, shape = curve.trials.log_rates, (draws, *curve.trials.losses.shape)
        redrawn = curve(log_rates)[:, None] + deviation * random.standard_normal(shape)
        chosen, value, _ = minima(log_rates, redrawn)
        excess.append(np.maximum(curve(chosen) - least, 0.0))
        values.append(value)
    taken = np.array(excess)[np.argmin(values, axis=0), np.arange(draws)]
    lower, upper = np.quantile(taken, [(1 - INTERVAL) / 2, (1 + INTERVAL) / 2])
    return Regret(float(taken.mean()), float(lower), float(upper), deviation, best.curvature)


def minima(log_rates: Floats, losses: Floats) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """The chosen log2 rate of each of n sets of ``losses`` (n, rates, seeds), its loss, and whether it was fitted.

    ``log_rates`` (rates,) are the log2 rates, ascending.
    """
    means = losses.mean(axis=2)
    best = means.argmin(axis=1)
    chosen, values = log_rates[best], means.min(axis=1)
    if len(log_rates) < FITTED:
        return chosen, values, np.zeros(len(means), dtype=bool)
    kept, shifted = _kept(losses), log_rates - log_rates[0]
    powers = shifted[:, None] ** np.array([2, 1, 0])
    left = np.einsum("nr,ri,rj->nij", kept, powers, powers)
    right = np.einsum("nr,nr,ri->ni", kept, means, powers)
    square, slope, constant = np.linalg.solve(left, right[..., None])[..., 0].T
    fitted = square > 0
    lowest, highest = (end(np.where(kept, shifted, np.nan), axis=1) for end in (np.nanmin, np.nanmax))
    with np.errstate(divide="ignore", invalid="ignore"):
        least = np.clip(np.where(fitted, -slope / (2 * square), 0.0), lowest, highest)
    return (
        np.where(fitted, least + log_rates[0], chosen),
        np.where(fitted, (square * least + slope) * least + constant, values),
        fitted,
    )


def _kept(losses: Floats) -> NDArray[np.bool_]:
    """Which rates of n sets of ``losses`` (n, rates, seeds) are fitted: those next to the best, and those not far.

    One seed leaves open what is far: then the four neighbouring rates of least loss, the best among them.
    """
    means, (_, rates, seeds) = losses.mean(axis=2), losses.shape
    best, index = means.argmin(axis=1)[:, None], np.arange(rates)
    if seeds == 1:  # the noise is not known
        starts = np.arange(max(rates - FITTED, 0) + 1)
        sums = np.stack([means[:, start : start + FITTED].sum(axis=1) for start in starts], axis=1)
        around = (starts <= best) & (best < starts + FITTED)
        first = np.where(around, sums, np.inf).argmin(axis=1)[:, None]
        kept: NDArray[np.bool_] = (first <= index) & (index < first + FITTED)
        return kept
    noise = np.sqrt(losses.var(axis=2, ddof=1).mean(axis=1, keepdims=True) / seeds)
    near = np.abs(index - np.clip(best, 1, max(rates - 2, 1))) <= 1
    kept = near | (means <= means.min(axis=1, keepdims=True) + FAR * noise)
    return kept


def _slices(losses: Losses) -> dict[float, DropoutTrials]:
    """The trials by dropout, as far as they are finite around the best of them."""
    most = max(map(len, losses.values()), default=0)
    slices = {}
    for dropout in dict.fromkeys(dropout for _, dropout in losses):
        rates = sorted(rate for rate, tried in losses if tried == dropout and len(losses[rate, dropout]) == most)
        values = np.array([losses[rate, dropout] for rate in rates], dtype=np.float64).reshape(len(rates), most)
        finite: NDArray[np.bool_] = np.isfinite(values.mean(axis=1))
        if not finite.any():
            continue
        best = int(np.where(finite, values.mean(axis=1), np.inf).argmin())
        first = best - int(np.argmin([*finite[best::-1], False])) + 1
        last = best + int(np.argmin([*finite[best:], False]))
        slices[dropout] = DropoutTrials(np.array(rates)[first:last], values[first:last])
    return slices
