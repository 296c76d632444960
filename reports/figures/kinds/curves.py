"""Learning curves: the validation loss of each architecture against what was spent."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import EngFormatter, MaxNLocator

from archbench.reports.base.formatting import listing, number, value
from archbench.reports.base.metrics import BOUND_SUFFIX, MASKED_LOSS
from archbench.reports.base.statistics import Floats
from archbench.reports.contrasts.verdicts import breaking
from archbench.reports.figures.canvas.drawing import Panel
from archbench.reports.figures.canvas.marks import SMALLEST, SPACE, Looks, both_grids, log_loss_ticks, log_ticks, mean
from archbench.reports.figures.figure import Figure, View, titled
from archbench.reports.results.comparison import Comparison

MOST_POINTS: Final = 120
SAMPLED: Final = "nll_per_token_sampled"
_METRICS: Final = ("nll_per_token", SAMPLED, "nll_per_token_bound", MASKED_LOSS)
_BEGIN: Final = 1 / 6  # of what was spent: the steep start before it is cut off
_CAPTION: Final = (
    "Validation loss during training: means over seeds, in a band from the lowest to the highest seed. Marks: the "
    "checkpoint that is scored (mean over seeds).{bounds}{broken} The steep start is cut off. Points on the "
    "way are not results of shorter runs, because the learning rate has not yet decayed.{axes}"
)
_LOGARITHMIC: Final = " Both axes are logarithmic."
_BOUNDS: Final = " Dashed: an any-order bound, not comparable with the exact loss (solid)."
_SAMPLED: Final = (
    " Where the exact likelihood needs one forward pass per token, the loss is estimated on a few tokens per target, "
    "the same ones at every evaluation."
)
_MASKED: Final = (
    " Dotted: a loss over masked ends of targets; it bounds no likelihood and is not comparable with other lines."
)
_BROKEN: Final = " {names}: the loss is not comparable (see the verdicts)."
_TITLES: Final = {"tokens": "Learning curves against tokens", "flops": "Learning curves against FLOPs"}
_AXES: Final = {"tokens": "training tokens", "flops": "training FLOPs (model FLOPs)"}


@dataclass(frozen=True)
class Curve:
    """One architecture's validation curve: ``seeds`` holds (spent, value) of each run, ``mean`` that of their mean.

    ``scored`` is the mean place of the scored checkpoints; None where it is not recorded.
    """

    architecture: str
    metric: str
    seeds: tuple[tuple[Floats, Floats], ...]
    mean: tuple[Floats, Floats]
    scored: tuple[float, float] | None = None

    @property
    def bound(self) -> bool:
        return self.metric.endswith(BOUND_SUFFIX)

    @property
    def sampled(self) -> bool:
        """True if it is an estimate of the exact likelihood, from sampled tokens."""
        return self.metric == SAMPLED

    @property
    def masked(self) -> bool:
        """True if it is a loss over hidden cells that bounds nothing."""
        return self.metric == MASKED_LOSS

    @property
    def exact(self) -> bool:
        return not (self.bound or self.masked)

    @property
    def dashes(self) -> str | tuple[int, tuple[float, float]]:
        if self.masked:
            return (0, (1.0, 1.4))
        return (0, (4.0, 1.6)) if self.bound else "-"

    @property
    def loss(self) -> float:
        """At the scored checkpoint; at the end where that is not recorded."""
        return float(self.mean[1][-1]) if self.scored is None else self.scored[1]

    @property
    def band(self) -> tuple[Floats, Floats]:
        """The lowest and the highest seed at the places of the mean."""
        at_mean = [np.interp(self.mean[0], x, y) for x, y in self.seeds]
        return np.min(at_mean, axis=0), np.max(at_mean, axis=0)


def tokens(view: View) -> Figure:
    return _figure(view, "tokens")


def flops(view: View) -> Figure:
    return _figure(view, "flops")


def _figure(view: View, axis: str) -> Figure:
    panels, frames, all_lines, broken = [], [], list[tuple[Comparison, Curve]](), list[str]()
    for comparison in view.first:
        group = comparison.group
        lines = learning_curves(view.report.tables["curves"], group.runs, group.architectures, axis)
        lines = [line for line in lines if view.shows(comparison.group.dataset, line.architecture)]
        if not lines:
            continue
        about = f"Validation loss against training {axis}, {comparison.group.dataset}"
        title, condition_text = titled(comparison)
        drawing = partial(draw, curves=lines, looks=view.looks, axis=axis)
        panels.append(
            Panel(
                title=title,
                below="; ".join(filter(None, [condition_text, *_dashes(lines)])),
                height=2.7,
                draw=drawing,
                description=about,
            )
        )
        frames.append(numbers(lines, comparison.group.dataset, axis).assign(condition=comparison.group.condition))
        all_lines += [(comparison, line) for line in lines]
        broken += breaking(comparison)
    kinds = [line for _, line in all_lines]
    notes = (
        _SAMPLED * any(line.sampled for line in kinds)
        + _BOUNDS * any(line.bound for line in kinds)
        + _MASKED * any(line.masked for line in kinds)
    )
    broken_note = _BROKEN.format(names=listing(dict.fromkeys(broken))) if broken else ""
    return Figure(
        name=f"curves_{axis}",
        title=_TITLES[axis],
        caption=_CAPTION.format(bounds=notes, broken=broken_note, axes=_LOGARITHMIC * (axis == "flops")),
        panels=tuple(panels),
        architectures=tuple(dict.fromkeys(line.architecture for line in kinds)),
        numbers=pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(),
        takeaway=_takeaway(all_lines, axis),
    )


def draw(axes: Axes, curves: Sequence[Curve], looks: Looks, axis: str) -> None:
    """Validation loss against what was spent: the mean of the seeds in their band, the scored checkpoint marked."""
    least = _least(curves) if axis == "flops" else -np.inf
    for curve in curves:
        look = looks[curve.architecture]
        x, y = curve.mean
        low, high = (np.maximum(edge, least) for edge in curve.band)
        axes.fill_between(x, low, high, color=look.colour, alpha=0.18, linewidth=0)
        axes.plot(x, np.maximum(y, least), color=look.colour, linewidth=1.8, linestyle=curve.dashes)
        if curve.scored is not None and (curve.scored[0] > 0 or axis != "flops"):  # 0 has no place on a logarithm
            mean(axes, curve.scored[0], max(curve.scored[1], least), look, 6.5)
    axes.set_ylim(*_top(curves))
    if axis == "flops":
        axes.set_xscale("log")
        last = max(float(curve.mean[0][-1]) for curve in curves)
        log_ticks(axes, [max(last * _BEGIN / 2, min(float(curve.mean[0][-1]) for curve in curves) * _BEGIN), last])
        log_loss_ticks(axes)
    else:
        axes.set_xlim(left=0)
        axes.xaxis.set_major_formatter(EngFormatter(sep=SPACE))
        axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.set_ylabel("validation, nats per token")
    axes.set_xlabel(_AXES.get(axis, axis))
    both_grids(axes)


def learning_curves(curves: pd.DataFrame, runs: pd.DataFrame, architectures: Sequence[str], axis: str) -> list[Curve]:
    """The validation curves of runs against `axis` (`tokens`, `flops` or `seconds`), one for each architecture."""
    usable = np.isfinite(curves["value"]) & np.isfinite(curves[axis]) & (curves["split"] == "validation")
    rows = curves[usable & curves["run"].isin(runs["run"]) & curves["metric"].isin(_METRICS)]
    kept = [name for name in ("run", "architecture", "best_step") if name in runs]
    return list(_curves(rows.merge(runs[kept], on="run"), architectures, axis))


def _dashes(lines: Sequence[Curve]) -> list[str]:
    """Meanings of the dashes in a panel; none where all losses are exact."""
    bound, masked = any(line.bound for line in lines), any(line.masked for line in lines)
    return ["dashed: any-order bound"] * bound + ["dotted: masked loss"] * masked


def numbers(curves: list[Curve], dataset: str, axis: str) -> pd.DataFrame:
    """The mean curves as a table of rows `dataset architecture metric <axis> value lowest highest seeds`."""
    frames = [
        pd.DataFrame({axis: curve.mean[0], "value": curve.mean[1]}).assign(
            lowest=curve.band[0],
            highest=curve.band[1],
            dataset=dataset,
            architecture=curve.architecture,
            metric=curve.metric,
            seeds=len(curve.seeds),
        )
        for curve in curves
    ]
    columns = ["dataset", "architecture", "metric", axis, "value", "lowest", "highest", "seeds"]
    return pd.concat(frames)[columns] if frames else pd.DataFrame(columns=columns)


def _takeaway(lines: Sequence[tuple[Comparison, Curve]], axis: str) -> str:
    """The lowest validation loss of each data set that is a likelihood, marked where it is an estimate of one."""
    best: dict[str, Curve] = {}
    for comparison, line in lines:
        known = best.get(comparison.group.dataset)
        if line.exact and (known is None or line.loss < known.loss):
            best[comparison.group.dataset] = line
    spent = {
        dataset: f" at {number(line.scored[0])} FLOPs" if axis == "flops" and line.scored else ""
        for dataset, line in best.items()
    }
    parts = [
        f"{line.architecture} on {dataset} ({'about ' if line.sampled else ''}{value(line.loss, 3)}{spent[dataset]})"
        for dataset, line in best.items()
    ]
    return f"Lowest validation loss (nats per token): {listing(parts)}." if parts else ""


def _curves(rows: pd.DataFrame, architectures: Sequence[str], axis: str) -> Iterator[Curve]:
    for architecture in architectures:
        for metric, part in rows[rows["architecture"] == architecture].groupby("metric", sort=False):
            by_run = [run for _, run in part.groupby("run", sort=False)]
            seeds = tuple(_line(run, axis) for run in by_run)
            yield Curve(architecture, str(metric), seeds, _mean(seeds), _scored(by_run, axis))


def _line(run: pd.DataFrame, axis: str) -> tuple[Floats, Floats]:
    """A run's curve, thinned; where a resumed run recorded a point twice, the later record."""
    run = run.drop_duplicates(axis, keep="last").sort_values(axis)
    keep = np.unique(np.linspace(0, len(run) - 1, min(len(run), MOST_POINTS)).round().astype(int))
    return run[axis].to_numpy(dtype=float)[keep], run["value"].to_numpy(dtype=float)[keep]


