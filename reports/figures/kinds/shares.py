"""Score against budget: parts of the budget, each trained by itself."""

from functools import partial
from typing import Final

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import EngFormatter

from archbench.reports.contrasts.phrase import counted, first_sides
from archbench.reports.figures.canvas.drawing import Panel
from archbench.reports.figures.canvas.marks import SPACE, Looks, lines, point_ticks
from archbench.reports.figures.canvas.palette import label
from archbench.reports.figures.figure import Figure, View
from archbench.reports.questions import shares as budgets
from archbench.reports.questions.shares import Share

CAPTION: Final = (
    "Test score against training tokens: means over seeds; bars: 95% intervals. Each point is a separate training run "
    "on a part of the budget, with a full learning-rate schedule; the last point is the whole budget."
)
MOST_NAMED: Final = 4  # scores whose outcomes the line above the figure names


def shares(view: View) -> Figure:
    """A panel for each data set on which parts of the budget were trained."""
    panels, rows, names = [], list[dict[str, object]](), list[str]()
    for comparison in view.first:
        points = [
            point
            for point in budgets.shares(view.report.comparisons, comparison)
            if view.shows(comparison.group.dataset, point.architecture)
        ]
        if points:
            y_label = comparison.metric.label_with_arrow
            about = f"{comparison.metric.label} against training tokens, {comparison.group.dataset}"
            drawing = partial(draw, points=points, looks=view.looks, y_label=y_label)
            panels.append(
                Panel(title=label(comparison.group.dataset, 80), below="", height=2.7, draw=drawing, description=about)
            )
            rows += budgets.numbers(comparison, points)
            names += [point.architecture for point in points]
    numbers = pd.DataFrame(rows)
    title, named = "Score against budget", tuple(dict.fromkeys(names))
    return Figure(
        name="shares",
        title=title,
        caption=CAPTION,
        panels=tuple(panels),
        architectures=named,
        numbers=numbers,
        takeaway=_takeaway(view),
    )


def draw(axes: Axes, points: list[Share], looks: Looks, y_label: str) -> None:
    """A line for each architecture over the tokens, with a tick at every part."""
    lines(axes, [(point.architecture, point.tokens, point.interval) for point in points], looks)
    formatter = EngFormatter(places=1, sep=SPACE)
    tokens = {point.share: point.tokens for point in points}
    point_ticks(axes, {count: _plain(formatter(count)) for count in tokens.values()})
    axes.set_xlabel("training tokens (a separate run for each point)")
    axes.set_ylabel(y_label)


def _plain(text: str) -> str:
    """`1.50 M` as `1.5 M`, `4.00 M` as `4 M`."""
    number, _, unit = text.partition(SPACE)
    return f"{float(number):g}{SPACE}{unit}" if unit else f"{float(number):g}"


def _takeaway(view: View) -> str:
    """The outcome of the last doubling of the budget for each score; of many scores, how often each outcome occurs."""
    doubled = [
        entry for entry in view.report.tested["doubling"] if view.shows(entry.dataset, entry.first, entry.second)
    ]
    if not doubled:
        return ""
    outcomes = first_sides(doubled) if len(doubled) <= MOST_NAMED else counted(doubled, "cases")
    return f"On the whole budget, compared with half of it: {outcomes}."
