"""Budget ratios at equal score: a row for each pair and kind of cost, on a logarithmic axis."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, NullLocator

from archbench.reports.base import formatting
from archbench.reports.figures.canvas.drawing import Panel
from archbench.reports.figures.canvas.marks import at_right, name_rows, rows_height, upright_grid
from archbench.reports.figures.canvas.palette import hue, label, paper, quiet
from archbench.reports.figures.figure import Figure, View
from archbench.reports.readings import horizontal
from archbench.reports.readings.horizontal import Distance, numbers

CAPTION: Final = (
    "Ratio of the training tokens, or FLOPs, that the first and the second architecture need for the same score: the "
    "final score of the worse one, or 0.9 where a row says so. Lines: 95% intervals (parametric bootstrap over seeds), "
    "cut one doubling beyond a curve. Coloured and bold: the interval lies above 1. Arrows: lower bounds, because the "
    "second is already better at its smallest budget. Dashed: equal budgets."
)
LONGEST: Final = 72  # characters of what is compared
TICKS: Final = (0.25, 0.5, 1, 2, 4, 8, 16, 32, 64)
UNITS: Final = {"tokens": "tokens", "flops": "FLOPs"}


def distances(view: View) -> Figure:
    """A panel for each data set and metric on which parts of the budget were trained."""
    shown = [entry for entry in horizontal.distances(view.report) if view.shows(entry.dataset, entry.slow, entry.fast)]
    parts = by_panel(shown)
    table = pd.DataFrame([row for part in parts for row in part.numbers()])
    named = tuple(dict.fromkeys(name for entry in shown for name in (entry.slow, entry.fast)))
    title, panels = "Budget ratios at equal score", tuple(part.panel for part in parts)
    return Figure(
        name="distances",
        title=title,
        caption=CAPTION,
        panels=panels,
        architectures=named,
        numbers=table,
        keyed=False,
        coloured=False,
        takeaway=_takeaway(shown),
    )


def _takeaway(shown: Sequence[Distance]) -> str:
    """The greatest ratio of FLOPs whose interval excludes 1."""
    sure = [entry for entry in shown if entry.cost == "flops" and entry.lower > 1]
    if not sure:
        return "No 95% interval of a FLOPs ratio lies above 1." if shown else ""
    most = max(sure, key=lambda entry: entry.ratio)
    return f"Largest FLOPs ratio ({most.dataset}): {most.sentence[0].lower()}{most.sentence[1:]}"


@dataclass(frozen=True)
class Distances:
    """The distances on one data set by one metric."""

    rows: tuple[Distance, ...]

    @property
    def panel(self) -> Panel:
        first = self.rows[0]
        about = f"Budget ratios at equal {first.metric.label} on {first.dataset}"
        height = rows_height(list(map(_name, self.rows)), LONGEST)
        return Panel(
            title=label(first.dataset, 80),
            below=first.metric.label,
            height=height,
            draw=partial(draw, rows=self.rows),
            description=about,
        )

    def numbers(self) -> list[dict[str, object]]:
        return numbers(self.rows)


def by_panel(distances: Sequence[Distance]) -> list[Distances]:
    """A panel for each data set and metric."""
    keys = dict.fromkeys((entry.dataset, entry.metric.name) for entry in distances)
    return [Distances(tuple(entry for entry in distances if (entry.dataset, entry.metric.name) == key)) for key in keys]


def draw(axes: Axes, rows: Sequence[Distance]) -> None:
    """A row for each distance: interval and estimate, and the number at the right."""
    axes.set_xscale("log")
    ends = [end for row in rows for end in (row.ratio, row.lower, row.upper) if end > 0]
    low, high = min([1.0, *ends]) / 1.3, max([2.0, *ends]) * 1.3
    axes.set_xlim(low, high)
    axes.axvline(1, color=quiet(), linewidth=0.9, linestyle="--", zorder=1)
    for y, row in enumerate(rows):
        colour = hue("vermillion") if row.lower > 1 else quiet()
        if row.upper > 0:
            axes.plot([row.lower, row.upper], [y, y], color=colour, linewidth=2.2, solid_capstyle="butt")
        mark = ">" if row.at_least else "o"
        axes.plot([row.ratio], [y], mark, color=colour, markersize=7, markeredgecolor=paper(), zorder=5)
        ratio = f"{'≥ ' if row.at_least else ''}{formatting.number(row.ratio)}"
        at_right(axes, y, f"{ratio} times", row.lower > 1, shorter=(f"{ratio}\N{MULTIPLICATION SIGN}", ""))
    name_rows(axes, list(map(_name, rows)), LONGEST)
    axes.xaxis.set_major_locator(FixedLocator([tick for tick in TICKS if low < tick < high]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(lambda tick, _: f"{tick:g}")
    axes.set_xlabel("budget ratio (log scale)")
    upright_grid(axes)


def _name(row: Distance) -> str:
    goal = f" at {formatting.value(row.score, row.metric.decimals)}" if row.goal else ""
    return f"{row.slow} vs. {row.fast}, {UNITS[row.cost]}{goal}"
