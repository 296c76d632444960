"""Quality against cost: scores on one scale against training FLOPs, inference FLOPs and the time to generate."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator

from archbench.reports.base.formatting import listing
from archbench.reports.figures.canvas.drawing import Panel
from archbench.reports.figures.canvas.marks import DASHED, Looks, both_grids, mean
from archbench.reports.figures.canvas.palette import ink, quiet
from archbench.reports.figures.figure import Figure, View, named, place
from archbench.reports.figures.kinds.headline import gates_sentence
from archbench.reports.results.comparison import Comparison
from archbench.reports.results.normalised import Scale

CAPTION: Final = (
    "Scores on one scale (0: best simple baseline, without one the worst score; 1: best possible) against costs "
    "relative to {base} on the same data set; better is up and to the left. {marks}Line: the Pareto frontier of the "
    "large marks. Arrow at the lower edge: the score lies "
    "below the panel. Generation times are rough: runs may have shared "
    "the machine. Encoders write from left to right, one pass for each token."
)
_MARKS: Final = (
    "Large hollow marks: means over the data sets (costs: geometric means), for architectures trained on all of them; "
    "small marks: single data sets. "
)
AXES: Final = {
    "train_flops": "training FLOPs",
    "inference_flops": "inference FLOPs per example",
    "generate_tokens_per_second": "time per generated token",
}
FAR_BELOW: Final = -1.0  # of the scale; the panel ends there, unless the best mean is lower
SPEEDS: Final = ("generate_tokens_per_second",)  # the cost is their inverse
TICKS: Final = tuple(2.0**power for power in range(-10, 11))


@dataclass(frozen=True)
class CostPoint:
    """An architecture on a data set: its cost relative to the first architecture's, and its score on the scale."""

    architecture: str
    dataset: str
    cost: float
    relative: float
    score: float


def cost(view: View) -> Figure:
    """A panel for each kind of cost."""
    usable = [comparison for comparison in view.first if Scale(comparison).known]
    base = view.report.comparisons.groups[0].architectures[0] if usable else ""
    panels, rows, frontiers = [], list[dict[str, object]](), dict[tuple[str, ...], list[str]]()
    below = "large: mean over the data sets" if len(usable) > 1 else ""
    for column, words in AXES.items():
        points = [point for comparison in usable for point in _points(comparison, column)]
        if len({point.architecture for point in points}) < 2:
            continue
        large = averages(points)
        best = frontier(large)
        if best:
            frontiers.setdefault(tuple(point.architecture for point in best), []).append(words)
        drawing = partial(draw, points=points, large=large, frontier=best, looks=view.looks, x_label=words)
        about = f"Score against {words}, relative to {base}"
        panels.append(
            Panel(title=words[0].upper() + words[1:], below=below, height=3.0, draw=drawing, description=about)
        )
        rows += _rows(usable, points, column, best)
    several = len({comparison.group.dataset for comparison in usable}) > 1
    caption = CAPTION.format(base=base, marks=_MARKS if several else "")
    takeaway = f"{_takeaway(frontiers)}{gates_sentence(view, usable)}".strip()
    return Figure(
        name="cost",
        title="Quality against cost",
        caption=caption,
        panels=tuple(panels),
        architectures=named(usable),
        numbers=pd.DataFrame(rows),
        takeaway=takeaway,
    )


def averages(points: Sequence[CostPoint]) -> list[CostPoint]:
    """The mean over data sets (of costs: the geometric mean) of each architecture that all data sets have."""
    datasets = {point.dataset for point in points}
    by_name: dict[str, list[CostPoint]] = {}
    for point in points:
        by_name.setdefault(point.architecture, []).append(point)
    return [
        CostPoint(
            name,
            "",
            float(np.mean([point.cost for point in architecture_points])),
            float(np.exp(np.mean(np.log([point.relative for point in architecture_points])))),
            float(np.mean([point.score for point in architecture_points])),
        )
        for name, architecture_points in by_name.items()
        if len(architecture_points) == len(datasets)
    ]


def frontier(points: Sequence[CostPoint]) -> list[CostPoint]:
    """The points that no other is both better and cheaper than, the cheapest first."""
    best = [
        point
        for point in points
        if not any(
            other.score >= point.score
            and other.relative <= point.relative
            and (other.score, other.relative) != (point.score, point.relative)
            for other in points
        )
    ]
    return sorted(best, key=lambda point: point.relative)


