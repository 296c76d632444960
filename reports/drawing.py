"""Puts panels on a canvas and turns it into SVG and PNG, the same bytes for the same panels.

No dates, no random identifiers and no version of the drawing library get into the files. Text from data is drawn as it
stands, never read as mathematics.
"""

import io
import re
import textwrap
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, Literal

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D

from reports.palette import INK, PAPER, QUIET, label, looks

WIDTH: Final = 8.0
PANEL_WIDTH: Final = 4.9
_BELOW, _LINE = 42, 14  # letters of a line below a title, and points that it takes
_STYLE: Final[Mapping[str, Any]] = {
    "font.family": "DejaVu Sans",
    "font.size": 9.5,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 9.5,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9.5,
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
    "figure.dpi": 100,
    "savefig.dpi": 150,
}
_UNNAMED: Final = {"svg": ("Date", "Creator", "Format", "Type"), "png": ("Software",)}

Kind = Literal["svg", "png"]


@dataclass(frozen=True)
class Panel:
    """One panel: its title and a line below it, its height in inches, how to draw it, what it says without eyes."""

    title: str
    below: str
    height: float
    draw: Callable[[Axes], None]
    description: str

    @property
    def lines(self) -> list[str]:
        """The line below the title, cut into as many as there is room beside the names of rows."""
        return textwrap.wrap(self.below, _BELOW)

    @property
    def whole(self) -> float:
        """Height with further lines below the title."""
        return self.height + _LINE / 72 * max(len(self.lines) - 1, 0)


def one(panel: Panel) -> str:
    """One panel alone, as SVG."""
    with _style():
        canvas = Canvas(figsize=(PANEL_WIDTH, panel.whole), layout=_layout())
        _draw(canvas.subplots(), panel)
        _settle(canvas)
        return _bytes(canvas, "svg").decode()


def together(panels: Sequence[Panel], columns: int, key: Sequence[str] = ()) -> dict[Kind, bytes]:
    """All panels on one canvas as SVG and PNG, with a key to the architectures in `key` above them."""
    rows = [panels[start : start + columns] for start in range(0, len(panels), columns)]
    heights = [max(panel.whole for panel in row) for row in rows]
    with _style():
        canvas = Canvas(figsize=(WIDTH, sum(heights) + 0.25 * -(-len(key) // 4)), layout=_layout())
        grid = canvas.subplots(len(rows), columns, squeeze=False, gridspec_kw={"height_ratios": heights})
        for place, axes in enumerate(grid.flat):
            if place < len(panels):
                _draw(axes, panels[place])
            else:
                axes.set_axis_off()
        if key:
            _key(canvas, key)
        _settle(canvas)
        return {"svg": _bytes(canvas, "svg"), "png": _bytes(canvas, "png")}


def _layout() -> ConstrainedLayoutEngine:
    return ConstrainedLayoutEngine(w_pad=0.08, hspace=0.06, wspace=0.05)


def _settle(canvas: Canvas) -> None:
    """Lay the canvas out once, not for every file; the second pass makes room for labels that the first one moved."""
    for _ in range(2):
        _layout().execute(canvas)
    canvas.set_layout_engine("none")


def _draw(axes: Axes, panel: Panel) -> None:
    axes.set_title(panel.title, pad=6 + _LINE * len(panel.lines))
    for place, line in enumerate(reversed(panel.lines)):
        at = (0, 7 + _LINE * place)
        said = axes.annotate(line, (0, 1), at, "axes fraction", "offset points", color=QUIET, annotation_clip=False)
        said.set_in_layout(False)  # a long word must not squeeze the panel
    panel.draw(axes)


def _key(canvas: Canvas, architectures: Sequence[str]) -> None:
    found = looks(architectures)
    marks = [
        Line2D([], [], color=look.colour, marker=look.marker, markeredgecolor=PAPER, markersize=8, linewidth=1.8)
        for look in found.values()
    ]
    names = [f"\N{THIN SPACE}{label(name)}" for name in found]
    canvas.legend(marks, names, loc="outside upper left", ncols=min(len(names), 4), frameon=False, borderaxespad=0.1)


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
