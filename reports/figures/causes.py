"""Waterfalls: how a difference between two families divides among single changes."""

from collections.abc import Sequence
from functools import partial
from typing import Final

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from archbench.reports.analysis.waterfall import Waterfall
from archbench.reports.base import formatting
from archbench.reports.base.formatting import listing
from archbench.reports.base.metrics import metric
from archbench.reports.base.statistics import Interval
from archbench.reports.figures.drawing import Panel
from archbench.reports.figures.palette import COLOURS, INK, QUIET, RULE, label
from archbench.reports.figures.panels import at_right, name_rows, rows_height

CAPTION: Final = (
    "From the first architecture to the last in steps, which add up to the whole difference. Bars: the "
    "difference that a change makes in the primary metric, better to the right; lines: 95% intervals (not corrected). "
    "Coloured: the interval excludes 0. In another order, the same changes could have different effects."
)
HEIGHT: Final = 0.5  # of a bar
LONGEST: Final = 72  # characters of the changes of a step


def panel(entry: Waterfall) -> Panel:
    """The waterfall of one path."""
    names = _names(entry)
    below = label(f"{entry.first} to {entry.last}{f', {entry.axis}' if entry.axis else ''}", 200)
    place = f"{entry.dataset}{f' at {entry.axis}' if entry.axis else ''}"
    about = f"How the difference from {entry.first} to {entry.last} on {place} divides among changes"
    return Panel(label(entry.dataset, 80), below, rows_height(names, LONGEST), partial(draw, entry=entry), about)


def draw(axes: Axes, entry: Waterfall) -> None:
    """A bar for each step from where the one before ended, and one for the whole difference from 0."""
    measure = metric(entry.metric)
    begin = 0.0
    for place, step in enumerate(entry.steps):
        gap = step.contrast.difference
        _bar(axes, place, begin, gap, _ink(gap), measure.decimals)
        axes.plot([begin + gap.mean] * 2, [place, place + 1], color=RULE, linewidth=1.0, zorder=1)
        begin += gap.mean
    _bar(axes, len(entry.steps), 0.0, entry.whole.difference, INK, measure.decimals)
    axes.axvline(0, color=QUIET, linewidth=0.9, zorder=1)
    name_rows(axes, _names(entry), LONGEST)
    axes.margins(x=0.08)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.set_xlabel(f"change in {measure.label}, better to the right")
    axes.grid(axis="x", color=RULE, linewidth=0.6)


def _bar(axes: Axes, place: int, begin: float, gap: Interval, ink: str, decimals: int) -> None:
    axes.barh([place], [gap.mean], HEIGHT, left=[begin], color=ink, alpha=0.8, zorder=2)
    if gap.known:
        axes.plot([begin + gap.lower, begin + gap.upper], [place, place], color=INK, linewidth=1.2, zorder=3)
    size = formatting.value(gap.mean, formatting.decimals(gap, decimals))
    at_right(axes, place, f"{'+' if gap.mean > 0 else ''}{size}", gap.excludes_zero)


def _ink(gap: Interval) -> str:
    if not gap.excludes_zero:
        return QUIET
    return COLOURS["green"] if gap.mean > 0 else COLOURS["vermillion"]


def _names(entry: Waterfall) -> Sequence[str]:
    return [*(listing(step.changes) for step in entry.steps), "whole difference"]
