"""Waterfalls: how a difference between two families divides among single changes."""

from collections.abc import Sequence
from functools import partial
from typing import Final

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from archbench.reports.base import formatting
from archbench.reports.base.formatting import listing
from archbench.reports.base.statistics import Interval
from archbench.reports.contrasts.words import BELOW_GATE_MARK, MARKED_BELOW_GATE
from archbench.reports.figures.canvas.drawing import Panel
from archbench.reports.figures.canvas.marks import at_right, name_rows, rows_height, upright_grid
from archbench.reports.figures.canvas.palette import hue, ink, label, quiet, rule
from archbench.reports.figures.figure import Figure, View
from archbench.reports.readings import waterfall
from archbench.reports.readings.waterfall import Waterfall

CAPTION: Final = (
    "From the first architecture to the last in steps that add up to the whole difference. Bars: the difference that a "
    "change makes in the primary metric, better to the right; lines: 95% intervals of the difference, not corrected, "
    "drawn from the start of the step. Coloured: the interval excludes 0. In another order, the same changes could "
    "have different effects."
)
HEIGHT: Final = 0.5  # of a bar
LONGEST: Final = 72  # characters of the changes of a step


def causes(view: View) -> Figure:
    """A waterfall for each path between two families, data set and axis."""
    waterfalls = [
        entry for entry in waterfall.waterfalls(view.report) if view.shows(entry.dataset, entry.first, entry.last)
    ]
    table = pd.DataFrame(waterfall.numbers(waterfalls))
    named = tuple(dict.fromkeys(name for entry in waterfalls for name in (entry.first, entry.last)))
    panels = tuple(map(panel, waterfalls))
    title = "Causes of the differences"
    gate = f" {MARKED_BELOW_GATE}." if any(row["gate"] for row in waterfall.numbers(waterfalls)) else ""
    caption = f"{CAPTION}{_meanings(waterfalls)}{gate}"
    return Figure(
        name="causes",
        title=title,
        caption=caption,
        panels=panels,
        architectures=named,
        numbers=table,
        keyed=False,
        coloured=False,
        takeaway=_takeaway(waterfalls),
    )


def panel(entry: Waterfall) -> Panel:
    """The waterfall of one path."""
    names = _names(entry)
    below = label(f"{entry.first} to {entry.last}{f', {entry.axis}' if entry.axis else ''}", 200)
    setting = f"{entry.dataset}{f' at {entry.axis}' if entry.axis else ''}"
    about = f"How the difference from {entry.first} to {entry.last} on {setting} divides among changes"
    return Panel(
        title=label(entry.dataset, 80),
        below=below,
        height=rows_height(names, LONGEST),
        draw=partial(draw, entry=entry),
        description=about,
    )


def draw(axes: Axes, entry: Waterfall) -> None:
    """A bar for each step from where the one before ended, and one for the whole difference from 0."""
    measure = entry.metric
    begin = 0.0
    for y, step in enumerate(entry.steps):
        gap = step.contrast.difference
        _bar(axes, y, begin, gap, _colour(gap), measure.decimals)
        axes.plot([begin + gap.mean] * 2, [y, y + 1], color=rule(), linewidth=1.0, zorder=1)
        begin += gap.mean
    _bar(axes, len(entry.steps), 0.0, entry.whole.difference, ink(), measure.decimals)
    axes.axvline(0, color=quiet(), linewidth=0.9, zorder=1)
    name_rows(axes, _names(entry), LONGEST)
    axes.margins(x=0.08)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.set_xlabel(f"change in {measure.label}, better to the right")
    upright_grid(axes)


def _bar(axes: Axes, y: int, begin: float, gap: Interval, colour: str, decimals: int) -> None:
    axes.barh([y], [gap.mean], HEIGHT, left=[begin], color=colour, alpha=0.8, zorder=2)
    axes.plot([begin, begin], [y - 0.42, y + 0.42], color=ink(), linewidth=1.2, zorder=3)
    if gap.known:
        axes.plot([begin + gap.lower, begin + gap.upper], [y, y], color=ink(), linewidth=1.2, zorder=3)
    size = formatting.value(gap.mean, formatting.decimals(gap, decimals))
    at_right(axes, y, f"{'+' if gap.mean > 0 else ''}{size}", gap.excludes_zero, shorter=("",))


def _colour(gap: Interval) -> str:
    if not gap.excludes_zero:
        return quiet()
    return hue("green") if gap.mean > 0 else hue("vermillion")


def _names(entry: Waterfall) -> Sequence[str]:
    marks = [(listing(step.changes), step.contrast) for step in entry.steps] + [("total", entry.whole)]
    return [f"{name} {BELOW_GATE_MARK}" if contrast.gate else name for name, contrast in marks]


def _meanings(waterfalls: Sequence[Waterfall]) -> str:
    """Meanings of the masks and predictions that steps name."""
    named = {change for entry in waterfalls for step in entry.steps for change in step.changes}
    meanings = [f"{name}: {meaning}" for name, meaning in waterfall.MEANINGS.items() if name in named]
    return f" {'; '.join(meanings).capitalize()}." if meanings else ""


def _takeaway(waterfalls: Sequence[Waterfall]) -> str:
    """The greatest step on each data set's first path with a difference and a step whose intervals exclude 0."""
    parts: dict[str, str] = {}
    for entry in waterfalls:
        if not entry.whole.difference.excludes_zero:
            continue
        steps = [step for step in entry.steps if step.contrast.difference.excludes_zero]
        if steps and entry.dataset not in parts:
            step = max(steps, key=lambda step: abs(step.contrast.difference.mean))
            gap, decimals = step.contrast.difference, entry.metric.decimals
            size = f"{'+' if gap.mean > 0 else ''}{formatting.value(gap.mean, decimals)}"
            axis = f" at {entry.axis}" if entry.axis else ""
            path = f"from {entry.first} to {entry.last} on {entry.dataset}{axis}"
            parts[entry.dataset] = f"{path}: {listing(step.changes)} ({size} {entry.metric.label})"
    if not parts:
        return "No difference has an interval that excludes 0." if waterfalls else ""
    return f"Largest step {'; '.join(parts.values())}."
