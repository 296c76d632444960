"""Figures of a comparison as matplotlib figures, for papers and notebooks.

Each figure that ``archbench plot DIR --list`` names is a function here::

    archbench.figures.headline(tables, datasets=["sst2"], width=3.3, style="print").savefig("headline.pdf")
    archbench.figures.cost("results/quick")
    figure, axes = plt.subplots()
    archbench.figures.shares(tables, ax=axes, datasets=["phrases-en-de"])

The arguments are the same for all:

``tables``: what ``archbench.compare`` returns, or the folder of a comparison. ``ax``: one or several axes to draw into
with the ``rcParams`` in force, instead of ``width`` and ``style``. ``architectures``, ``datasets``: what to show; tests
and intervals stay those of the whole comparison. ``width``: of the figure, in inches. ``style``: "light", "dark",
"print", or None for the ``rcParams`` in force; a font family or size that your ``rcParams`` set stays yours in every
style. ``labels``: other names for architectures and data sets, such as ``{"decoder": "GPT"}``. ``font``: a family, a
size in points, or both: "Times New Roman,8". ``title``: "none" leaves out the titles of panels.

Returns a ``matplotlib.figure.Figure``. Raises ``InputError`` (a ``ValueError``) for an unknown name, and where there is
nothing to show.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    Source = str | Path | Mapping[str, pd.DataFrame]


def __getattr__(name: str) -> "Callable[..., Figure]":
    from archbench.reports.figures.figures import FIGURES

    if name not in FIGURES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def draw(
        tables: "Source",
        ax: "Axes | Sequence[Axes] | None" = None,
        *,
        architectures: Sequence[str] | None = None,
        datasets: Sequence[str] | None = None,
        width: float | None = None,
        style: str | None = "light",
        labels: Mapping[str, str] | None = None,
        font: str | float | None = None,
        title: str | None = None,
    ) -> "Figure":
        from archbench import plotting
        from archbench.reports.figures import plot
        from archbench.reports.figures.canvas.styles import STYLES

        judged = plotting.judged(tables)
        shown = plotting.view(judged, architectures, datasets)
        inches = None if width is None else plotting.inches("width", width)
        look = None if style is None else plotting.chosen("style", style, STYLES)
        changes = plotting.changes(judged, labels, font, title, look if ax is None else None)
        with plotting.mistakes():
            return plot.drawn(shown, name, look, inches, changes) if ax is None else plot.onto(shown, name, ax, changes)

    draw.__name__ = draw.__qualname__ = name
    draw.__doc__ = f"{FIGURES[name].question}\n\nNeeds {FIGURES[name].needs}. For the arguments see the module."
    return draw


def __dir__() -> list[str]:
    from archbench.reports.figures.figures import FIGURES

    return [*FIGURES]
