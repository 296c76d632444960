"""Puts panels on a canvas and turns it into SVG and PNG, the same bytes for the same panels.

No dates, no random identifiers and no version of the drawing library get into the files. Text from data is drawn as it
stands, never read as mathematics.
"""

import io
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final, Literal

import matplotlib
from matplotlib.axes import Axes
from matplotlib.axis import Axis, XAxis
from matplotlib.figure import Figure as Canvas
from matplotlib.figure import SubFigure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import Bbox

from reports.lettering import FONT, SIZE, Weight, width, wrapped
from reports.palette import INK, PAPER, QUIET, label, looks

PANEL_WIDTH: Final = 4.9
LEAST_WIDTH: Final = 1.9  # of a panel's data area
_PAD: Final = 0.1  # between the texts of a panel and its edges
_ROOM: Final = PANEL_WIDTH - 2 * _PAD
_AROUND: Final = 0.8  # above and below a data area, without the label below
_KEY_ROW, _KEY_MARK = 0.25, 0.7
_TITLE_SIZE, _LINE, _GAP = 10.5, 14, 6  # points; the gap is between labels of ticks
_PASSES: Final = 4
_STYLE: Final[Mapping[str, Any]] = {
    "font.family": FONT,
    "font.size": SIZE,
    "axes.labelsize": SIZE,
    "xtick.labelsize": 9,
    "ytick.labelsize": SIZE,
    "axes.edgecolor": QUIET,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.facecolor": "none",
    "figure.facecolor": PAPER,
    "savefig.facecolor": PAPER,
    "svg.hashsalt": "archbench",
    "svg.fonttype": "path",
    "text.parse_math": False,
    "axes.formatter.useoffset": False,
    "axes.formatter.limits": (-9, 9),  # a power of ten above an axis would stand in the heading
    "figure.dpi": 100,
    "savefig.dpi": 150,
}
_UNNAMED: Final = {"svg": ("Date", "Creator", "Format", "Type"), "png": ("Software",)}

Kind = Literal["svg", "png"]


@dataclass(frozen=True)
class Panel:
    """One panel: its title and a text below it, how to draw it, what it says without eyes.

    The height is in inches, with a title of one line and nothing below it.
    """

    title: str
    below: str
    height: float
    draw: Callable[[Axes], None]
    description: str

    @property
    def heading(self) -> list[tuple[str, float, Weight, str]]:
        """The lines above the data area: text, size, weight and colour."""
        title = wrapped(self.title, _ROOM, _TITLE_SIZE, "bold")
        below = wrapped(self.below, _ROOM)
        return [(line, _TITLE_SIZE, "bold", INK) for line in title] + [(line, SIZE, "normal", QUIET) for line in below]

    @property
    def whole(self) -> float:
        """Height with all lines above the data area."""
        return self.height + _LINE / 72 * max(len(self.heading) - 1, 0)


def one(panel: Panel) -> str:
    """One panel alone, as SVG."""
    with _style():
        return _bytes(_canvas([panel], 1, ()), "svg").decode()


def together(panels: Sequence[Panel], columns: int, key: Sequence[str] = ()) -> dict[Kind, bytes]:
    """All panels on one canvas as SVG and PNG, with a key to the architectures in `key` above them."""
    with _style():
        canvas = _canvas(panels, columns, key)
        return {"svg": _bytes(canvas, "svg"), "png": _bytes(canvas, "png")}


