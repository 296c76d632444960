"""Does the order depend on what is held equal? Ranks under each condition, and the scores behind them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from typing import Final

import matplotlib
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.font_manager import FontProperties
from matplotlib.ticker import MaxNLocator

from archbench.reports.base.formatting import listing
from archbench.reports.base.statistics import Interval
from archbench.reports.contrasts.contrast import Contrast
from archbench.reports.figures.canvas.drawing import Panel
from archbench.reports.figures.canvas.marks import SMALLEST_TEXT, Looks, both_grids, mean, upright
from archbench.reports.figures.canvas.palette import label, rule
from archbench.reports.figures.canvas.styles import scaled
from archbench.reports.figures.canvas.text_wrapping import width, wrapped
from archbench.reports.figures.figure import Figure, View
from archbench.reports.results.comparison import Comparison

RANKS: Final = (
    "Rank of each architecture under each condition of a data set: 1 plus the number of architectures that are better "
    "by the 95% interval of the difference (not corrected). Two architectures of different rank may still not be "
    "distinguishable from each other."
)
SLOPES: Final = (
    "Scores under each condition of a data set: means over seeds and 95% intervals on the test split. The conditions "
    "of a data set share one axis."
)
_TICK: Final = 1.1  # inches of a condition's name, at most
_AREA, _LINE, _AXIS = 2.0, 0.17, 2.6  # inches: a panel without conditions, a line of them, all of them side by side
_LONGEST: Final = 90  # characters of a condition
NAMED: Final = 3  # pairs in a sentence, at most
GAP: Final = (math.nan, math.nan)  # no line through a condition that an architecture lacks
_SHIFT: Final = 0.06  # between architectures with the same rank


@dataclass(frozen=True)
class Placed:
    """An architecture under a condition: its score, and by how many others it is beaten."""

    condition: str
    architecture: str
    score: Interval
    beaten_by: int


def ranks(view: View) -> Figure:
    """A panel for each data set with several conditions that two architectures share."""
    panels, rows = [], list[dict[str, object]]()
    by_title = _by_title(view)
    for title, points in by_title.items():
        drawing = partial(draw_ranks, points=points, looks=view.looks)
        about = f"Ranks under each condition, {title}"
        panels.append(Panel(title=label(title, 80), below="", height=_height(points), draw=drawing, description=about))
        rows += [_row(title, point) | {"rank": 1 + point.beaten_by} for point in points]
    named = tuple(dict.fromkeys(point.architecture for points in by_title.values() for point in points))
    takeaway = _takeaway(by_title)
    title = "Does the order depend on what is held equal?"
    return Figure(
        name="ranks",
        title=title,
        caption=RANKS,
        panels=tuple(panels),
        architectures=named,
        numbers=pd.DataFrame(rows),
        takeaway=takeaway,
    )


def slopes(view: View) -> Figure:
    """The scores behind the ranks."""
    panels, rows = [], list[dict[str, object]]()
    by_title = _by_title(view)
    for comparison in view.judged:
        points = by_title.get(comparison.title)
        if points:
            y_label = comparison.metric.label_with_arrow
            drawing = partial(draw_slopes, points=points, looks=view.looks, y_label=y_label)
            about = f"{comparison.metric.label} under each condition, {comparison.group.dataset}"
            panels.append(
                Panel(
                    title=label(comparison.title, 80),
                    below="",
                    height=_height(points),
                    draw=drawing,
                    description=about,
                )
            )
            dataset, metric = comparison.group.dataset, {"metric": comparison.metric.name}
            rows += [_row(dataset, point) | metric | point.score.columns() for point in points]
    named = tuple(dict.fromkeys(point.architecture for points in by_title.values() for point in points))
    title = "Scores under each condition"
    takeaway = _leaders(by_title)
    return Figure(
        name="headline_further",
        title=title,
        caption=SLOPES,
        panels=tuple(panels),
        architectures=named,
        numbers=pd.DataFrame(rows),
        takeaway=takeaway,
    )


def draw_ranks(axes: Axes, points: Sequence[Placed], looks: Looks) -> None:
    """A line for each architecture through its ranks; the same ranks stand side by side."""
    conditions = list(dict.fromkeys(point.condition for point in points))
    names = list(dict.fromkeys(point.architecture for point in points))
    for name in names:
        by_condition = {point.condition: point for point in points if point.architecture == name}
        positions = [
            _place(points, by_condition[text], number) if text in by_condition else GAP
            for number, text in enumerate(conditions)
        ]
        axes.plot(*zip(*positions, strict=True), color=looks[name].colour, linewidth=2)
        for x, y in positions:
            mean(axes, x, y, looks[name], 9)
    _conditions(axes, conditions)
    last = max(1 + point.beaten_by for point in points)
    axes.set_ylim(max(last, 2) + 0.4, 0.6)
    axes.set_yticks(range(1, max(last, 2) + 1))
    axes.set_ylabel("rank")
    axes.grid(axis="y", color=rule(), linewidth=0.6)


def draw_slopes(axes: Axes, points: Sequence[Placed], looks: Looks, y_label: str) -> None:
    """A line for each architecture through its scores, side by side where they share a condition."""
    conditions = list(dict.fromkeys(point.condition for point in points))
    names = list(dict.fromkeys(point.architecture for point in points))
    for number, name in enumerate(names):
        by_condition = {point.condition: point for point in points if point.architecture == name}
        shift = (number - (len(names) - 1) / 2) * _SHIFT
        heights = [by_condition[text].score.mean if text in by_condition else math.nan for text in conditions]
        axes.plot([x + shift for x in range(len(conditions))], heights, color=looks[name].colour, linewidth=1.4)
        for text, point in by_condition.items():
            upright(axes, conditions.index(text) + shift, point.score, looks[name])
            mean(axes, conditions.index(text) + shift, point.score.mean, looks[name])
    _conditions(axes, conditions)
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.set_ylabel(y_label)
    both_grids(axes)


def _place(points: Sequence[Placed], point: Placed, number: int) -> tuple[float, float]:
    """Where a rank is drawn: beside the others of the same rank under this condition."""
    same = [p.architecture for p in points if (p.condition, p.beaten_by) == (point.condition, point.beaten_by)]
    shift = (same.index(point.architecture) - (len(same) - 1) / 2) * _SHIFT
    return number + shift, 1 + point.beaten_by + shift


def _conditions(axes: Axes, conditions: Sequence[str]) -> None:
    """The conditions along the horizontal axis, their names in several lines."""
    room = min(0.9 * axes.bbox.width / axes.figure.dpi / len(conditions), scaled(_TICK))
    size = min(
        FontProperties(size=matplotlib.rcParams["xtick.labelsize"]).get_size_in_points(), _size(conditions, room)
    )
    names = ["\n".join(wrapped(label(text, _LONGEST), room, size)) for text in conditions]
    axes.set_xticks(range(len(conditions)), names, fontsize=size)
    axes.set_xlim(-0.4, len(conditions) - 0.6)


def _size(conditions: Sequence[str], room: float) -> float:
    """The points at which no word of the conditions is wider than ``room``; at least the smallest legible."""
    widest = max(width(word, 10) for text in conditions for word in label(text, _LONGEST).split())
    return max(SMALLEST_TEXT, 10 * room / widest)


def _height(points: Sequence[Placed]) -> float:
    """Inches of a panel, with room for the lines of its conditions."""
    conditions = dict.fromkeys(point.condition for point in points)
    room = scaled(min(_TICK, _AXIS / len(conditions)))
    return _AREA + _LINE * max(len(wrapped(label(text, _LONGEST), room)) for text in conditions)


def _by_title(view: View) -> dict[str, list[Placed]]:
    """The data sets with several conditions that at least two architectures share, the first condition first.

    By title: a data set with several primary measures is there once for each of them.
    """
    entries: dict[str, list[Comparison]] = {}
    for comparison in (*view.judged, *view.further):
        entries.setdefault(comparison.title, []).append(comparison)
    placed = {}
    for dataset, comparisons in entries.items():
        comparisons = [comparison for comparison in comparisons if len(comparison.scored) > 1]
        metrics = {comparison.metric.name for comparison in comparisons}
        if len(comparisons) > 1 and len(metrics) == 1 and comparisons[0].metric.better:
            base = comparisons[0].group.condition
            placed[dataset] = [
                Placed(
                    _words(comparison, base),
                    cell.architecture,
                    cell.interval,
                    _beaten_by(view, comparison, cell.architecture),
                )
                for comparison in comparisons
                for cell in comparison.scored
            ]
    return placed


def _words(comparison: Comparison, base: str) -> str:
    """A condition without what it has in common with the first one."""
    text = comparison.group.condition
    return (text.removeprefix(f"{base}; ") if text != base else base) or "first condition"


def _beaten_by(view: View, comparison: Comparison, architecture: str) -> int:
    """How many of the shown architectures are better under this condition, by the interval of the difference."""
    shown = {cell.architecture for cell in comparison.scored}
    first = any(comparison.group is known.group for known in view.report.first)
    where = "" if first else comparison.group.condition
    contrasts: Sequence[Contrast] = [*view.report.tested.primary, *view.report.tested.exploratory]
    count = 0
    for entry in contrasts:
        place = (entry.dataset, entry.metric, entry.condition)
        if place != (comparison.group.dataset, comparison.metric, where) or {entry.first, entry.second} - shown:
            continue
        gap = entry.difference
        if gap.known and gap.excludes_zero:
            count += architecture == (entry.second if gap.mean > 0 else entry.first)
    return count


def _row(dataset: str, point: Placed) -> dict[str, object]:
    return {"dataset": dataset, "condition": point.condition, "architecture": point.architecture}


def _leaders(by_title: dict[str, list[Placed]]) -> str:
    """On which data sets no other architecture is better than the same one under all conditions."""
    parts = []
    for dataset, points in by_title.items():
        conditions = dict.fromkeys(point.condition for point in points)
        first = {
            text: {p.architecture for p in points if p.condition == text and not p.beaten_by} for text in conditions
        }
        always = [
            name
            for name in dict.fromkeys(p.architecture for p in points)
            if all(name in leading for leading in first.values())
        ]
        parts.append(f"{listing(always) or 'none'} on {dataset}")
    return f"Never beaten under any condition (95% intervals): {'; '.join(parts)}." if parts else ""


def _takeaway(by_title: dict[str, list[Placed]]) -> str:
    """On which data sets a pair changes its order between conditions, or is tied under some of them only."""
    if not by_title:
        return ""
    reversed_pairs: list[str] = []
    tied_pairs: list[str] = []
    for dataset, points in by_title.items():
        for pair, orders in _orders(points).items():
            if {-1, 1} <= orders:
                reversed_pairs.append(f"{listing(pair)} on {dataset}")
            elif 0 in orders and len(orders) > 1:
                tied_pairs.append(f"{listing(pair)} on {dataset}")
    parts = [
        f"Rank order reversed between conditions: {'; '.join(reversed_pairs)}"
        if reversed_pairs
        else "No pair reverses its rank order between conditions"
    ]
    if tied_pairs:
        named = "; ".join(tied_pairs) if len(tied_pairs) <= NAMED else f"{len(tied_pairs)} pairs"
        parts.append(f"tied under some conditions only: {named}")
    return f"{'; '.join(parts)}."


def _orders(points: Sequence[Placed]) -> dict[tuple[str, str], set[int]]:
    """Which of two architectures has the better rank under each condition that has both: -1 the first, 0 neither, 1."""
    ranks: dict[str, dict[str, int]] = {}
    for point in points:
        ranks.setdefault(point.condition, {})[point.architecture] = point.beaten_by
    orders: dict[tuple[str, str], set[int]] = {}
    for by_name in ranks.values():
        for first, second in combinations(sorted(by_name), 2):
            difference = by_name[first] - by_name[second]
            orders.setdefault((first, second), set()).add((difference > 0) - (difference < 0))
    return orders
