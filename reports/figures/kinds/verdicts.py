"""The matrix of verdicts as a picture: data sets by architectures, a word and a colour in each cell."""

from collections.abc import Sequence
from functools import partial
from typing import Any, Final

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.patches import Rectangle

from archbench.reports.base.formatting import listing
from archbench.reports.contrasts.contrast import architectures_of
from archbench.reports.contrasts.words import BEHIND_BASELINE, MARKED_BELOW_GATE, STANDINGS
from archbench.reports.figures.canvas.drawing import Panel
from archbench.reports.figures.canvas.layout import PAD
from archbench.reports.figures.canvas.marks import SMALLEST_TEXT, name_rows, names_width, small
from archbench.reports.figures.canvas.palette import hue, ink, label, paper, quiet
from archbench.reports.figures.canvas.styles import scaled
from archbench.reports.figures.canvas.text_wrapping import width, wrapped
from archbench.reports.figures.figure import Figure, View, place
from archbench.reports.readings.standing import Standing, standing_of

HUES: Final = {"wins": "green", "better": "green", "ties": "blue", "loses": "vermillion", "accounting": "purple"}
_TINT: Final = 0.28
_AROUND, _LINE = 0.5, 0.165  # inches: above and below, a line of text
_CELL: Final = 1.0  # inches of text, at most
_BETWEEN: Final = 0.06  # inches between texts side by side


def verdicts(view: View) -> Figure:
    """One panel, where anything is a primary contrast."""
    names = architectures_of(view.report.tested.primary)
    cells = [
        standing_of(view.report, comparison, cell)
        for comparison in view.judged
        for cell in comparison.scored
        if cell.architecture in names and view.report.tested.primary_on(comparison)
    ]
    rows = [
        place(cell.comparison)
        | {"architecture": cell.architecture, "state": STANDINGS[cell.state].word, "mean": cell.cell.interval.mean}
        | {"behind_baseline": cell.is_behind_baseline, "gate": cell.gate.reason}
        for cell in cells
    ]
    drawing = partial(draw, cells=cells)
    about = "Verdicts by data set and architecture"
    height = partial(_height, cells=cells)
    panels = (Panel(title="Verdicts", below="", height=height, draw=drawing, description=about),) if cells else ()
    named = tuple(dict.fromkeys(cell.architecture for cell in cells))
    takeaway = _takeaway(cells)
    return Figure(
        name="verdicts",
        title="Who wins where",
        caption=_caption(cells),
        panels=panels,
        architectures=named,
        numbers=pd.DataFrame(rows),
        keyed=False,
        coloured=False,
        takeaway=takeaway,
    )


def _caption(cells: Sequence[Standing]) -> str:
    """Caption with the meanings of the words in the cells."""
    states = {cell.state for cell in cells}
    meanings = [f"{word.word}: {word.meaning}." for state, word in STANDINGS.items() if state in states]
    behind = [BEHIND_BASELINE] if any(cell.is_behind_baseline for cell in cells) else []
    behind += [f"{MARKED_BELOW_GATE}."] if any(not cell.gate.passed for cell in cells) else []
    about = "Outcome of the primary contrasts of each data set, and the mean test score."
    return " ".join([about, *meanings, *behind])


def draw(axes: Axes, cells: Sequence[Standing]) -> None:
    """A row for each data set and a column for each architecture, or the other way round where those are more."""
    rows, columns = _sides(cells)
    by_architecture = cells[0].architecture in rows
    room = _room(axes.figure.bbox.width / axes.figure.dpi, cells)
    size = _size(cells, room)
    for cell in cells:
        sides = (cell.architecture, cell.title) if by_architecture else (cell.title, cell.architecture)
        row, column = rows.index(sides[0]), columns.index(sides[1])
        colour = to_rgba(hue(HUES[cell.state]), _TINT) if cell.state in HUES else to_rgba(quiet(), 0.15)
        axes.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, facecolor=colour, edgecolor=paper(), linewidth=1.5))
        text = "\n".join([*wrapped(cell.words, room, size), cell.mean])
        strong = "bold" if cell.state == "wins" else "normal"
        axes.text(column, row, text, ha="center", va="center", color=ink(), weight=strong, fontsize=size)
    for column, name in enumerate(columns):
        style: dict[str, Any] = {"ha": "center", "va": "bottom", "color": ink(), "fontsize": size}
        head = "\n".join(wrapped(label(name), room, size))
        axes.annotate(head, (column, -0.5), (0, 3), textcoords="offset points", **style)
    name_rows(axes, rows)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xlim(-0.5, len(columns) - 0.5)
    axes.set_xticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)


def _room(inches: float, cells: Sequence[Standing]) -> float:
    """Inches of text in a cell of a panel this wide."""
    rows, columns = _sides(cells)
    return min((inches - names_width(rows) - 2 * scaled(PAD)) / len(columns) - scaled(_BETWEEN), scaled(_CELL))


def _size(cells: Sequence[Standing], room: float) -> float:
    """The points at which every word fits into a cell; at least the smallest legible."""
    widest = max(width(word, 10, "bold") for cell in cells for word in [*cell.words.split(), cell.mean])
    return min(small(), max(SMALLEST_TEXT, 10 * room / widest))


def _height(inches: float, cells: Sequence[Standing]) -> float:
    """Inches of a panel this wide, both as in the light style."""
    rows, columns = _sides(cells)
    room = _room(scaled(inches), cells)
    lines = max(len(wrapped(cell.words, room, _size(cells, room))) for cell in cells)
    head = max(len(wrapped(label(name), room, _size(cells, room))) for name in columns)
    return _AROUND + _LINE * head + (_LINE * (lines + 1) + _BETWEEN) * len(rows)


def _sides(cells: Sequence[Standing]) -> tuple[list[str], list[str]]:
    """The names of the rows and of the columns: data sets and architectures, the more numerous in rows."""
    datasets = list(dict.fromkeys(cell.title for cell in cells))
    names = list(dict.fromkeys(cell.architecture for cell in cells))
    return (names, datasets) if len(names) > max(len(datasets), 3) else (datasets, names)


def _takeaway(cells: Sequence[Standing]) -> str:
    """Where each architecture wins."""
    wins: dict[str, list[str]] = {}
    for cell in cells:
        if cell.state == "wins":
            wins.setdefault(cell.architecture, []).append(cell.title)
    datasets = dict.fromkeys(cell.title for cell in cells)
    rest = len(datasets) - sum(map(len, wins.values()))
    parts = [f"{name} on {listing(where)}" for name, where in wins.items()]
    won = f"Wins: {'; '.join(parts)}. " if parts else ""
    left = f"No winner on {f'the other {rest}' if won else rest} of {len(datasets)} data sets." if rest else ""
    return f"{won}{left}".strip()
