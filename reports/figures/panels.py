"""Draws one panel of a figure into given axes: a headline, learning curves, or quality against cost."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.ticker import EngFormatter, MaxNLocator

from archbench.reports.analysis.comparison import UNTRAINED, Cell, Comparison
from archbench.reports.analysis.shares import Share
from archbench.reports.analysis.sweeps import SweepScore
from archbench.reports.analysis.trials import Trial, TunedSetting
from archbench.reports.analysis.verdicts import reference_label
from archbench.reports.base import formatting
from archbench.reports.base.statistics import Interval
from archbench.reports.figures.curves import Curve
from archbench.reports.figures.palette import INK, PAPER, QUIET, RULE, Look, label
from archbench.reports.figures.text_wrapping import wrapped

Looks = Mapping[str, Look]
SMALL: Final = 9.0
_ROW, _NAME_LINE, _AROUND = 0.27, 0.17, 0.98  # inches: a row, a line of its name, what is above and below the rows
_NAME_WIDTH: Final = 1.3
_LONGEST: Final = 36  # characters of a row's name


@dataclass(frozen=True)
class CostPoint:
    """An architecture's place in a panel of cost: what one test example costs (or how fast it goes), and its score."""

    architecture: str
    cost: float
    mean: float
    lower: float
    upper: float


def headline(axes: Axes, comparison: Comparison, looks: Looks) -> None:
    """A row for each architecture (seeds faint, mean and interval on top) and each reference, values at the right."""
    cells = comparison.scored
    references = _references(comparison)
    limits = _limits(comparison)
    axes.set_xlim(*limits)
    for place, cell in enumerate(cells):
        _row(axes, place, cell, looks[cell.architecture])
        at_right(axes, place, formatting.interval(cell.interval, comparison.metric.decimals), cell.best)
    for place, value in enumerate(references.values(), len(cells)):
        _reference(axes, place, value, limits)
        at_right(axes, place, formatting.value(value, comparison.metric.decimals), False, QUIET)
    name_rows(axes, headline_rows(comparison))
    for tick in axes.get_yticklabels()[len(cells) :]:
        tick.set_color(QUIET)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.set_xlabel(f"{comparison.metric.label} ({comparison.metric.direction})")
    axes.grid(axis="x", color=RULE, linewidth=0.6)


def headline_rows(comparison: Comparison) -> list[str]:
    """The names of a headline's rows: architectures, then references."""
    return [cell.architecture for cell in comparison.scored] + [*map(reference_label, _references(comparison))]


def rows_height(names: Sequence[str], longest: int = _LONGEST) -> float:
    """Inches of a panel with a row for each name; names of several lines that meet move all rows apart."""
    lines = [len(_name(name, longest)) for name in names]
    meeting = max((count + other for count, other in pairwise(lines)), default=0)
    return _AROUND + max(_ROW, _NAME_LINE * meeting / 2) * len(names)


def name_rows(axes: Axes, names: Sequence[str], longest: int = _LONGEST) -> None:
    """Rows from the top, their names at the left; names beyond ``longest`` characters are cut."""
    axes.set_yticks(range(len(names)), ["\n".join(_name(name, longest)) for name in names])
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)


def curves(axes: Axes, curves: Sequence[Curve], looks: Looks, axis: str) -> None:
    """Validation loss against what was spent: thin lines are seeds, thick ones means.

    Bounds are dashed, losses that bound nothing dotted.
    """
    for curve in curves:
        look, dashes = looks[curve.architecture], _dashes(curve)
        seeds = [np.column_stack(seed) for seed in curve.seeds]
        axes.add_collection(LineCollection(seeds, colors=look.colour, alpha=0.3, linewidths=0.7, linestyles=[dashes]))
        x, y = curve.mean
        axes.plot(x, y, color=look.colour, linewidth=1.8, linestyle=dashes)
        _mean(axes, float(x[-1]), float(y[-1]), look, 6.5)
    top = _top(curves)
    if top:
        axes.set_ylim(*top)
    axes.set_xlim(left=0)
    axes.set_ylabel("validation, nats per token")
    axes.set_xlabel({"tokens": "training tokens", "flops": "training FLOPs (model FLOPs)"}.get(axis, axis))
    axes.xaxis.set_major_formatter(EngFormatter(sep="\N{NO-BREAK SPACE}"))
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.grid(color=RULE, linewidth=0.6)


def _dashes(curve: Curve) -> str | tuple[int, tuple[float, float]]:
    if curve.masked:
        return (0, (1.0, 1.4))
    return (0, (4.0, 1.6)) if curve.bound else "-"


