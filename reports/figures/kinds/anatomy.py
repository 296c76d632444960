"""What each architecture spends its budget on: parameters, training tokens and training FLOPs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.ticker import MaxNLocator

from archbench.reports.analysis.comparison import Comparison
from archbench.reports.base.formatting import listing
from archbench.reports.figures.canvas.drawing import Panel
from archbench.reports.figures.canvas.marks import Looks, at_right, name_rows, rows_height, upright_grid
from archbench.reports.figures.canvas.palette import label, quiet
from archbench.reports.figures.figure import Figure, View, named, place

TIMES: Final = "\N{MULTIPLICATION SIGN}"
CAPTION: Final = (
    "Relative to {base}: means over the data sets, under the first condition, of the architectures that were trained "
    "on all of them. The numbers are of the whole bars."
)


@dataclass(frozen=True)
class Part:
    """What is counted: the columns of the dark and the light part of a bar, and what each is."""

    title: str
    x_label: str
    dark: str
    light: str
    words: str


PARTS: Final = (
    Part("Parameters", "parameters", "parameters", "embedding_parameters", "light: embedding tables and output matrix"),
    Part("Training tokens", "training tokens", "train_loss_tokens", "without_loss", "light: read without a loss"),
    Part("Training FLOPs", "training FLOPs", "train_flops", "", ""),
)


@dataclass(frozen=True)
class Bar:
    """An architecture's amount relative to the first architecture's whole."""

    architecture: str
    dark: float
    light: float

    @property
    def whole(self) -> float:
        return self.dark + self.light


def anatomy(view: View) -> Figure:
    """A panel for each kind of cost."""
    comparisons = [comparison for comparison in view.first if len(comparison.scored) > 1]
    everywhere = _everywhere(comparisons)
    base = comparisons[0].group.architectures[0] if comparisons else ""
    panels, rows, flops = [], list[dict[str, object]](), list[Bar]()
    for part in PARTS:
        by_dataset = [(comparison, _bars(comparison, part, base)) for comparison in comparisons]
        bars = _means([bar for _, own in by_dataset for bar in own if bar.architecture in everywhere])
        if bars:
            drawing = partial(draw, bars=bars, looks=view.looks, x_label=f"{part.x_label}, relative to {label(base)}")
            height = rows_height([bar.architecture for bar in bars])
            about = f"{part.title} of each architecture relative to {base}"
            panels.append(Panel(part.title, part.words, height, drawing, about))
            rows += [_row(comparison, part, bar) for comparison, own in by_dataset for bar in own]
            flops = bars if part.dark == "train_flops" else flops
    return Figure(
        "anatomy",
        "What the budget is spent on",
        CAPTION.format(base=label(base)),
        tuple(panels),
        named(comparisons),
        pd.DataFrame(rows),
        keyed=False,
        takeaway=_takeaway(flops, base),
    )


def draw(axes: Axes, bars: Sequence[Bar], looks: Looks, x_label: str) -> None:
    """A bar for each architecture, its two parts side by side."""
    axes.axvline(1, color=quiet(), linewidth=0.9, zorder=0)
    for row, bar in enumerate(bars):
        colour = looks[bar.architecture].colour
        axes.barh([row], [bar.dark], 0.55, color=colour)
        if bar.light:
            axes.barh([row], [bar.light], 0.55, left=[bar.dark], color=to_rgba(colour, 0.35))
        at_right(axes, row, f"{bar.whole:.2f}{TIMES}", False)
    name_rows(axes, [bar.architecture for bar in bars])
    axes.set_xlim(0, 1.04 * max(1.0, *(bar.whole for bar in bars)))
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.xaxis.set_major_formatter(lambda tick, _: f"{tick:g}{TIMES}")
    axes.set_xlabel(x_label)
    upright_grid(axes)


def _bars(comparison: Comparison, part: Part, base: str) -> list[Bar]:
    """The architectures of a data set that has the base."""
    runs = comparison.group.runs
    if "train_loss_tokens" in runs and "train_tokens" in runs:
        rest = runs["train_tokens"].astype(float) - runs["train_loss_tokens"].astype(float)
        runs = runs.assign(without_loss=rest.clip(lower=0))
    columns = [name for name in (part.dark, part.light) if name]
    if not set(columns) <= set(runs):
        return []
    means = runs.groupby("architecture", sort=False)[columns].mean().astype(float)
    amounts: Mapping[str, Mapping[str, float]] = {
        str(name): {column: float(row[column]) for column in columns} for name, row in means.iterrows()
    }
    whole = sum(amounts[base][name] for name in columns) if base in amounts else 0.0
    if not whole > 0:
        return []
    return [
        Bar(name, amounts[name][part.dark] / whole, amounts[name][part.light] / whole if part.light else 0.0)
        for name in (cell.architecture for cell in comparison.scored)
    ]


def _everywhere(comparisons: Sequence[Comparison]) -> set[str]:
    """The architectures of all data sets; of any, where there are none."""
    sets = [{cell.architecture for cell in comparison.scored} for comparison in comparisons]
    common = set.intersection(*sets) if sets else set()
    return common or set().union(*sets)


def _means(bars: Sequence[Bar]) -> list[Bar]:
    """The mean over data sets of each architecture; without those whose amounts are not known."""
    by_name: dict[str, list[Bar]] = {}
    for bar in bars:
        if np.isfinite(bar.whole):
            by_name.setdefault(bar.architecture, []).append(bar)
    return [
        Bar(name, float(np.mean([bar.dark for bar in own])), float(np.mean([bar.light for bar in own])))
        for name, own in by_name.items()
    ]


def _row(comparison: Comparison, part: Part, bar: Bar) -> dict[str, object]:
    counted = {"part": bar.dark, "rest": bar.light, "whole": bar.whole}
    return place(comparison) | {"what": part.x_label, "architecture": bar.architecture} | counted


def _takeaway(flops: Sequence[Bar], base: str) -> str:
    """Training FLOPs relative to the base."""
    parts = [f"{bar.architecture} {bar.whole:.2f}{TIMES}" for bar in flops if bar.architecture != base]
    return f"Training FLOPs relative to {base}: {listing(parts)}." if parts else ""
