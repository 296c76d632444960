"""Marks that several figures draw: named rows, means with intervals, lines over a logarithmic axis, ticks."""

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any, Final

import matplotlib
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.text import Annotation
from matplotlib.ticker import EngFormatter, FixedLocator, MaxNLocator, NullLocator
from matplotlib.transforms import Bbox, IdentityTransform, ScaledTranslation, TransformedBbox

from archbench.reports.base.statistics import Interval
from archbench.reports.figures.canvas.palette import Look, ink, label, paper, quiet, rule
from archbench.reports.figures.canvas.styles import scaled
from archbench.reports.figures.canvas.text_wrapping import width, wrapped

Looks = Mapping[str, Look]
DASHED: Final = (0, (3, 2))
SPACE: Final = "\N{NO-BREAK SPACE}"
_ROW, _NAME_LINE, _AROUND = 0.27, 0.17, 0.98  # inches: a row, a line of its name, what is above and below the rows
_MARK: Final = 0.14  # rows between the marks of one row
_NAME_WIDTH: Final = 1.3
_LONGEST: Final = 36  # characters of a row's name
SMALLEST_TEXT: Final = 6.0  # points
_LEGEND: Final = 1.25  # times its height that a legend takes of the axes, whose height may still change
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


class Beside(Annotation):
    """Text beside the axes that gives way where they would become narrow: ``shorter`` texts in turn, "" for none."""

    shorter: tuple[str, ...] = ()

    def give_way(self) -> None:
        """Take the next shorter text."""
        text, *rest = self.shorter
        self.shorter = tuple(rest)
        self.set_text(text)
        self.set_visible(bool(text))


def names_width(names: Sequence[str]) -> float:
    """Inches that the names of rows take at the left of the axes."""
    return max(width(line) for name in names for line in _name(name)) + 4 / 72


def at_right(
    axes: Axes, y: float, text: str, strong: bool, colour: str | None = None, shorter: Sequence[str] = ()
) -> None:
    """Text beside the axes, at the height of a row; ``shorter`` texts take its place in a narrow panel."""
    beside = Beside(
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
        clip_on=False,
        transform=IdentityTransform(),
    )
    beside.shorter = tuple(shorter)
    axes.add_artist(beside)


def inside(axes: Axes, y: float, text: str) -> None:
    """Text in the place of the marks of a row."""
    place = axes.get_yaxis_transform()
    box = {"facecolor": paper(), "edgecolor": "none", "pad": 1}
    style: dict[str, Any] = {"color": quiet(), "fontsize": small(), "bbox": box}
    axes.text(0.5, y, text, ha="center", va="center", transform=place, **style)


def small() -> float:
    """Points of text beside marks."""
    return float(matplotlib.rcParams["font.size"]) * 9 / 9.5


def mean(axes: Axes, x: float, y: float, look: Look, size: float = 8, **changes: Any) -> None:
    """A mark on top of all lines, with an edge that sets it apart from others; drawn whole at the edge of the axes."""
    style: dict[str, Any] = {"color": look.colour, "markersize": size, "markeredgecolor": paper(), "clip_on": False}
    axes.plot([x], [y], look.marker, **style | {"zorder": 5} | changes)


def edge_arrow(axes: Axes, marker: str, along: float, colour: str, size: float = 6, **changes: Any) -> None:
    """An arrow just inside an edge of the axes: what it stands for lies, or continues, beyond.

    ``marker`` is ``<``, ``>``, ``v`` or ``^``; ``along`` is the place along the edge, in data coordinates.
    """
    edge, inwards = (0.0, 1) if marker in "<v" else (1.0, -1)
    shift = inwards * size / 2 / 72
    if marker in "<>":
        x, y, transform, right, up = edge, along, axes.get_yaxis_transform(), shift, 0.0
    else:
        x, y, transform, right, up = along, edge, axes.get_xaxis_transform(), 0.0, shift
    inside = transform + ScaledTranslation(right, up, axes.figure.dpi_scale_trans)
    style: dict[str, Any] = {"color": colour, "markersize": size, "zorder": 5, "transform": inside}
    axes.plot([x], [y], marker, **style | changes)


