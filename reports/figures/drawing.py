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
from typing import Any, Final, Literal

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as Canvas
from matplotlib.figure import SubFigure
from matplotlib.gridspec import GridSpec
from matplotlib.lines import Line2D

from archbench.reports.figures.layout import PAD, settle
from archbench.reports.figures.palette import INK, PAPER, QUIET, label, looks
from archbench.reports.figures.text_wrapping import FONT, SIZE, Weight, width, wrapped

PANEL_WIDTH: Final = 4.9
_ROOM: Final = PANEL_WIDTH - 2 * PAD
_AROUND: Final = 0.8  # above and below a data area, without the label below
_KEY_MARK: Final = 0.7
_TITLE_SIZE, _LINE = 10.5, 14  # points
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
    canvas = Canvas(figsize=(room, sum(heights)))
    FigureCanvasAgg(canvas)  # measures text
    above = [_key(canvas, key, names, across)] if names else []
    canvas.set_figheight(sum(above) + sum(heights))
    grid = GridSpec(len(above) + len(heights), columns, height_ratios=[*above, *heights])
    places = [(len(above) + place // columns, place % columns) for place in range(len(panels))]
    parts = [canvas.add_subfigure(grid[row, column]) for row, column in places]
    settle(canvas, [(_draw(part, panel), panel.whole) for part, panel in zip(parts, panels, strict=True)], columns)
    return canvas


def _draw(part: SubFigure, panel: Panel) -> Axes:
    axes: Axes = part.subplots()
    heading = panel.heading
    axes.set_title(" ", fontsize=SIZE, pad=_LINE * max(len(heading) - 1, 0) + 6)  # keeps the room for the heading
    for place, (line, size, weight, colour) in enumerate(reversed(heading)):
        annotation = axes.annotate(
            line,
            xy=(0, 1),
            xycoords=(part.transSubfigure, axes.transAxes),
            xytext=(72 * PAD, 7 + _LINE * place),
            textcoords="offset points",
            fontsize=size,
            weight=weight,
            color=colour,
            annotation_clip=False,
        )
        annotation.set_in_layout(False)  # it begins at the panel's edge, wherever the data area is
    panel.draw(axes)
    below = wrapped(axes.get_xlabel(), _ROOM)
    beside = wrapped(axes.get_ylabel(), max(panel.height - _AROUND - _LINE / 72 * len(below), 1))
    axes.set_xlabel("\n".join(below))
    axes.set_ylabel("\n".join(beside))
    return axes


def _key(canvas: Canvas, architectures: Sequence[str], names: Sequence[str], across: int) -> float:
    """Put a key at the top; return the height in inches that it takes."""
    marks = [
        Line2D([], [], color=look.colour, marker=look.marker, markeredgecolor=PAPER, markersize=8, linewidth=1.8)
        for look in looks(architectures).values()
    ]
    key = canvas.legend(marks, names, loc="upper left", ncols=across, frameon=False, borderaxespad=0.4)
    return float(key.get_window_extent().height / canvas.dpi)


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