def draw(
    axes: Axes,
    points: Sequence[CostPoint],
    large: Sequence[CostPoint],
    frontier: Sequence[CostPoint],
    looks: Looks,
    x_label: str,
) -> None:
    """Scores against relative cost on a logarithmic axis, and a line through the frontier of the means.

    Scores below the vertical range become arrows (``Panel.onto``).
    """
    axes.set_xscale("log", base=2)
    line = [(point.relative, point.score) for point in frontier]
    if line:
        axes.plot(*zip(*line, strict=True), color=ink(), linewidth=1.4, linestyle=DASHED, zorder=2)
    axes.axvline(1, color=quiet(), linewidth=0.8, zorder=0)
    axes.axhline(0, color=quiet(), linewidth=0.8, zorder=0)
    several = len({point.dataset for point in points}) > 1
    for point in points if several else ():
        look = looks[point.architecture]
        mean(axes, point.relative, point.score, look, 5, alpha=0.45, markeredgewidth=0, zorder=3)
    for point in large:  # hollow: one mark does not hide another at the same place
        look = looks[point.architecture]
        outline = {"markerfacecolor": "none", "markeredgecolor": look.colour, "markeredgewidth": 1.8}
        mean(axes, point.relative, point.score, look, 9, **outline)
    costs = [point.relative for point in points]
    low, high = min(*costs, 1 / 1.5) / 1.25, max(*costs, 1.5) * 1.25
    axes.set_xlim(low, high)
    ticks = [tick for tick in TICKS if low < tick < high]
    while len(ticks) > 6:
        ticks = ticks[::2]
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(lambda tick, _: f"{tick:g}\N{MULTIPLICATION SIGN}")
    axes.set_ylim(*_limits(points, large))
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.set_xlabel(f"{x_label}, relative")
    axes.set_ylabel("score, 0: baseline, 1: best possible")
    both_grids(axes)


def _limits(points: Sequence[CostPoint], large: Sequence[CostPoint]) -> tuple[float, float]:
    """The range of the scores and 0, without what is so far below the baseline that it would squeeze the rest.

    The best mean is always inside: where even it is far below, the range ends twice as far from 0.
    """
    scores = [point.score for point in points]
    best = max(point.score for point in large or points)
    low, high = min(max(min(scores), min(FAR_BELOW, 2 * best)), 0.0), max(*scores, 0.0)
    margin = 0.06 * (high - low) or 0.05
    return low - margin, high + margin


def _points(comparison: Comparison, column: str) -> Iterator[CostPoint]:
    """Relative to the group's first architecture, which has to have this cost."""
    runs, scale = comparison.group.runs, Scale(comparison)
    if column not in runs or not pd.api.types.is_numeric_dtype(runs[column]):
        return
    means = runs.groupby("architecture", sort=False)[column].mean().astype("float64")
    costs = {str(name): 1 / amount if column in SPEEDS else amount for name, amount in means.items() if amount > 0}
    first = comparison.group.architectures[0]
    for cell in comparison.scored:
        if cell.architecture in costs and first in costs:
            architecture_cost = costs[cell.architecture]
            score = scale.of(cell.interval)[0]
            yield CostPoint(
                cell.architecture, comparison.group.dataset, architecture_cost, architecture_cost / costs[first], score
            )


def _rows(
    comparisons: Sequence[Comparison], points: Sequence[CostPoint], column: str, best: Sequence[CostPoint]
) -> Iterator[dict[str, object]]:
    on_frontier = {point.architecture for point in best}
    for comparison in comparisons:
        means = {cell.architecture: cell.interval.mean for cell in comparison.scored}
        for point in points:
            if point.dataset == comparison.group.dataset:
                yield {
                    **place(comparison),
                    "axis": column,
                    "architecture": point.architecture,
                    "cost": 1 / point.cost if column in SPEEDS else point.cost,
                    "relative_cost": point.relative,
                    "mean": means[point.architecture],
                    "scaled": point.score,
                    "mean_on_frontier": point.architecture in on_frontier,
                }


def _takeaway(frontiers: dict[tuple[str, ...], list[str]]) -> str:
    """The architectures on the frontier of each cost; costs with the same frontier together."""
    parts = [f"{listing(names)} (by {listing(words)})" for names, words in frontiers.items()]
    return f"Pareto-optimal means, cheapest first: {'; '.join(parts)}." if parts else ""
