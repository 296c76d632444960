"""Puts panels on a canvas and turns it into SVG, PNG and PDF, the same bytes for the same panels.

No dates, no random identifiers and no version of the drawing library get into the files.
"""

import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal, get_args

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as Canvas
from matplotlib.figure import SubFigure
from matplotlib.gridspec import GridSpec

from archbench.reports.figures.canvas.layout import PAD, settle
from archbench.reports.figures.canvas.marks import arrows_for_marks_outside, key_marks
from archbench.reports.figures.canvas.palette import Look, ink, label, quiet
from archbench.reports.figures.canvas.styles import scaled, styled
from archbench.reports.figures.canvas.svg import Box
from archbench.reports.figures.canvas.text_wrapping import Weight, width, wrapped

PANEL_WIDTH: Final = 4.9  # inches in the light style
TALLEST: Final = 1600  # pixels of a PNG on a page
PAPER: Final = 300.0  # pixels for each inch of a PNG in a paper
_AROUND: Final = 0.8  # above and below a data area, without the label below
_KEY_MARK: Final = 0.7
_TITLE_SIZE, _LINE = 10.5, 14  # points
_UNNAMED: Final = {
    "svg": ("Date", "Creator", "Format", "Type"),
    "png": ("Software",),
    "pdf": ("Creator", "Producer", "CreationDate"),
}

