"""Lays panels out on a canvas: data areas aligned and wide enough, ticks that do not touch, text that stays inside."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from matplotlib.axes import Axes
from matplotlib.axis import Axis, XAxis
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import Bbox

from archbench.reports.figures.canvas.marks import Beside
from archbench.reports.figures.canvas.styles import scaled

PAD: Final = 0.1  # inches between the texts of a panel and its edges
LEAST_WIDTH: Final = 1.9  # inches of a data area in the light style
NARROWEST: Final = 0.7  # inches of a data area where the width is given
SHARE: Final = 0.4  # of a panel's width that its data area has before the texts beside it give way
_GAP: Final = 6  # points between numbers side by side
_PASSES: Final = 4


def settle(canvas: Canvas, drawn: Sequence[tuple[Axes, float]], columns: int, fixed: bool = False) -> None:
    """Lay the canvas out once, not for every file: what a pass moves or widens, the next one makes room for.

    ``drawn`` has the axes of each panel, alone in its subfigure, and the height in inches that the panel wants. With
    ``fixed``, the canvas keeps its width. Raises ``ValueError`` where a data area does not fit into it.
    """
    room = _align(drawn)
    while fixed and room < SHARE * _inches(drawn[0][0])[0] and (beside := _long(drawn)):
        for text in beside:
            text.give_way()
        room = _align(drawn)
    for _ in range(_PASSES):
        room = _align(drawn)
        lack = 0.0 if fixed else scaled(LEAST_WIDTH) - room
        if fixed and room < NARROWEST:
            needed = canvas.get_figwidth() + columns * (NARROWEST - room)
            raise ValueError(
                f"width: too narrow: {canvas.get_figwidth():g} inches; expected at least {needed + 0.05:.1f}"
            )
        if lack > 0:
            canvas.set_figwidth(canvas.get_figwidth() + columns * (lack + 0.01))
        elif not any([_thin(axis) for axes, _ in drawn for axis in (axes.xaxis, axes.yaxis)]):
            break
    for axes, _ in drawn:
        _keep_inside(axes)


def _align(drawn: Sequence[tuple[Axes, float]]) -> float:
    """Give all data areas the same place across their panels, and each its own height; return their width in inches."""
    around = [_around(axes) for axes, _ in drawn]
    wide, _ = _inches(drawn[0][0])
    pad = scaled(PAD)
    left, right = pad + max(left for left, _, _, _ in around), pad + max(right for _, right, _, _ in around)
    room = wide - left - right
    for (axes, height), (_, _, below, above) in zip(drawn, around, strict=True):
        _, tall = _inches(axes)
        bottom, top = tall - height + pad + below, tall - pad - above
        axes.set_position((left / wide, bottom / tall, max(room, NARROWEST) / wide, (top - bottom) / tall))
        axes.apply_aspect()
    return room


def _long(drawn: Sequence[tuple[Axes, float]]) -> list[Beside]:
    """The texts beside the data areas that can be shorter."""
    texts = (text for axes, _ in drawn for text in axes.texts)
    return [text for text in texts if isinstance(text, Beside) and text.shorter]


def _around(axes: Axes) -> tuple[float, float, float, float]:
    """Inches that ticks, labels and the heading take to the left and right of the data area, below and above it."""
    area, whole = axes.bbox, axes.get_tightbbox(for_layout_only=True)
    assert whole is not None
    sides = area.x0 - whole.x0, whole.x1 - area.x1, area.y0 - whole.y0, whole.y1 - area.y1
    left, right, below, above = (float(side) / _dpi(axes) for side in sides)
    return left, right, below, above


def _thin(axis: Axis) -> bool:
    """Coarser ticks until no label touches the next; ticks at given places give way to the one before them.

    Returns whether any gave way.
    """
    if not _touch(axis):
        return False
    locator, ticks = axis.get_major_locator(), _labels(axis)
    if isinstance(locator, MaxNLocator):
        for bins in range(len(ticks), 0, -1):
            locator.set_params(nbins=bins)
            if not _touch(axis):
                break
    else:
        kept = ticks[:1]
        for tick in ticks[1:]:
            if not _near(axis, kept[-1][2], tick[2]):
                kept.append(tick)
        axis.set_ticks([position for position, _, _ in kept], [text for _, text, _ in kept])
    return True


def _labels(axis: Axis) -> list[tuple[float, str, Bbox]]:
    """Place, text and bounding box of the labels that are drawn, in their order on the canvas."""
    axis.get_ticklabels()  # brings the ticks up to date
    low, high = sorted(axis.get_view_interval())
    slack = 1e-6 * (high - low)
    ticks = [
        (float(tick.get_loc()), tick.label1.get_text(), tick.label1.get_window_extent())
        for tick in axis.get_major_ticks()
        if low - slack <= tick.get_loc() <= high + slack and tick.label1.get_text().strip()
    ]
    return sorted(ticks, key=lambda entry: entry[0])


def _touch(axis: Axis) -> bool:
    boxes = [box for _, _, box in _labels(axis)]
    return any(_near(axis, box, other) for box, other in pairwise(boxes))


def _near(axis: Axis, box: Bbox, other: Bbox) -> bool:
    """True if two labels of an axis touch: rows may stand close, numbers side by side need a gap between them."""
    if not isinstance(axis, XAxis):
        return bool(min(box.y1, other.y1) > max(box.y0, other.y0))
    upright = any(label.get_rotation() for label in axis.get_ticklabels())
    gap = 0 if upright else _GAP / 72 * _dpi(axis.axes)
    return bool(min(box.x1, other.x1) + gap > max(box.x0, other.x0))


def _keep_inside(axes: Axes) -> None:
    """Move the label below a narrow data area until it is within the panel."""
    text, part, pad = axes.xaxis.label, axes.figure.bbox, scaled(PAD) * _dpi(axes)
    box = text.get_window_extent()
    shift = max(part.x0 + pad - box.x0, 0) + min(part.x1 - pad - box.x1, 0)
    text.set_x(text.get_position()[0] + shift / axes.bbox.width)


def _inches(axes: Axes) -> tuple[float, float]:
    """Width and height of the panel."""
    part = axes.figure.bbox
    return float(part.width / _dpi(axes)), float(part.height / _dpi(axes))


def _dpi(axes: Axes) -> float:
    return float(axes.figure.dpi)
