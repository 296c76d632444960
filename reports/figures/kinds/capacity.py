"""Stored bits against size: what a parameter holds of random strings, and whether that is one piece of information."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import EngFormatter, MaxNLocator

from archbench.reports.base import formatting
from archbench.reports.contrasts.words import OUTCOMES
from archbench.reports.figures.canvas.drawing import Panel
from archbench.reports.figures.canvas.palette import Look, label, paper, quiet, rule
from archbench.reports.figures.figure import Figure, View
from archbench.reports.readings.stored_bits import Stored, stored

RATES: Final = (0.5, 1.0, 2.0, 4.0)  # bits per parameter, drawn as lines
CAPTION: Final = (
    "Memorized bits of random strings against trainable parameters, embeddings and output matrix included: means over "
    "seeds; bars: 95% intervals. Grey lines: bits per parameter; dashed: all bits of the strings. The bits stored "
    "after this training are a lower bound on the capacity."
)


def numbers(stored: Sequence[Stored]) -> list[dict[str, object]]:
    """The points as rows of a table."""
    return [
        {
            "dataset": point.dataset,
            "condition": point.condition,
            "architecture": point.architecture,
            "parameters": point.parameters,
            "embedding_parameters": point.embedding_parameters,
            **point.bits.columns("stored_bits"),
            **point.per_parameter.columns("bits_per_parameter", "bits_per_parameter_"),
            "bits_in_all_strings": point.strings,
            "exhausted": point.exhausted,
            "passes": point.passes,
            "seeds": point.seeds,
        }
        for point in stored
    ]


def capacity(view: View) -> Figure:
    """A panel for each data set that measures what is stored."""
    shown = [point for point in stored(view.report) if view.shows(point.dataset, point.architecture)]
    named = tuple(dict.fromkeys(point.architecture for point in shown))
    panels = tuple(
        Panel(
            title=label(dataset, 40),
            below="",
            height=3.4,
            draw=partial(draw, stored=[point for point in shown if point.dataset == dataset], looks=view.looks),
            description=f"Stored bits against trainable parameters, {dataset}, with lines of equal bits per parameter",
        )
        for dataset in dict.fromkeys(point.dataset for point in shown)
    )
    takeaway = _takeaway(shown)
    return Figure(
        name="capacity",
        title="Stored bits against size",
        caption=CAPTION,
        panels=panels,
        architectures=named,
        numbers=pd.DataFrame(numbers(shown)),
        takeaway=takeaway,
    )


def draw(axes: Axes, stored: Sequence[Stored], looks: Mapping[str, Look]) -> None:
    """Stored bits against trainable parameters, both from 0, so that a rate is a line through the corner."""
    right = 1.15 * max(point.trainable for point in stored)
    ends = [end for point in stored for end in (point.bits.mean, point.bits.lower, point.bits.upper) if end == end]
    top, bottom = 1.25 * max(max(ends), right / 2), min(0.0, 1.1 * min(ends))
    for rate in RATES:
        _rate(axes, rate, right, top)
    axes.axhline(stored[0].strings, color=quiet(), linewidth=0.9, linestyle=(0, (3, 2)), zorder=0)
    for name in dict.fromkeys(point.architecture for point in stored):
        series, look = [point for point in stored if point.architecture == name], looks[name]
        axes.plot(
            [point.trainable for point in series],
            [point.bits.mean for point in series],
            color=look.colour,
            linewidth=1.4,
        )
        for point in series:
            if point.bits.known:
                axes.plot([point.trainable] * 2, [point.bits.lower, point.bits.upper], color=look.colour, linewidth=2)
            axes.plot(
                [point.trainable],
                [point.bits.mean],
                look.marker,
                color=look.colour,
                markersize=8,
                markeredgecolor=paper(),
            )
    axes.set_xlim(0, right)
    axes.set_ylim(bottom, top)
    axes.set_xlabel("trainable parameters, embeddings included")
    axes.set_ylabel("stored bits ↑")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(EngFormatter(sep="\N{NO-BREAK SPACE}"))
        axis.set_major_locator(MaxNLocator(5))
    axes.grid(color=rule(), linewidth=0.6)


def _rate(axes: Axes, rate: float, right: float, top: float) -> None:
    """The line of ``rate`` bits a parameter, named where it leaves the panel (below a title, inside)."""
    x = min(right, top / rate)
    axes.plot([0, x], [0, rate * x], color=quiet(), linewidth=0.7, zorder=0)
    at, va = ((4, 0), "center") if x == right else ((5, -2), "top")
    axes.annotate(
        f"{rate:g}",
        (x, rate * x),
        at,
        textcoords="offset points",
        ha="left",
        va=va,
        color=quiet(),
        annotation_clip=False,
    )


def _takeaway(stored: Sequence[Stored]) -> str:
    """Which architectures store at least one bit for each parameter at every size, and which less."""
    names = dict.fromkeys(point.architecture for point in stored)
    words = {name: {point.word for point in stored if point.architecture == name} for name in names}
    outcomes = {"at least one bit per parameter at every size": {"above"}, "less than one bit at every size": {"below"}}
    parts = [
        f"{text}: {listing}"
        for text, word in outcomes.items()
        if (listing := formatting.listing(name for name in names if words[name] == word))
    ]
    mixed = formatting.listing(name for name in names if words[name] not in outcomes.values())
    parts += [f"mixed or {OUTCOMES['open']}: {mixed}"] if mixed else []
    return f"Stored {'; '.join(parts)}." if parts else ""