def _canvas(panels: Sequence[Panel], columns: int, key: Sequence[str]) -> Canvas:
    """The panels row by row, each as wide as alone, or all wider where a data area would be narrow."""
    heights = [max(panel.whole for panel in panels[at : at + columns]) for at in range(0, len(panels), columns)]
    names = [f"\N{THIN SPACE}{label(name)}" for name in key]
    spaces = [_KEY_MARK + width(name) for name in names] or [1.0]
    room = columns * PANEL_WIDTH
    across = len(spaces) if sum(spaces) <= room else max(1, int(room / max(spaces)))
    tall = sum(heights) + _KEY_ROW * -(-len(names) // across)
    canvas = Canvas(figsize=(room, tall), layout="constrained")
    parts = canvas.subfigures(len(heights), columns, squeeze=False, height_ratios=heights)
    drawn = [(_draw(part, panel), panel.whole) for part, panel in zip(parts.flat, panels, strict=False)]
    if names:
        _key(canvas, key, names, across)
    _settle(canvas, drawn, columns)
    return canvas


def _draw(part: SubFigure, panel: Panel) -> Axes:
    axes: Axes = part.subplots()
    heading = panel.heading
    axes.set_title(" ", fontsize=SIZE, pad=_LINE * max(len(heading) - 1, 0) + 6)  # keeps the room for the heading
    for place, (line, size, weight, colour) in enumerate(reversed(heading)):
        said = axes.annotate(
            line,
            xy=(0, 1),
            xycoords=(part.transSubfigure, axes.transAxes),
            xytext=(72 * _PAD, 7 + _LINE * place),
            textcoords="offset points",
            fontsize=size,
            weight=weight,
            color=colour,
            annotation_clip=False,
        )
        said.set_in_layout(False)  # it begins at the panel's edge, wherever the data area is
    panel.draw(axes)
    below = wrapped(axes.get_xlabel(), _ROOM)
    beside = wrapped(axes.get_ylabel(), max(panel.height - _AROUND - _LINE / 72 * len(below), 1))
    axes.set_xlabel("\n".join(below))
    axes.set_ylabel("\n".join(beside))
    return axes


def _key(canvas: Canvas, architectures: Sequence[str], names: Sequence[str], across: int) -> None:
    marks = [
        Line2D([], [], color=look.colour, marker=look.marker, markeredgecolor=PAPER, markersize=8, linewidth=1.8)
        for look in looks(architectures).values()
    ]
    canvas.legend(marks, names, loc="outside upper left", ncols=across, frameon=False, borderaxespad=0.4)


def _settle(canvas: Canvas, drawn: Sequence[tuple[Axes, float]], columns: int) -> None:
    """Lay the canvas out once, not for every file: what a pass moves or widens, the next one makes room for."""
    layout = ConstrainedLayoutEngine(w_pad=0, h_pad=0, hspace=0, wspace=0)
    layout.execute(canvas)
    for _ in range(_PASSES):
        layout.execute(canvas)
        lack = LEAST_WIDTH - _align(drawn)
        if lack > 0:
            canvas.set_figwidth(canvas.get_figwidth() + columns * (lack + 0.01))
        elif not any([_thin(axis) for axes, _ in drawn for axis in (axes.xaxis, axes.yaxis)]):
            break
    canvas.set_layout_engine("none")
    for axes, _ in drawn:
        _keep_inside(axes)


def _align(drawn: Sequence[tuple[Axes, float]]) -> float:
    """Give all data areas the same place across their panels, and each its own height; return their width in inches."""
    boxes = [axes.get_position(original=True) for axes, _ in drawn]
    wide, _ = _inches(drawn[0][0])
    left, right = max(box.x0 for box in boxes) + _PAD / wide, min(box.x1 for box in boxes) - _PAD / wide
    for (axes, height), box in zip(drawn, boxes, strict=True):
        _, tall = _inches(axes)
        bottom, top = box.y0 + 1 - (height - _PAD) / tall, box.y1 - _PAD / tall
        axes.set_position((left, bottom, right - left, top - bottom))
        axes.set_in_layout(True)
        axes.apply_aspect()
    return float((right - left) * wide)


def _thin(axis: Axis) -> bool:
    """Coarser ticks until no label touches the next; ticks at given places give way to the one before them.

    Returns whether any gave way.
    """
    if not _touch(axis):
        return False
    locator, found = axis.get_major_locator(), _labels(axis)
    if isinstance(locator, MaxNLocator):
        for bins in range(len(found) - 1, 0, -1):
            locator.set_params(nbins=bins)
            if not _touch(axis):
                break
    else:
        kept = found[:1]
        for each in found[1:]:
            if not _near(axis, kept[-1][2], each[2]):
                kept.append(each)
        axis.set_ticks([place for place, _, _ in kept], [text for _, text, _ in kept])
    return True


def _labels(axis: Axis) -> list[tuple[float, str, Bbox]]:
    """Place, text and bounding box of the labels that are drawn, in their order on the canvas."""
    axis.get_ticklabels()  # brings the ticks up to date
    low, high = sorted(axis.get_view_interval())
    slack = 1e-6 * (high - low)
    found = [
        (float(tick.get_loc()), tick.label1.get_text(), tick.label1.get_window_extent())
        for tick in axis.get_major_ticks()
        if low - slack <= tick.get_loc() <= high + slack and tick.label1.get_text().strip()
    ]
    return sorted(found, key=lambda each: each[0])


def _touch(axis: Axis) -> bool:
    boxes = [box for _, _, box in _labels(axis)]
    return any(_near(axis, one, other) for one, other in pairwise(boxes))


def _near(axis: Axis, one: Bbox, other: Bbox) -> bool:
    """Whether two labels of an axis touch: rows may stand close, numbers side by side need a gap between them."""
    if not isinstance(axis, XAxis):
        return bool(min(one.y1, other.y1) > max(one.y0, other.y0))
    upright = any(label.get_rotation() for label in axis.get_ticklabels())
    gap = 0 if upright else _GAP / 72 * _dpi(axis.axes)
    return bool(min(one.x1, other.x1) + gap > max(one.x0, other.x0))


def _keep_inside(axes: Axes) -> None:
    """Move the label below a narrow data area until it is within the panel."""
    said, part, pad = axes.xaxis.label, axes.figure.bbox, _PAD * _dpi(axes)
    box = said.get_window_extent()
    shift = max(part.x0 + pad - box.x0, 0) + min(part.x1 - pad - box.x1, 0)
    said.set_x(said.get_position()[0] + shift / axes.bbox.width)


def _inches(axes: Axes) -> tuple[float, float]:
    """Width and height of the panel."""
    part = axes.figure.bbox
    return float(part.width / _dpi(axes)), float(part.height / _dpi(axes))


def _dpi(axes: Axes) -> float:
    return float(axes.figure.dpi)


def _bytes(canvas: Canvas, kind: Kind) -> bytes:
    buffer = io.BytesIO()
    canvas.savefig(buffer, format=kind, metadata=dict.fromkeys(_UNNAMED[kind]))
    return numbered(buffer.getvalue()) if kind == "svg" else buffer.getvalue()


def numbered(svg: bytes) -> bytes:
    """The SVG with its clipping rectangles named in their order.

    matplotlib names them after their coordinates to the last bit, which may differ from one drawing to the next.
    """
    names = dict.fromkeys(re.findall(rb'<clipPath id="(p[0-9a-f]+)"', svg))
    for place, name in enumerate(names):
        svg = re.sub(rb"\b" + name + rb"\b", b"clip%d" % place, svg)
    return svg


@contextmanager
def _style() -> Iterator[None]:
    """The figures' look; a letter that the font lacks is drawn as a box, without a warning."""
    with matplotlib.rc_context(), warnings.catch_warnings():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(dict(_STYLE))  # type: ignore[arg-type]
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        warnings.filterwarnings("ignore", message="Matplotlib currently does not support .* natively")
        yield