Kind = Literal["svg", "png", "pdf"]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
ENDINGS: Final[Mapping[str, Kind]] = {kind: kind for kind in KINDS}


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One panel: its title and a text below it, how to draw it, what it says without eyes.

    The height is in inches of the light style, with a title of one line and nothing below it; a function of the
    panel's width, also in inches of the light style, where text in the data area is wrapped.
    """

    title: str
    below: str
    height: float | Callable[[float], float]
    draw: Callable[[Axes], None]
    description: str
    titled: bool = True

    def heading(self, inches: float) -> list[tuple[str, float, Weight, str]]:
        """The lines above the data area of a panel this wide: text, size, weight and colour."""
        room, size, title_size = inches - 2 * scaled(PAD), _size(), scaled(_TITLE_SIZE)
        title = wrapped(self.title, room, title_size, "bold") if self.titled else []
        below = wrapped(self.below, room, size)
        return [(line, title_size, "bold", ink()) for line in title] + [
            (line, size, "normal", quiet()) for line in below
        ]

    def onto(self, axes: Axes) -> None:
        """Draw into the axes; a mark outside their limits becomes an arrow at the edge."""
        before = set(axes.lines)
        self.draw(axes)
        arrows_for_marks_outside(axes, [line for line in axes.lines if line not in before])

    def bare(self, inches: float) -> float:
        """Height of a panel this wide in inches of the light style, without further lines above the data area."""
        return self.height(inches / scaled(1)) if callable(self.height) else self.height

    def whole(self, inches: float) -> float:
        """Height of a panel this wide, with all lines above the data area."""
        return scaled(self.bare(inches)) + scaled(_LINE) / 72 * (len(self.heading(inches)) - 1)


@dataclass(frozen=True)
class Drawing:
    """Panels on one canvas, as files, and where each panel lies in the SVG."""

    files: Mapping[Kind, bytes]
    boxes: tuple[Box, ...]


def together(
    panels: Sequence[Panel], columns: int, key: Mapping[str, Look] = MappingProxyType({}), group: int = 1
) -> Drawing:
    """All panels on one canvas in the light style, with a key to the architectures in ``key`` above them."""
    with styled("light"):
        canvas = on_canvas(panels, columns, key, group=group)
        return Drawing({kind: encoded(canvas, kind) for kind in KINDS}, tuple(_boxes(canvas)))


_SPACE: Final = 4.0  # points below the lowest mark of a panel


def _boxes(canvas: Canvas) -> Iterator[Box]:
    """The panels in points from the top left corner, as the SVG has them, without the empty space below a low one."""
    points = 72 / canvas.dpi
    for part in canvas.subfigs:
        box = part.bbox
        bottom = max(box.y0, part.get_tightbbox().y0 - _SPACE / points)
        yield box.x0 * points, (canvas.bbox.y1 - box.y1) * points, box.width * points, (box.y1 - bottom) * points


def on_canvas(
    panels: Sequence[Panel],
    columns: int,
    key: Mapping[str, Look] = MappingProxyType({}),
    inches: float | None = None,
    group: int = 1,
) -> Canvas:
    """The panels row by row, with a key above, drawn in the present style; in groups of one title each.

    ``inches`` is the width of the whole canvas. Without it a panel is as wide as alone, and all are wider where a data
    area would be narrow. Raises ``ValueError`` where a data area does not fit into ``inches``.
    """
    panel_width = scaled(PANEL_WIDTH) if inches is None else inches / columns
    wholes = [panel.whole(panel_width) for panel in panels]
    places = _places(panels, columns, group)
    heights = _heights(wholes, places)
    names = [f"\N{THIN SPACE}{label(name)}" for name in key]
    spaces = [scaled(_KEY_MARK) + width(name) for name in names] or [1.0]
    room = columns * panel_width
    across = len(spaces) if sum(spaces) <= room else max(1, int(room / max(spaces)))
    canvas = Canvas(figsize=(room, sum(heights)))
    FigureCanvasAgg(canvas)  # measures text
    above = [_key(canvas, list(key.values()), names, across)] if names else []
    canvas.set_figheight(sum(above) + sum(heights))
    grid = GridSpec(len(above) + len(heights), columns, height_ratios=[*above, *heights])
    parts = [canvas.add_subfigure(grid[len(above) + row, column]) for row, column in places]
    drawn = [(_draw(part, panel, panel_width), whole) for part, panel, whole in zip(parts, panels, wholes, strict=True)]
    settle(canvas, drawn, columns, fixed=inches is not None)
    return canvas


def narrow_panel() -> float:
    """Inches below which a panel gets a column of its own where the width of a figure is given."""
    return scaled(0.62 * PANEL_WIDTH)


def columns_for(panels: Sequence[Panel], group: int) -> int:
    """The fewest columns, two or more, in which a PNG of all panels is at most ``TALLEST`` pixels high.

    A multiple of ``group``, the number of panels that belong side by side.
    """
    tallest = TALLEST / _dots()
    least = group if group > 1 else min(2, len(panels))
    for columns in range(least, len(panels) + group, group):
        wholes = [panel.whole(scaled(PANEL_WIDTH)) for panel in panels]
        if sum(_heights(wholes, _places(panels, columns, group))) <= tallest:
            return columns
    return max(group, len(panels))


def _places(panels: Sequence[Panel], columns: int, group: int) -> list[tuple[int, int]]:
    """Row and column of each panel: those of one title begin where a group begins, if whole groups fit into a row."""
    places, slot = list[tuple[int, int]](), 0
    for index, panel in enumerate(panels):
        if index and panel.title != panels[index - 1].title and columns % group == 0:
            slot += -slot % group
        places.append(divmod(slot, columns))
        slot += 1
    return places


def _heights(wholes: Sequence[float], places: Sequence[tuple[int, int]]) -> list[float]:
    """The height of each row of panels."""
    heights: dict[int, float] = {}
    for whole, (row, _) in zip(wholes, places, strict=True):
        heights[row] = max(whole, heights.get(row, 0.0))
    return list(heights.values())


def _draw(part: SubFigure, panel: Panel, inches: float) -> Axes:
    axes: Axes = part.subplots()
    heading, line_height = panel.heading(inches), scaled(_LINE)
    if heading:
        axes.set_title(" ", fontsize=_size(), pad=line_height * (len(heading) - 1) + 6)  # keeps room for the heading
    for row, (line, size, weight, colour) in enumerate(reversed(heading)):
        annotation = axes.annotate(
            line,
            xy=(0, 1),
            xycoords=(part.transSubfigure, axes.transAxes),
            xytext=(72 * scaled(PAD), 7 + line_height * row),
            textcoords="offset points",
            fontsize=size,
            weight=weight,
            color=colour,
            annotation_clip=False,
        )
        annotation.set_in_layout(False)  # it begins at the panel's edge, wherever the data area is
    panel.onto(axes)
    below = wrapped(axes.get_xlabel(), inches - 2 * scaled(PAD))
    least = scaled(panel.bare(inches) - _AROUND) - scaled(_LINE) / 72 * len(below)
    axes.set_xlabel("\n".join(below))
    axes.set_ylabel("\n".join(wrapped(axes.get_ylabel(), max(least, scaled(1)))))
    return axes


def _key(canvas: Canvas, looks: Sequence[Look], names: Sequence[str], across: int) -> float:
    """Put a key at the top; return the height in inches that it takes."""
    key = canvas.legend(key_marks(looks), names, loc="upper left", ncols=across, frameon=False, borderaxespad=0.4)
    return float(key.get_window_extent().height / canvas.dpi)


def _dots() -> float:
    """Pixels for each inch of a PNG."""
    dpi = matplotlib.rcParams["savefig.dpi"]
    return float(matplotlib.rcParams["figure.dpi"] if dpi == "figure" else dpi)


def _size() -> float:
    return float(matplotlib.rcParams["font.size"])


def encoded(canvas: Canvas, kind: Kind, dpi: float | None = None) -> bytes:
    """A canvas as a file, drawn in the present style.

    A PNG has ``dpi`` pixels for each inch; without it, it is for a page: at most ``TALLEST`` pixels high.
    """
    buffer = io.BytesIO()
    if kind != "png":
        dpi = _dots()
    elif dpi is None:
        dpi = min(_dots(), int(TALLEST / canvas.get_figheight()))
    # fitted to few dots, letters would be wider than they were laid out
    with matplotlib.rc_context({"text.hinting": "none"} if dpi < _dots() else {}):
        canvas.savefig(buffer, format=kind, dpi=dpi, metadata=dict.fromkeys(_UNNAMED[kind]))
    return numbered(buffer.getvalue()) if kind == "svg" else buffer.getvalue()


def numbered(svg: bytes) -> bytes:
    """The SVG with its clipping rectangles named in their order.

    matplotlib names them after their coordinates to the last bit, which may differ from one drawing to the next.
    """
    names = dict.fromkeys(re.findall(rb'<clipPath id="(p[0-9a-f]+)"', svg))
    for number, name in enumerate(names):
        svg = re.sub(rb"\b" + name + rb"\b", b"clip%d" % number, svg)
    return svg