def _mean(seeds: tuple[tuple[Floats, Floats], ...]) -> tuple[Floats, Floats]:
    """The mean over seeds, over what all of them have spent, interpolated at the first seed's points."""
    last, first = min(x[-1] for x, _ in seeds), max(x[0] for x, _ in seeds)
    grid = np.unique(np.clip(seeds[0][0], first, max(first, last)))
    return grid, np.mean([np.interp(grid, x, y) for x, y in seeds], axis=0)


def _scored(runs: Sequence[pd.DataFrame], axis: str) -> tuple[float, float] | None:
    """The mean over seeds of what was spent at the scored checkpoint, and of the loss there."""
    if any("best_step" not in run for run in runs):
        return None
    points = [run[run["step"] == run["best_step"]].tail(1) for run in runs]
    if any(point.empty for point in points):
        return None
    return tuple(float(np.mean([point[name].iloc[0] for point in points])) for name in (axis, "value"))  # type: ignore[return-value]


def _least(curves: Sequence[Curve]) -> float:
    """The least loss that a logarithmic axis shows: a loss of exactly 0 is drawn there."""
    values = np.concatenate([y for curve in curves for _, y in (*curve.seeds, curve.mean)])
    positive = values[values > 0]
    return max(float(positive.min()), float(positive.max()) / SMALLEST) if len(positive) else 1.0 / SMALLEST


def _top(curves: Sequence[Curve]) -> tuple[float, float]:
    """The range that shows all but the steep beginning: values from a sixth of what was spent on."""
    last = max(curve.mean[0][-1] for curve in curves)
    lines = [(x, y) for curve in curves for x, y in (*curve.seeds, curve.mean)]
    low = min(float(y.min()) for _, y in lines)
    high = max(float(y[np.searchsorted(x, min(last * _BEGIN, x[-1])) :].max()) for x, y in lines)
    margin = 0.06 * (high - low) or 0.05 * max(abs(high), 1)
    return (low - margin if low > margin else low * 0.95), high + margin
