"""Differences as forest plots: a row for each contrast, with its interval and the margin that matters."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from archbench.reports.base import formatting
from archbench.reports.base.declared import contrasts_and_margins
from archbench.reports.base.formatting import listing
from archbench.reports.contrasts.contrast import Contrast
from archbench.reports.contrasts.phrase import phrase
from archbench.reports.contrasts.words import BELOW_GATE_MARK, MARKED_BELOW_GATE
from archbench.reports.figures.canvas.drawing import Panel
from archbench.reports.figures.canvas.marks import at_right, cut_interval, inside, name_rows, rows_height, upright_grid
from archbench.reports.figures.canvas.palette import hue, label, paper, quiet, rule
from archbench.reports.figures.figure import Figure, View
from archbench.runs.experiment.spec import DEFAULT_CONTRASTS
from archbench.tasks.metrics.metric import Metric

_CAPTION: Final = (
    "Difference in the primary metric {origin}, better to the right: mean and 95% interval over seeds, and over test "
    "examples where the score of each was recorded. Arrow: the interval continues outside the panel. Shaded: the "
    "equivalence margin. Words at the right: outcome by corrected p values (intervals are not corrected); "
    '"small": better or worse, but by less than the margin.'
)
CAPTION: Final = _CAPTION.format(origin="from the architecture above each panel")
EFFECTS: Final = _CAPTION.format(origin="that a change makes to the same architecture")
LONGEST: Final = 72  # characters of what is compared
CHANGED = "each against the same architecture without the change"
HUES: Final = {"ahead": "green", "behind": "vermillion"}
_USUAL: Final = frozenset(name for pair in DEFAULT_CONTRASTS for name in pair)


@dataclass(frozen=True)
class Forest:
    """The contrasts of one data set with one default, in their order; ``against`` is empty where each has its own."""

    title: str
    against: str
    rows: tuple[Contrast, ...]

    @property
    def names(self) -> list[str]:
        return [_short(row) if self.against else row.first for row in self.rows]

    @property
    def panel(self) -> Panel:
        measure = self.rows[0].metric
        origin = f"from {self.against}" if self.against else "made by changes"
        about = f"Difference in {measure.label} {origin} on {self.title}, with intervals and margin"
        height = rows_height(self.names, LONGEST)
        below = label(f"against {self.against}" if self.against else CHANGED, 200)
        return Panel(
            title=label(self.title, 80),
            below=below,
            height=height,
            draw=partial(draw, forest=self),
            description=about,
        )

    def numbers(self) -> list[dict[str, object]]:
        """The rows as those of a table; a positive difference is better."""
        return [
            {
                "dataset": row.dataset,
                "against": row.second,
                "name": row.first,
                "metric": row.metric.name,
                **row.difference.columns("difference"),
                "margin": row.margin,
                "p": row.p,
                "outcome": phrase(row, "mark"),
                "gate": row.gate,
                "seeds": row.seeds,
                "diverged": row.diverged,
            }
            for row in self.rows
        ]


def differences(view: View) -> Figure:
    """The primary contrasts, where the experiment declares its own: a panel for each data set and default."""
    declared = contrasts_and_margins(view.report.tables)[0] != DEFAULT_CONTRASTS
    shown = _shown(view, view.report.tested.primary) if declared else []
    return _figure("differences", "Differences from the default", CAPTION, shown, forests(shown))


def effects(view: View) -> Figure:
    """Figure of the effects of changes: a panel for each data set on which a change is tested."""
    by_place: dict[tuple[str, Metric], list[Contrast]] = {}
    for contrast in _shown(view, view.report.tested["effect"]):
        by_place.setdefault((contrast.dataset, contrast.metric), []).append(contrast)
    tested = {key: rows for key, rows in by_place.items() if any(row.outcome != "unknown" for row in rows)}
    shown = [contrast for rows in tested.values() for contrast in rows]
    parts = [Forest(dataset, "", tuple(rows)) for (dataset, _), rows in tested.items()]
    return _figure("effects", "What a change does", EFFECTS, shown, parts)


def forests(contrasts: Sequence[Contrast]) -> list[Forest]:
    """One forest for each data set, default and metric."""
    by_place: dict[tuple[str, str, str], list[Contrast]] = {}
    for contrast in contrasts:
        by_place.setdefault((contrast.title, contrast.second, contrast.metric.name), []).append(contrast)
    return [Forest(title, second, tuple(rows)) for (title, second, _), rows in by_place.items()]


def _shown(view: View, contrasts: Sequence[Contrast]) -> list[Contrast]:
    return [entry for entry in contrasts if view.shows(entry.dataset, entry.first, entry.second)]


def _figure(name: str, title: str, caption: str, contrasts: Sequence[Contrast], parts: Sequence[Forest]) -> Figure:
    table = pd.DataFrame([row for part in parts for row in part.numbers()])
    named = tuple(dict.fromkeys(contrast.first for contrast in contrasts))
    panels = tuple(part.panel for part in parts)
    return Figure(
        name=name,
        title=title,
        caption=f"{caption} {MARKED_BELOW_GATE}." if any(row.gate for row in contrasts) else caption,
        panels=panels,
        architectures=named,
        numbers=table,
        keyed=False,
        coloured=False,
        takeaway=_takeaway(contrasts),
    )


def _takeaway(contrasts: Sequence[Contrast]) -> str:
    """How many contrasts came out how."""
    if not contrasts:
        return ""
    counts = Counter(phrase(contrast, "mark") for contrast in contrasts)
    return f"Of {len(contrasts)} differences: {listing(f'{count} {name}' for name, count in counts.most_common())}."


def draw(axes: Axes, forest: Forest) -> None:
    """A row for each contrast: interval and mean, and at the right what was seen and decided."""
    measure = forest.rows[0].metric
    axes.set_xlim(*_limits(forest.rows))
    margin = forest.rows[0].margin
    if math.isfinite(margin):
        axes.axvspan(-margin, margin, color=rule(), alpha=0.6, linewidth=0, zorder=0)
    axes.axvline(0, color=quiet(), linewidth=0.9, zorder=1)
    for y, contrast in enumerate(forest.rows):
        _row(axes, y, contrast, measure.decimals)
    name_rows(axes, forest.names, LONGEST)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.set_xlabel(f"difference in {measure.label}, better to the right")
    upright_grid(axes)


def _row(axes: Axes, y: int, contrast: Contrast, decimals: int) -> None:
    gap, colour = contrast.difference, hue(HUES[contrast.outcome]) if contrast.outcome in HUES else quiet()
    if contrast.outcome == "unknown" and math.isnan(gap.mean):
        inside(axes, y, phrase(contrast, "mark"))
        return
    if gap.known:
        cut_interval(axes, gap.lower, gap.upper, y, colour)
    axes.plot([gap.mean], [y], "o", color=colour, markersize=7, markeredgecolor=paper(), zorder=5)
    gate = f" {BELOW_GATE_MARK}" if contrast.gate else ""
    word, size = f"{phrase(contrast, 'mark')}{gate}", formatting.value(gap.mean, formatting.decimals(gap, decimals))
    at_right(
        axes,
        y,
        f"{'+' if gap.mean > 0 else ''}{size}, {word}",
        contrast.outcome in HUES,
        shorter=(word, f"accounting{gate}" if contrast.outcome == "accounting" else word),
    )


def _limits(rows: Sequence[Contrast]) -> tuple[float, float]:
    """The range of the means, of the margin on both sides, and of intervals that are not absurdly wide."""
    means = [row.difference.mean for row in rows if math.isfinite(row.difference.mean)]
    margins = [sign * row.margin for row in rows if math.isfinite(row.margin) for sign in (-1.6, 1.6)]
    inner = [0.0, *means, *margins]
    span = (max(inner) - min(inner)) or 0.1
    ends = [end for row in rows if row.difference.known for end in (row.difference.lower, row.difference.upper)]
    low = max(min([*inner, *ends]), min(inner) - span)
    high = min(max([*inner, *ends]), max(inner) + span)
    return low - 0.05 * (high - low), high + 0.05 * (high - low)


def _short(contrast: Contrast) -> str:
    """The name of what was changed, without that of the default in front of it."""
    if contrast.first in _USUAL:
        return contrast.first
    architecture, on, changed = contrast.first.partition(" on ")
    if on and contrast.second.startswith(f"{architecture} on "):
        return changed
    for begin in (f"{contrast.second} with ", f"{contrast.second}-"):
        if contrast.first.startswith(begin):
            return contrast.first.removeprefix(begin)
    return contrast.first
