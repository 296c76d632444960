"""Differences to a default as a forest plot: a row for each contrast, with its interval and the margin that matters."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from archbench.reports.analysis.contrasts import Contrast
from archbench.reports.base import formatting
from archbench.reports.base.metrics import metric
from archbench.reports.figures.drawing import Panel
from archbench.reports.figures.palette import COLOURS, PAPER, QUIET, RULE, label
from archbench.reports.figures.panels import at_right, name_rows, rows_height
from archbench.runs.experiment.spec import DEFAULT_CONTRASTS

CAPTION: Final = (
    "Difference in the primary metric from the architecture above each panel, better to the right: mean and 95% "
    "interval over seeds, and over test examples where the score of each was recorded. Shaded: the margin. Words at "
    'the right: outcome by corrected p values (intervals are not corrected); "small": better or worse, but by less '
    "than the margin."
)
EFFECTS: Final = CAPTION.replace(
    "from the architecture above each panel", "that a change makes to the same architecture"
)
WORDS: Final = {
    "ahead": "better",
    "behind": "worse",
    "equal": "equal",
    "open": "not decided",
    "unknown": "not tested",
    "untrained": "not trained enough",
    "accounting": "depends on the accounting",
}
INKS: Final = {"ahead": COLOURS["green"], "behind": COLOURS["vermillion"]}
_USUAL: Final = frozenset(name for pair in DEFAULT_CONTRASTS for name in pair)


@dataclass(frozen=True)
class Forest:
    """The contrasts of one data set with one default, in their order."""

    dataset: str
    against: str
    rows: tuple[Contrast, ...]

    @property
    def panel(self) -> Panel:
        measure = metric(self.rows[0].metric)
        about = f"Difference in {measure.label} from {self.against} on {self.dataset}, with intervals and margin"
        height = rows_height([_short(row) for row in self.rows])
        below = label(f"against {self.against}", 200)
        return Panel(label(self.dataset, 80), below, height, partial(draw, forest=self), about)

    def numbers(self) -> list[dict[str, object]]:
        """The rows as those of a table; a positive difference is better."""
        return [
            {
                "dataset": self.dataset,
                "against": self.against,
                "name": row.first,
                "metric": row.metric,
                "difference": row.difference.mean,
                "lower": row.difference.lower,
                "upper": row.difference.upper,
                "margin": row.margin,
                "p": row.p,
                "outcome": word(row),
                "runs": row.runs,
                "diverged": row.diverged,
            }
            for row in self.rows
        ]


def forests(contrasts: Sequence[Contrast]) -> list[Forest]:
    """One forest for each data set, default and metric."""
    keys = dict.fromkeys((contrast.dataset, contrast.second, contrast.metric) for contrast in contrasts)
    return [
        Forest(
            key[0],
            key[1],
            tuple(contrast for contrast in contrasts if (contrast.dataset, contrast.second, contrast.metric) == key),
        )
        for key in keys
    ]


def word(contrast: Contrast) -> str:
    """What became of the first of a contrast, in a word or two."""
    if contrast.outcome == "unknown" and contrast.diverged:
        return "diverged"
    return f"{WORDS[contrast.outcome]} (small)" if contrast.small else WORDS[contrast.outcome]


def draw(axes: Axes, forest: Forest) -> None:
    """A row for each contrast: interval and mean, and at the right what was seen and decided."""
    measure = metric(forest.rows[0].metric)
    axes.set_xlim(*_limits(forest.rows))
    margin = forest.rows[0].margin
    if math.isfinite(margin):
        axes.axvspan(-margin, margin, color=RULE, alpha=0.6, linewidth=0, zorder=0)
    axes.axvline(0, color=QUIET, linewidth=0.9, zorder=1)
    for place, contrast in enumerate(forest.rows):
        _row(axes, place, contrast, measure.decimals)
    name_rows(axes, [_short(row) for row in forest.rows])
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.set_xlabel(f"difference in {measure.label}, better to the right")
    axes.grid(axis="x", color=RULE, linewidth=0.6)


def _row(axes: Axes, place: int, contrast: Contrast, decimals: int) -> None:
    gap, ink = contrast.difference, INKS.get(contrast.outcome, QUIET)
    if contrast.outcome == "unknown" and math.isnan(gap.mean):
        at_right(axes, place, word(contrast), False, QUIET)
        return
    if gap.known:
        axes.plot([gap.lower, gap.upper], [place, place], color=ink, linewidth=2.2, solid_capstyle="butt")
    axes.plot([gap.mean], [place], "o", color=ink, markersize=7, markeredgecolor=PAPER, zorder=5)
    size = formatting.value(gap.mean, formatting.decimals(gap, decimals))
    at_right(axes, place, f"{'+' if gap.mean > 0 else ''}{size}, {word(contrast)}", contrast.outcome in INKS)


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
    architecture, on, place = contrast.first.partition(" on ")
    if on and contrast.second.startswith(f"{architecture} on "):
        return place
    for begin in (f"{contrast.second} with ", f"{contrast.second}-"):
        if contrast.first.startswith(begin):
            return contrast.first.removeprefix(begin)
    return contrast.first
