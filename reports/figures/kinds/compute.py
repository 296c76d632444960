"""Loss against compute on logarithmic axes, with arrows for how many times the compute one architecture needs."""

from collections.abc import Sequence
from functools import partial
from typing import Final

import pandas as pd
from matplotlib.axes import Axes

from archbench.reports.base.formatting import number
from archbench.reports.figures.canvas.drawing import Panel
from archbench.reports.figures.canvas.marks import Looks, both_grids, lines, log_loss_ticks, log_ticks, small
from archbench.reports.figures.canvas.palette import ink, label, paper
from archbench.reports.figures.figure import Figure, View
from archbench.reports.questions import shares as budgets
from archbench.reports.questions.shares import Share
from archbench.reports.readings import horizontal
from archbench.reports.readings.horizontal import Distance

LOSS: Final = "bits_per_byte"
LEAST: Final = 1.1  # times the FLOPs that get an arrow
CAPTION: Final = (
    "Test loss against training FLOPs, both logarithmic: means over seeds; bars: 95% intervals. Each point is a "
    "separate training run on a part of the budget. Arrows: ratio of the FLOPs for the same loss, from the curve "
    "that needs more to the one in the arrow's colour (intervals: figure distances)."
)


def compute(view: View) -> Figure:
    """A panel for each data set with a likelihood on which parts of the budget were trained."""
    comparisons = view.report.comparisons
    distances = [entry for entry in horizontal.distances(view.report) if entry.cost == "flops"]
    panels, rows, names, shown = [], list[dict[str, object]](), list[str](), list[Distance]()
    for comparison in view.first:
        dataset = comparison.group.dataset
        if LOSS not in comparisons.metrics(comparison.group):
            continue
        measured = comparisons.compare(comparison.group, LOSS)
        points = [p for p in budgets.shares(comparisons, measured) if view.shows(dataset, p.architecture)]
        if not points:
            continue
        arrows = [
            entry
            for entry in distances
            if (entry.dataset, entry.metric.name) == (dataset, LOSS) and view.shows(dataset, entry.slow, entry.fast)
        ]
        drawing = partial(draw, points=points, arrows=arrows, looks=view.looks)
        panels.append(
            Panel(
                title=label(dataset, 80),
                below="",
                height=3.2,
                draw=drawing,
                description=f"Test loss against training FLOPs, {dataset}",
            )
        )
        rows += budgets.numbers(measured, points)
        names += [point.architecture for point in points]
        shown += arrows
    named = tuple(dict.fromkeys(names))
    takeaway = _takeaway(shown)
    return Figure(
        name="compute",
        title="Loss against compute",
        caption=CAPTION,
        panels=tuple(panels),
        architectures=named,
        numbers=pd.DataFrame(rows),
        takeaway=takeaway,
    )


def draw(axes: Axes, points: Sequence[Share], arrows: Sequence[Distance], looks: Looks) -> None:
    """The curves, and an arrow from each slower architecture's curve to that of the faster one."""
    lines(axes, [(point.architecture, point.flops, point.interval) for point in points], looks)
    ends = [end for p in points for end in (p.interval.mean, p.interval.lower, p.interval.upper) if end > 0]
    room = (max(ends) / min(ends)) ** 0.05
    axes.set_ylim(min(ends) / room, max(ends) * room)
    log_loss_ticks(axes)
    log_ticks(axes, [point.flops for point in points])
    for entry in _farthest(arrows):
        slow, fast = ([point for point in points if point.architecture == name] for name in (entry.slow, entry.fast))
        if slow and fast and entry.ratio > LEAST:
            at_end = slow[-1].interval.mean == entry.score
            begin = slow[-1].flops / entry.ratio if at_end else fast[-1].flops
            _arrow(axes, begin, entry, looks)
    axes.set_xlabel("training FLOPs (a separate run for each point)")
    axes.set_ylabel("test loss, bits per byte")
    both_grids(axes)


def _farthest(arrows: Sequence[Distance]) -> list[Distance]:
    """For each slower architecture, the one that it is farthest behind."""
    farthest: dict[str, Distance] = {}
    for entry in arrows:
        if not entry.goal and (entry.slow not in farthest or entry.ratio > farthest[entry.slow].ratio):
            farthest[entry.slow] = entry
    return list(farthest.values())


def _arrow(axes: Axes, begin: float, entry: Distance, looks: Looks) -> None:
    """From the curve of the slower architecture to that of the faster one, at ``begin`` FLOPs, in its colour."""
    end, height, colour = begin * entry.ratio, entry.score, looks[entry.fast].colour
    style = {"arrowstyle": "-|>", "color": colour, "linewidth": 1.2, "shrinkA": 5, "shrinkB": 5}
    axes.annotate("", (begin, height), (end, height), arrowprops=style)
    times = f"{'≥ ' if entry.at_least else ''}{number(entry.ratio)}\N{MULTIPLICATION SIGN}"
    axes.annotate(
        times,
        ((begin * end) ** 0.5, height),
        (0, 9),
        textcoords="offset points",
        ha="center",
        va="center",
        fontsize=small(),
        color=ink(),
        bbox={"facecolor": paper(), "edgecolor": "none", "pad": 0.4, "alpha": 0.8},
        zorder=6,
    )


def _takeaway(arrows: Sequence[Distance]) -> str:
    """The greatest distance in FLOPs."""
    if not arrows:
        return ""
    most = max(arrows, key=lambda entry: entry.ratio)
    least = "at least " if most.at_least else ""
    times = f"{least}{number(most.ratio)} times"
    return (
        f"Largest FLOPs ratio ({most.dataset}): {most.slow} needs {times} the FLOPs of {most.fast} for the same loss."
    )
