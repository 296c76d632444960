"""All data sets on one scale: 0 is the best simple baseline, 1 the best possible score."""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from archbench.reports.base.formatting import listing, value
from archbench.reports.figures.canvas.drawing import Panel
from archbench.reports.figures.canvas.marks import (
    DASHED,
    Looks,
    at_right,
    cut_interval,
    edge_arrow,
    name_rows,
    rows_height,
    upright_grid,
)
from archbench.reports.figures.canvas.palette import label, quiet, rule
from archbench.reports.figures.figure import Figure, View, place
from archbench.reports.figures.kinds.headline import gates_sentence
from archbench.reports.results.comparison import Comparison
from archbench.reports.results.gates import BELOW_GATE
from archbench.reports.results.normalised import Scale

CAPTION: Final = (
    "Scores of every data set on one scale: 0 is the best simple baseline, 1 the best value that the metric can "
    "have (0 bits, for bits per byte). One line for each data set, numbered as listed above: mean and 95% interval. "
    "Dashed: mean over the data sets. Arrow: the mean lies, or the interval continues, outside the panel. Grey names: "
    f"{BELOW_GATE} on at least one of the data sets. Only architectures that were trained on all data sets."
)
LISTED: Final = 6  # means that the sentence below the title names
LOWEST: Final = -0.6  # of the scale; what is lower is an arrow
_LANE, _GAP, _AROUND = 0.13, 0.12, 0.98  # inches: a line, between architectures, above and below


@dataclass(frozen=True)
class Scaled:
    """One architecture on one data set."""

    architecture: str
    dataset: str
    mean: float
    lower: float
    upper: float


def summary(view: View) -> Figure:
    """One panel, where two architectures and two data sets can be put on the scale."""
    usable = [comparison for comparison in view.first if Scale(comparison).known and comparison.best_simple_baseline]
    everything = [score for comparison in usable for score in scaled_scores(comparison)]
    datasets = list(dict.fromkeys(score.dataset for score in everything))
    everywhere = _averages(everything)
    scores = [score for score in everything if score.architecture in everywhere]
    names = list(everywhere)
    weak = {gate.architecture for entry in usable for gate in view.report.comparisons.below_gates(entry)}
    panels: tuple[Panel, ...] = ()
    if len(datasets) > 1 and len(names) > 1:
        listed = ", ".join(f"{number} {label(name, 40)}" for number, name in enumerate(datasets, 1))
        height = max(_AROUND + len(names) * (_LANE * len(datasets) + _GAP), rows_height(names, below=1))
        drawing = partial(draw, scores=scores, looks=view.looks, weak=weak)
        about = "Scores of all data sets, from the best simple baseline to the best possible score"
        panels = (
            Panel(title="All data sets on one scale", below=listed, height=height, draw=drawing, description=about),
        )
    others = [comparison.group.dataset for comparison in view.first if comparison.group.dataset not in datasets]
    unscaled = f" Left out, without a simple baseline below the best value: {listing(others)}." if others else ""
    rows = [
        place(comparison)
        | {
            "architecture": score.architecture,
            "scaled": score.mean,
            "lower": score.lower,
            "upper": score.upper,
            "on_all_data_sets": score.architecture in everywhere,
            "floor": Scale(comparison).floor,
            "ceiling": Scale(comparison).ceiling,
        }
        for comparison in usable
        for score in scaled_scores(comparison)
    ]
    return Figure(
        name="summary",
        title="All data sets on one scale",
        caption=CAPTION + unscaled,
        panels=panels,
        architectures=tuple(names),
        numbers=pd.DataFrame(rows),
        keyed=False,
        takeaway=f"{_takeaway(everything)}{gates_sentence(view, usable)}" if panels else "",
    )


def scaled_scores(comparison: Comparison) -> list[Scaled]:
    scale = Scale(comparison)
    return [Scaled(cell.architecture, comparison.group.dataset, *scale.of(cell.interval)) for cell in comparison.scored]


def draw(axes: Axes, scores: Sequence[Scaled], looks: Looks, weak: Collection[str] = ()) -> None:
    """A row for each architecture with a lane for each data set, and the mean over data sets.

    The names of those in ``weak``, which are below their gates on a data set, are grey.
    """
    datasets = list(dict.fromkeys(score.dataset for score in scores))
    names = list(dict.fromkeys(score.architecture for score in scores))
    averages = _averages(scores)
    lane = _LANE / (_LANE * len(datasets) + _GAP)  # of a row
    low = max(LOWEST, min(0.0, *(score.mean for score in scores)) - 0.1)
    axes.set_xlim(low, 1.02)
    axes.axvline(0, color=quiet(), linewidth=0.9, zorder=1)
    for row, name in enumerate(names):
        by_dataset = {score.dataset: score for score in scores if score.architecture == name}
        look = looks[name]
        for number, dataset in enumerate(datasets):
            y, score = row + (number - (len(datasets) - 1) / 2) * lane, by_dataset[dataset]
            at_right(axes, y, str(number + 1), False, quiet())
            if score.mean < low:
                edge_arrow(axes, "<", y, look.colour, 5)
                continue
            if math.isfinite(score.lower):
                cut_interval(axes, score.lower, min(score.upper, 1.0), y, look.colour, 1.6)
            axes.plot([score.mean], [y], look.marker, color=look.colour, markersize=5, markeredgewidth=0, zorder=4)
        average = averages[name]
        if average > low:
            half = lane * len(datasets) / 2
            axes.plot([average] * 2, [row - half, row + half], color=quiet(), linewidth=1.4, linestyle=DASHED, zorder=3)
        if row:
            axes.axhline(row - 0.5, color=rule(), linewidth=0.8, zorder=0)
    name_rows(axes, names)
    means = [f"\nmean {value(averages[name], 2)}" for name in names]
    labels = [tick.get_text() for tick in axes.get_yticklabels()]
    axes.set_yticklabels([text + mean for text, mean in zip(labels, means, strict=True)])
    for tick, name in zip(axes.get_yticklabels(), names, strict=True):
        if name in weak:
            tick.set_color(quiet())
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.set_xlabel("0: best simple baseline; 1: best possible score")
    upright_grid(axes)


def _averages(scores: Sequence[Scaled]) -> dict[str, float]:
    """The mean over the data sets of each architecture that has them all."""
    datasets = {score.dataset for score in scores}
    by_name: dict[str, list[float]] = {}
    for score in scores:
        by_name.setdefault(score.architecture, []).append(score.mean)
    return {name: float(np.mean(means)) for name, means in by_name.items() if len(means) == len(datasets)}


def _takeaway(scores: Sequence[Scaled]) -> str:
    """The means over all data sets."""
    averages, count = _averages(scores), len({score.dataset for score in scores})
    ranked = sorted(averages, key=lambda name: -averages[name])
    means = listing([f"{name} {value(averages[name], 2)}" for name in ranked[:LISTED]])
    scale = "0: best simple baseline, 1: best possible; differences not tested"
    return f"Mean scaled score over {count} data sets ({scale}): {means}."
