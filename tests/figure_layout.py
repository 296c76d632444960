"""What is wrong with the layout of a drawn figure: text that is cut or that lies on other text."""

from itertools import combinations

from matplotlib.axis import Axis
from matplotlib.figure import Figure as Canvas
from matplotlib.text import Text
from matplotlib.transforms import Bbox

SLACK = 1.0  # pixels


def tick_labels(axis: Axis) -> list[Bbox]:
    """The bounding boxes of the labels in view."""
    return [text.get_window_extent() for text in _ticks(axis)]


def texts(canvas: Canvas) -> list[Text]:
    """All texts that are drawn but the labels of ticks."""
    ticks = {
        id(text)
        for axes in canvas.axes
        for axis in (axes.xaxis, axes.yaxis)
        for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks())
        for text in (tick.label1, tick.label2)
    }
    candidates = [text for text in canvas.findobj(Text) if isinstance(text, Text)]
    return [text for text in candidates if text.get_visible() and text.get_text().strip() and id(text) not in ticks]


def faults(canvas: Canvas) -> list[str]:
    """A line for each text that leaves the canvas, and for each pair of texts that overlap."""
    canvas.draw_without_rendering()
    labels = [text for axes in canvas.axes for axis in (axes.xaxis, axes.yaxis) for text in _ticks(axis)]
    boxes = [(text.get_text(), text.get_window_extent()) for text in (*texts(canvas), *labels)]
    whole = canvas.bbox
    cut = [
        f"{text!r} is cut"
        for text, box in boxes
        if box.x0 < whole.x0 - SLACK
        or box.x1 > whole.x1 + SLACK
        or box.y0 < whole.y0 - SLACK
        or box.y1 > whole.y1 + SLACK
    ]
    pairs = combinations(boxes, 2)
    return cut + [
        f"{first!r} lies on {second!r}"
        for (first, box), (second, other) in pairs
        if shrunk(box).overlaps(shrunk(other))
    ]


def shrunk(box: Bbox) -> Bbox:
    """The box without the edge that letters leave free."""
    return Bbox.from_extents(box.x0 + 1, box.y0 + 1, box.x1 - 1, box.y1 - 1)


def _ticks(axis: Axis) -> list[Text]:
    low, high = sorted(axis.get_view_interval())
    ticks = [tick for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
    return [tick.label1 for tick in ticks if tick.label1.get_visible() and tick.label1.get_text().strip()]
