"""Figure of the budget that each architecture spends: parameters, training tokens and training FLOPs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.ticker import MaxNLocator

from archbench.reports.base.formatting import listing
from archbench.reports.figures.canvas.drawing import Panel
from archbench.reports.figures.canvas.marks import Looks, at_right, name_rows, rows_height, upright_grid
from archbench.reports.figures.canvas.palette import label, quiet
from archbench.reports.figures.figure import Figure, View, named, place
from archbench.reports.results.comparison import Comparison

TIMES: Final = "\N{MULTIPLICATION SIGN}"
CAPTION: Final = (
    "Relative to {base}: means over the data sets, under the first condition, of the architectures that were trained "
    "on all of them. Numbers: all segments of a bar together."
)


@dataclass(frozen=True)
class Cost:
    """A cost that is counted: the columns of a bar's segments, from dark to light, and what these are.

    ``whole``: the column of the bar where the tables have none of its segments.
    """

    title: str
    x_label: str
    segments: tuple[str, ...]
    words: str
    whole: str = ""


COSTS: Final = (
    Cost(
        "Parameters",
        "parameters",
        ("parameters", "embedding_parameters"),
        "light: embedding tables and output matrix",
    ),
    Cost("Training tokens", "training tokens", ("train_loss_tokens", "without_loss"), "light: read without a loss"),
    Cost(
        "Training FLOPs",
        "training FLOPs",
        ("attention_flops", "feedforward_flops", "output_flops", "other_flops"),
        "dark to light: attention, feed-forward networks, output matrix",
        "train_flops",
    ),
)


@dataclass(frozen=True)
class Bar:
    """An architecture's amounts relative to the first architecture's whole, by segment."""

    architecture: str
    segments: Mapping[str, float]

    @property
    def whole(self) -> float:
        return sum(self.segments.values())


def anatomy(view: View) -> Figure:
    """A panel for each kind of cost."""
    comparisons = [comparison for comparison in view.first if len(comparison.scored) > 1]
    everywhere = _everywhere(comparisons)
    base = comparisons[0].group.architectures[0] if comparisons else ""
    panels, rows, flops = [], list[dict[str, object]](), list[Bar]()
    for cost in COSTS:
        columns = _columns(comparisons, cost)
        by_dataset = [(comparison, _bars(comparison, columns, base)) for comparison in comparisons]
        bars = _means([bar for _, dataset_bars in by_dataset for bar in dataset_bars if bar.architecture in everywhere])
        if bars:
            drawing = partial(draw, bars=bars, looks=view.looks, x_label=f"{cost.x_label}, relative to {label(base)}")
            height = rows_height([bar.architecture for bar in bars])
            about = f"{cost.title} of each architecture relative to {base}"
            words = cost.words if len(columns) > 1 else ""
            panels.append(Panel(title=cost.title, below=words, height=height, draw=drawing, description=about))
            rows += [
                row
                for comparison, dataset_bars in by_dataset
                for bar in dataset_bars
                for row in _rows(comparison, cost, bar)
            ]
            flops = bars if cost.whole else flops
    return Figure(
        name="anatomy",
        title="What the budget is spent on",
        caption=CAPTION.format(base=base),
        panels=tuple(panels),
        architectures=named(comparisons),
        numbers=pd.DataFrame(rows),
        keyed=False,
        takeaway=_takeaway(flops, base),
    )


def draw(axes: Axes, bars: Sequence[Bar], looks: Looks, x_label: str) -> None:
    """A bar for each architecture, its segments side by side, the first the darkest."""
    axes.axvline(1, color=quiet(), linewidth=0.9, zorder=0)
    for row, bar in enumerate(bars):
        left, shades = 0.0, np.linspace(1, 0.35, max(2, sum(amount > 0 for amount in bar.segments.values())))
        for amount, shade in zip(filter(None, bar.segments.values()), shades, strict=False):
            axes.barh([row], [amount], 0.55, left=[left], color=to_rgba(looks[bar.architecture].colour, shade))
            left += amount
        at_right(axes, row, f"{bar.whole:.2f}{TIMES}", False, shorter=("",))
    name_rows(axes, [bar.architecture for bar in bars])
    axes.set_xlim(0, 1.04 * max(1.0, *(bar.whole for bar in bars)))
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.xaxis.set_major_formatter(lambda tick, _: f"{tick:g}{TIMES}")
    axes.set_xlabel(x_label)
    upright_grid(axes)


def _columns(comparisons: Sequence[Comparison], cost: Cost) -> tuple[str, ...]:
    """The segments of the bars; the whole alone where the segments of some runs are not known."""
    tables = [_with_rest(comparison.group.runs).reindex(columns=cost.segments) for comparison in comparisons]
    gaps = any(table.isna().to_numpy().any() for table in tables)
    return (cost.whole,) if cost.whole and gaps else cost.segments


def _bars(comparison: Comparison, columns: Sequence[str], base: str) -> list[Bar]:
    """The architectures of a data set that has the base."""
    runs = _with_rest(comparison.group.runs)
    if not set(columns) <= set(runs):
        return []
    means = runs.groupby("architecture", sort=False)[list(columns)].mean().astype(float)
    amounts: Mapping[str, Mapping[str, float]] = {
        str(name): {column: float(row[column]) for column in columns} for name, row in means.iterrows()
    }
    whole = sum(amounts[base].values()) if base in amounts else 0.0
    if not whole > 0:
        return []
    return [
        Bar(name, {column: amount / whole for column, amount in amounts[name].items()})
        for name in (cell.architecture for cell in comparison.scored)
    ]


def _with_rest(runs: pd.DataFrame) -> pd.DataFrame:
    """The runs with the tokens that are read without a loss, and the FLOPs of no part that is named."""
    if {"train_loss_tokens", "train_tokens"} <= set(runs):
        rest = runs["train_tokens"].astype(float) - runs["train_loss_tokens"].astype(float)
        runs = runs.assign(without_loss=rest.clip(lower=0))
    named_parts = ["attention_flops", "feedforward_flops", "output_flops"]
    if set(named_parts) <= set(runs):
        rest = runs["train_flops"].astype(float) - runs[named_parts].astype(float).sum(axis=1)
        runs = runs.assign(other_flops=rest.where(rest > 1e-6 * runs["train_flops"].astype(float), 0.0))
    return runs


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
        Bar(
            name,
            {
                part: float(np.mean([bar.segments[part] for bar in architecture_bars]))
                for part in architecture_bars[0].segments
            },
        )
        for name, architecture_bars in by_name.items()
    ]


def _rows(comparison: Comparison, cost: Cost, bar: Bar) -> list[dict[str, object]]:
    """A row for each segment of a bar, and one for the whole."""
    where = place(comparison) | {"what": cost.x_label, "architecture": bar.architecture}
    return [where | {"part": part, "value": amount} for part, amount in {**bar.segments, "whole": bar.whole}.items()]


def _takeaway(flops: Sequence[Bar], base: str) -> str:
    """Training FLOPs relative to the base."""
    parts = [f"{bar.architecture} {bar.whole:.2f}{TIMES}" for bar in flops if bar.architecture != base]
    return f"Training FLOPs relative to {base}: {listing(parts)}." if parts else ""