def cost(
    axes: Axes, points: Sequence[CostPoint], looks: Looks, x_label: str, y_label: str, frontier: Sequence[CostPoint]
) -> None:
    """Score against a cost on a logarithmic axis, with the score's interval, and a line through the frontier."""
    line = sorted((point.cost, point.mean) for point in frontier)
    axes.plot(*zip(*line, strict=True), color=QUIET, linewidth=0.9, linestyle=(0, (3, 2)), zorder=0)
    for point in points:
        look = looks[point.architecture]
        if math.isfinite(point.lower):
            axes.plot([point.cost, point.cost], [point.lower, point.upper], color=look.colour, linewidth=2)
        _mean(axes, point.cost, point.mean, look)
    axes.set_xscale("log")
    _log_ticks(axes, [point.cost for point in points])
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.grid(color=RULE, linewidth=0.6)


def shares(axes: Axes, points: Sequence[Share], looks: Looks, y_label: str) -> None:
    """Score against training tokens, each point trained by itself: a line for each architecture, with intervals."""
    _lines(axes, [(point.architecture, point.tokens, point.interval) for point in points], looks)
    _log_ticks(axes, [point.tokens for point in points])
    axes.set_xlabel("training tokens, each point annealed by itself")
    axes.set_ylabel(y_label)


def scaling(axes: Axes, scores: Sequence[SweepScore], looks: Looks, y_label: str, reference: float | None) -> None:
    """Score against parameters on a logarithmic axis, and a classical reference as a dashed line."""
    _lines(axes, [(score.architecture, score.parameters, score.interval) for score in scores], looks)
    _reference_line(axes, reference)
    formatter = EngFormatter(sep="\N{NO-BREAK SPACE}")
    _point_ticks(axes, {score.value: formatter(score.value) for score in scores})
    axes.set_xlabel("parameters outside the embeddings")
    axes.set_ylabel(y_label)


def depth(axes: Axes, scores: Sequence[SweepScore], looks: Looks, y_label: str, reference: float | None) -> None:
    """Score against layers at equal parameters, the width of each depth below it."""
    _lines(axes, [(score.architecture, score.value, score.interval) for score in scores], looks)
    _reference_line(axes, reference)
    widths = {score.value: formatting.count(score.width) for score in scores}
    _point_ticks(axes, {point: f"{point}\n({width})" for point, width in widths.items()})
    axes.set_xlabel("layers of each stack (width)")
    axes.set_ylabel(y_label)


def tuning(axes: Axes, trials: Sequence[Trial], chosen: Sequence[TunedSetting], looks: Looks) -> None:
    """Validation loss against the learning rate; the chosen settings are large; dashed with the greater dropouts."""
    dropouts = sorted({trial.dropout for trial in trials})
    for name, dropout in dict.fromkeys((trial.architecture, trial.dropout) for trial in trials):
        own_trials, look = [t for t in trials if (t.architecture, t.dropout) == (name, dropout)], looks[name]
        dashes = "-" if dropout == dropouts[0] else (0, (4, 1.6))
        axes.plot(
            [t.learning_rate for t in own_trials],
            [t.loss for t in own_trials],
            color=look.colour,
            linewidth=1.4,
            ls=dashes,
        )
        for trial in own_trials:
            _mean(axes, trial.learning_rate, trial.loss, look, 4)
    for setting in chosen:
        _mean(axes, setting.learning_rate, setting.loss, looks[setting.architecture], 9)
    axes.set_xscale("log")
    rates = sorted({trial.learning_rate for trial in trials})
    axes.set_xticks(rates, [f"{rate:.3g}" for rate in rates])
    axes.minorticks_off()
    axes.set_xlabel("learning rate")
    axes.set_ylabel("validation, nats per token")
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.grid(color=RULE, linewidth=0.6)


def _lines(axes: Axes, points: Sequence[tuple[str, float, Interval]], looks: Looks) -> None:
    """Scores against what was given, on a logarithmic axis: a line for each architecture, with intervals."""
    for name in dict.fromkeys(name for name, _, _ in points):
        own_points, look = [(x, interval) for architecture, x, interval in points if architecture == name], looks[name]
        axes.plot(
            [x for x, _ in own_points], [interval.mean for _, interval in own_points], color=look.colour, linewidth=1.4
        )
        for x, interval in own_points:
            if interval.known:
                axes.plot([x] * 2, [interval.lower, interval.upper], color=look.colour, linewidth=2)
            _mean(axes, x, interval.mean, look)
    axes.set_xscale("log")
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.grid(color=RULE, linewidth=0.6)


def _name(text: str, longest: int = _LONGEST) -> list[str]:
    return wrapped(label(text, longest), _NAME_WIDTH)


def _references(comparison: Comparison) -> dict[str, float]:
    return dict(comparison.references) if comparison.metric.better else {}


