"""What several figures draw: named rows, means with intervals, lines over a logarithmic axis, ticks."""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Final

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import EngFormatter, FixedLocator, MaxNLocator, NullLocator

from archbench.reports.base.statistics import Interval
from archbench.reports.figures.canvas.palette import Look, ink, label, paper, quiet, rule
from archbench.reports.figures.canvas.styles import scaled
from archbench.reports.figures.canvas.text_wrapping import wrapped

Looks = Mapping[str, Look]
DASHED: Final = (0, (3, 2))
SPACE: Final = "\N{NO-BREAK SPACE}"
_ROW, _NAME_LINE, _AROUND = 0.27, 0.17, 0.98  # inches: a row, a line of its name, what is above and below the rows
_MARK: Final = 0.14  # rows between the marks of one row
_NAME_WIDTH: Final = 1.3
_LONGEST: Final = 36  # characters of a row's name
SMALLEST: Final = 1e6  # of a logarithmic axis: the largest value over the smallest, where a loss is 0


def rows_height(names: Sequence[str], longest: int = _LONGEST, below: int = 0) -> float:
    """Inches of a panel with a row for each name and ``below`` more lines; lines that meet move all rows apart."""
    lines = [len(_name(name, longest)) + below for name in names]
    meeting = max((count + other for count, other in pairwise(lines)), default=0)
    return _AROUND + max(_ROW, _NAME_LINE * meeting / 2) * len(names)


def name_rows(axes: Axes, names: Sequence[str], longest: int = _LONGEST) -> None:
    """Rows from the top, their names at the left; names beyond ``longest`` characters are cut."""
    axes.set_yticks(range(len(names)), ["\n".join(_name(name, longest)) for name in names])
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)


def at_right(axes: Axes, y: float, text: str, strong: bool, colour: str | None = None) -> None:
    """Text beside the axes, at the height of a row."""
    axes.annotate(
        text,
        xy=(1, y),
        xycoords=("axes fraction", "data"),
        xytext=(8, 0),
        textcoords="offset points",
        va="center",
        color=colour or ink(),
        weight="bold" if strong else "normal",
        fontsize=small(),
        annotation_clip=False,
    )


def small() -> float:
    """Points of text beside marks."""
    return float(matplotlib.rcParams["font.size"]) * 9 / 9.5


def mean(axes: Axes, x: float, y: float, look: Look, size: float = 8, **changes: Any) -> None:
    """A mark on top of all lines, with an edge that sets it apart from others."""
    style: dict[str, Any] = {"color": look.colour, "markersize": size, "markeredgecolor": paper(), "clip_on": False}
    axes.plot([x], [y], look.marker, **style | {"zorder": 5} | changes)


def upright(axes: Axes, x: float, interval: Interval, look: Look) -> None:
    """A vertical interval; nothing where it is not known."""
    if interval.known:
        axes.plot([x, x], [interval.lower, interval.upper], color=look.colour, linewidth=2)


def lines(axes: Axes, points: Sequence[tuple[str, float, Interval]], looks: Looks) -> None:
    """Scores against what was given, on a logarithmic axis: a line for each architecture, with intervals."""
    for name in dict.fromkeys(name for name, _, _ in points):
        own_points, look = [(x, interval) for architecture, x, interval in points if architecture == name], looks[name]
        axes.plot([x for x, _ in own_points], [score.mean for _, score in own_points], color=look.colour, linewidth=1.4)
        for x, interval in own_points:
            upright(axes, x, interval, look)
            mean(axes, x, interval.mean, look)
    axes.set_xscale("log")
    axes.yaxis.set_major_locator(MaxNLocator(5))
    both_grids(axes)


def row_marks(axes: Axes, rows: Mapping[str, Sequence[tuple[Interval, Look, bool]]]) -> None:
    """Named rows of means with intervals, one below the other; a mark whose third entry is true is hollow."""
    for row, marks in enumerate(rows.values()):
        for number, (interval, look, hollow) in enumerate(marks):
            y = row + (number - (len(marks) - 1) / 2) * _MARK
            if interval.known:
                axes.plot([interval.lower, interval.upper], [y, y], color=look.colour, linewidth=1.6)
            mean(axes, interval.mean, y, look, 6, **(hollow_face(look) if hollow else {}))
    name_rows(axes, [*rows])
    axes.xaxis.set_major_locator(MaxNLocator(5))
    both_grids(axes)


def hollow_face(look: Look) -> dict[str, Any]:
    return {"markerfacecolor": paper(), "markeredgecolor": look.colour}


def baseline_line(axes: Axes, baseline: float | None) -> None:
    """A dashed line at the best baseline."""
    if baseline is not None:
        axes.axhline(baseline, color=quiet(), linewidth=0.9, linestyle=DASHED, zorder=0)


def both_grids(axes: Axes) -> None:
    axes.grid(color=rule(), linewidth=0.6)


def upright_grid(axes: Axes) -> None:
    axes.grid(axis="x", color=rule(), linewidth=0.6)


def log_ticks(axes: Axes, costs: Sequence[float]) -> None:
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
    axes.xaxis.set_major_formatter(EngFormatter(sep=SPACE))


def log_loss_ticks(axes: Axes) -> None:
    """A logarithmic vertical axis with ticks in plain numbers: 1, 2 and 5 in every decade, or round ones within one."""
    low, high = axes.get_ylim()
    axes.set_yscale("log")
    if low <= 0:  # a loss of exactly 0 lies below every axis
        drawn = np.concatenate([np.asarray(line.get_ydata(), float) for line in axes.lines] or [np.zeros(0)])
        high = high if high > 0 else 1.0
        low = max(float(drawn[drawn > 0].min(initial=high)) / 1.2, high / SMALLEST)
        axes.set_ylim(low, high)
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks = [step * 10.0**decade for decade in decades for step in (1, 2, 5) if low <= step * 10.0**decade <= high]
    while len(ticks) > 7:
        ticks = ticks[::2]
    axes.yaxis.set_major_locator(FixedLocator(ticks) if high / low > 6 else MaxNLocator(5))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(lambda tick, _: f"{tick:.4g}")


def point_ticks(axes: Axes, points: Mapping[float, str]) -> None:
    """A tick at every point of a logarithmic axis."""
    axes.set_xlim(min(points) / 1.4, max(points) * 1.4)
    axes.set_xticks(sorted(points), [points[point] for point in sorted(points)])
    axes.minorticks_off()


def _name(text: str, longest: int = _LONGEST) -> list[str]:
    return wrapped(label(text, longest), scaled(_NAME_WIDTH))
