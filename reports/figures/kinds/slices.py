"""Score against length, pairs, steps or shots: further test sets of a data set."""

from collections.abc import Sequence
from functools import partial
from typing import Final

import pandas as pd
from matplotlib.axes import Axes

from archbench.reports.figures.canvas.drawing import Panel
from archbench.reports.figures.canvas.marks import Looks, lines, point_ticks
from archbench.reports.figures.canvas.palette import label
from archbench.reports.figures.figure import Figure, View, place
from archbench.reports.readings.slices import SliceScore, slice_scores

CAPTION: Final = (
    "Test score on examples of other lengths, numbers of pairs, steps or shots than in training (logarithmic axis): "
    "means over seeds; bars: 95% intervals over seeds, not over test examples."
)


def slices(view: View) -> Figure:
    """A panel for each data set and setting that its slices vary."""
    shown = [
        entry
        for entry in slice_scores(view.report)
        if entry.value > 0 and view.shows(entry.comparison.group.dataset, entry.architecture)
    ]
    panels: dict[tuple[str, str], list[SliceScore]] = {}
    for entry in shown:
        panels.setdefault((entry.comparison.group.dataset, entry.setting), []).append(entry)
    return Figure(
        name="slices",
        title="Score by slice",
        caption=CAPTION,
        panels=tuple(_panel(dataset, entries, view.looks) for (dataset, _), entries in panels.items()),
        architectures=tuple(dict.fromkeys(entry.architecture for entry in shown)),
        numbers=pd.DataFrame(map(_row, shown)),
    )


def draw(axes: Axes, entries: Sequence[SliceScore], looks: Looks) -> None:
    """A line for each architecture over the values of the setting."""
    metric = entries[0].comparison.metric
    lines(axes, [(entry.architecture, entry.value, entry.score) for entry in entries], looks)
    point_ticks(axes, {entry.value: f"{entry.value:g}" for entry in entries})
    axes.set_xlabel(entries[0].setting)
    axes.set_ylabel(metric.label_with_arrow)


def _panel(dataset: str, entries: Sequence[SliceScore], looks: Looks) -> Panel:
    about = f"{entries[0].comparison.metric.label} against {entries[0].setting}, {dataset}"
    drawing = partial(draw, entries=entries, looks=looks)
    return Panel(title=label(dataset, 80), below="", height=2.7, draw=drawing, description=about)


def _row(entry: SliceScore) -> dict[str, object]:
    named = {"architecture": entry.architecture, "slice": entry.slice}
    return {**place(entry.comparison), **named, **entry.score.columns()}