def _row(axes: Axes, place: int, cell: Cell, look: Look) -> None:
    """One architecture: its interval and mean, its seeds just below."""
    seeds = list(cell.values.values())
    below = [place + 0.27] * len(seeds)
    axes.plot(seeds, below, look.marker, color=look.colour, alpha=0.45, markersize=4, markeredgewidth=0)
    if cell.interval.known:
        ends = [cell.interval.lower, cell.interval.upper]
        axes.plot(ends, [place, place], color=look.colour, linewidth=2.2, solid_capstyle="butt")
    _mean(axes, cell.interval.mean, place, look)


def _mean(axes: Axes, x: float, y: float, look: Look, size: float = 8) -> None:
    axes.plot([x], [y], look.marker, color=look.colour, markersize=size, markeredgecolor=PAPER, clip_on=False, zorder=5)


def at_right(axes: Axes, place: float, text: str, strong: bool, colour: str = INK) -> None:
    """Text beside the axes, at the height of a row."""
    axes.annotate(
        text,
        xy=(1, place),
        xycoords=("axes fraction", "data"),
        xytext=(8, 0),
        textcoords="offset points",
        va="center",
        color=colour,
        weight="bold" if strong else "normal",
        fontsize=SMALL,
        annotation_clip=False,
    )


def _reference(axes: Axes, place: float, value: float, limits: tuple[float, float]) -> None:
    """A reference's mark and the line up from it; an arrow at the edge where it lies outside."""
    low, high = limits
    if low <= value <= high:
        axes.plot([value, value], [-0.6, place], color=QUIET, linewidth=0.9, linestyle=(0, (3, 2)), zorder=0)
        axes.plot([value], [place], "d", color=QUIET, markersize=6)
        return
    inside = 0.015 * (high - low)
    edge, marker = (low + inside, "<") if value < low else (high - inside, ">")
    axes.plot([edge], [place], marker, color=QUIET, markersize=6)


def _reference_line(axes: Axes, reference: float | None) -> None:
    if reference is not None:
        axes.axhline(reference, color=QUIET, linewidth=0.9, linestyle=(0, (3, 2)), zorder=0)


def _limits(comparison: Comparison) -> tuple[float, float]:
    """The range of the scores, of intervals that are not absurdly wide, and of the best classical reference."""
    seeds = [value for cell in comparison.scored for value in cell.values.values()]
    best = comparison.classical
    inner = seeds + ([best[1]] if best and best[0] != UNTRAINED else [])
    low, high = min(inner), max(inner)
    span = (high - low) or max(abs(high) * 0.1, 0.1)
    ends = [
        end for cell in comparison.scored if cell.interval.known for end in (cell.interval.lower, cell.interval.upper)
    ]
    low = max(min([low, *ends]), low - span)
    high = min(max([high, *ends]), high + span)
    further = [value for name, value in comparison.references.items() if low - span / 2 <= value <= high + span / 2]
    low, high = min([low, *further]), max([high, *further])
    margin = 0.06 * (high - low) or 0.05 * max(abs(high), 1)
    return low - margin, high + margin


def _top(curves: Sequence[Curve]) -> tuple[float, float] | None:
    """The range that shows all but the steep beginning: values from a sixth of what was spent on."""
    if not curves:
        return None
    last = max(curve.mean[0][-1] for curve in curves)
    lines = [(x, y) for curve in curves for x, y in (*curve.seeds, curve.mean)]
    low = min(float(y.min()) for _, y in lines)
    high = max(float(y[np.searchsorted(x, min(last / 6, x[-1])) :].max()) for x, y in lines)
    margin = 0.06 * (high - low) or 0.05 * max(abs(high), 1)
    return low - margin, high + margin


def _log_ticks(axes: Axes, costs: Sequence[float]) -> None:
    """Ticks at 1, 2 and 5 in every decade (whole decades only over a wide range), as SI numbers."""
    low, high = min(costs) / 1.6, max(costs) * 1.6
    steps = (1, 2, 5) if high / low < 300 else (1,)
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks = [step * 10.0**decade for decade in decades for step in steps if low <= step * 10.0**decade <= high]
    while len(ticks) > 6:
        ticks = ticks[::2]
    axes.set_xlim(low, high)
    axes.set_xticks(ticks)
    axes.minorticks_off()
    axes.xaxis.set_major_formatter(EngFormatter(sep="\N{NO-BREAK SPACE}"))


def _point_ticks(axes: Axes, points: Mapping[int, str]) -> None:
    """A tick at every point."""
    axes.set_xlim(min(points) / 1.4, max(points) * 1.4)
    axes.set_xticks(sorted(points), [points[point] for point in sorted(points)])
    axes.minorticks_off()
