"""One figure by its name: as a file, or in a user's own axes."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from archbench.reports.figures.canvas import drawing
from archbench.reports.figures.canvas.drawing import Kind, Panel
from archbench.reports.figures.canvas.marks import key_marks, legend_above
from archbench.reports.figures.canvas.palette import label
from archbench.reports.figures.canvas.styles import UNCHANGED, Changes, Style, styled
from archbench.reports.figures.canvas.text_wrapping import wrapped
from archbench.reports.figures.figure import Figure, View
from archbench.reports.figures.figures import FIGURES
from archbench.tasks.base.files import write_bytes

PAGE: Final = 9.5  # inches of text on a page, about


def figure(shown: View, name: str) -> Figure:
    """The figure of this name. Raises ``ValueError`` where it has nothing to show."""
    kind = FIGURES[name]
    made = kind.make(shown)
    if not made.panels:
        raise ValueError(f"{name}: nothing to show; this figure {kind.lacks}")
    return made


def listing(shown: View) -> list[list[str]]:
    """A row for each figure: its name, the question it answers, and what it needs where it has nothing to show."""
    with styled("light"):
        made = {name: bool(kind.make(shown).panels) for name, kind in FIGURES.items()}
    return [
        [name, kind.question if made[name] else f"{kind.question} (nothing to show: {kind.lacks})"]
        for name, kind in FIGURES.items()
    ]


def drawn(
    shown: View,
    name: str,
    style: Style | None = "light",
    inches: float | None = None,
    changes: Changes = UNCHANGED,
) -> Canvas:
    """A figure on a canvas of its own, ``inches`` wide (by default as wide as its panels need).

    ``style`` None draws with the caller's ``rcParams``. Raises ``ValueError`` as ``figure`` does, and where the width
    is too small.
    """
    with styled(style, changes):
        return _on_canvas(figure(shown, name), inches, changes.titled)


def written(
    shown: View,
    name: str,
    path: Path,
    kind: Kind,
    style: Style,
    inches: float | None = None,
    changes: Changes = UNCHANGED,
    dpi: float | None = None,
) -> tuple[Figure, float]:
    """Write a figure as a file; returns what was drawn and its height in inches. Raises ``ValueError`` as ``drawn``.

    ``dpi`` are the pixels for each inch of a PNG; None makes one for a page, see ``encoded``.
    """
    with styled(style, changes):
        made = figure(shown, name)
        canvas = _on_canvas(made, inches, changes.titled)
        content = drawing.encoded(canvas, kind, dpi)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, content)
    return made, float(canvas.get_figheight())


def _on_canvas(made: Figure, inches: float | None, titled: bool) -> Canvas:
    columns = drawing.columns_for(made.panels, made.panels_per_row) if inches is None else _columns(made, inches)
    panels = [replace(panel, titled=titled) for panel in made.panels]
    return drawing.on_canvas(panels, columns, made.key, inches, made.panels_per_row)


def _columns(made: Figure, inches: float) -> int:
    """As many columns as fit with panels of the usual width, in whole groups where one fits."""
    fit = max(1, int(inches / drawing.narrow_panel()))
    return min(len(made.panels), fit - fit % made.panels_per_row if fit >= made.panels_per_row else fit)


def onto(shown: View, name: str, axes: Axes | Sequence[Axes], changes: Changes = UNCHANGED) -> Canvas:
    """A figure in the caller's axes, in the caller's ``rcParams``; returns the figure that has the axes.

    One axes takes the first panel of a figure with one data set; several take all panels in their order, the first
    with a legend. Raises ``ValueError`` where their number is wrong.
    """
    with styled(None, changes):
        made = figure(shown, name)
        flat = axes.ravel() if isinstance(axes, np.ndarray) else axes
        given = [flat] if isinstance(flat, Axes) else list(flat) if isinstance(flat, Iterable) else []
        if not given or not all(isinstance(entry, Axes) for entry in given):
            raise ValueError("ax: expected matplotlib axes, or a sequence of them")
        for entry, panel in zip(given, _panels(made, len(given)), strict=True):
            _onto(entry, panel, changes.titled)
        if made.key:
            legend_above(given[0], key_marks(made.key.values()), [label(name) for name in made.key])
    canvas = given[0].figure
    return canvas if isinstance(canvas, Canvas) else canvas.figure


def _panels(made: Figure, count: int) -> tuple[Panel, ...]:
    if count == len(made.panels):
        return made.panels
    if count == 1 and len(made.panels) == made.panels_per_row:
        return made.panels[:1]
    titles = ", ".join(dict.fromkeys(panel.title for panel in made.panels))
    raise ValueError(
        f"ax: {made.name} has {len(made.panels)} panels ({titles}) and {count} axes; give as many axes, or choose "
        "one data set with datasets=[...]"
    )


def _onto(axes: Axes, panel: Panel, titled: bool) -> None:
    panel.onto(axes)
    size, room = float(axes.title.get_fontsize()), axes.bbox.width / axes.figure.dpi
    texts = (panel.title if titled else "", panel.below)
    axes.set_title("\n".join(line for text in texts for line in wrapped(text, room, size)), loc="left")