def cut_interval(axes: Axes, lower: float, upper: float, y: float, colour: str, width: float = 2.2) -> None:
    """A horizontal interval, cut at the limits of the axes; an arrow at each end that is cut. Set the limits before."""
    low, high = sorted(axes.get_xlim())
    ends = [max(lower, low), min(upper, high)]
    axes.plot(ends, [y, y], color=colour, linewidth=width, solid_capstyle="butt")
    for is_cut, marker in ((lower < low, "<"), (upper > high, ">")):
        if is_cut:
            style = {"markeredgecolor": paper(), "markeredgewidth": 0.5, "zorder": 6}  # above a mark at the edge
            edge_arrow(axes, marker, y, colour, 2 * width + 3, **style)


def arrows_for_marks_outside(axes: Axes, drawn: Sequence[Line2D]) -> None:
    """Replace each of the ``drawn`` marks that lies outside the limits of the axes by an arrow at the edge.

    Marks are not clipped: one far outside would take all the room of a layout.
    """
    axes.get_xlim(), axes.get_ylim()  # brings limits that follow the data up to date
    for line in drawn:
        points = np.asarray(line.get_xydata(), float)
        if line.get_clip_on() or len(points) != 1:
            continue
        x, y = map(float, points[0])
        across, up = axes.transLimits.transform(axes.transScale.transform((x, y)))
        if not (math.isfinite(across) and math.isfinite(up)) or (_within(across) and _within(up)):
            continue
        marker = ("<" if across < 0 else ">") if not _within(across) else "v" if up < 0 else "^"
        limits = sorted(axes.get_ylim() if marker in "<>" else axes.get_xlim())
        along = min(max(y if marker in "<>" else x, limits[0]), limits[1])
        style = {"alpha": line.get_alpha(), "zorder": line.get_zorder()}
        edge_arrow(axes, marker, along, str(line.get_color()), line.get_markersize(), **style)
        line.remove()


def _within(part: float) -> bool:
    """True if a place, as a part of the width or height of the axes, lies inside or on an edge."""
    return -1e-6 <= part <= 1 + 1e-6


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


def key_marks(looks: Iterable[Look]) -> list[Line2D]:
    """How each architecture is drawn, for a legend."""
    style: dict[str, Any] = {"markeredgecolor": paper(), "markersize": 8, "linewidth": 1.8}
    return [Line2D([], [], color=look.colour, marker=look.marker, **style) for look in looks]


def legend_above(axes: Axes, marks: Sequence[Artist], names: Sequence[str]) -> None:
    """A legend at the top of the axes, which grow upwards so that it lies above all that is drawn.

    What the limits cut stays cut. It takes in the legend that the axes have.
    """
    if old := axes.get_legend():
        marks = [*marks, *(handle for handle in old.legend_handles if handle)]
        names = [*names, *(text.get_text() for text in old.get_texts())]
    for columns in range(len(names), 0, -1):
        legend = axes.legend(marks, names, loc="upper left", ncols=columns, borderaxespad=0.2, fontsize=small())
        box = legend.get_window_extent()
        if box.width <= axes.bbox.width:
            break
    part = min(_LEGEND * box.height / axes.bbox.height, 0.6)
    below = TransformedBbox(Bbox.from_extents(0, 0, 1, 1 - part), axes.transAxes)
    for artist in (*axes.lines, *axes.collections):
        if artist.get_clip_on():
            artist.set_clip_box(below)
    scale, limits = axes.yaxis.get_transform(), np.asarray(axes.get_ylim(), float)
    bottom, top = scale.transform(limits)
    axes.set_ylim(limits[0], float(scale.inverted().transform(np.asarray([bottom + (top - bottom) / (1 - part)]))[0]))


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
