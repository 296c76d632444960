"""Score against size, and against depth at equal size."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import EngFormatter

from archbench.reports.base import formatting
from archbench.reports.base.formatting import value
from archbench.reports.contrasts.contrast import Contrast
from archbench.reports.contrasts.phrase import counted
from archbench.reports.contrasts.verdicts import baseline_label
from archbench.reports.figures.canvas.drawing import Panel
from archbench.reports.figures.canvas.marks import SPACE, Looks, baseline_line, lines, point_ticks
from archbench.reports.figures.canvas.palette import label
from archbench.reports.figures.figure import Figure, View, below
from archbench.reports.questions import sweeps
from archbench.reports.questions.scaling import Trend
from archbench.reports.questions.sweeps import SweepScore

SCALING: Final = (
    "Test score against non-embedding parameters (logarithmic axis): means over seeds; bars: 95% intervals. Each point "
    "is a separate training run, on the number of tokens below the title."
)
DEPTH: Final = (
    "Test score against layers per stack at equal parameters: means over seeds; bars: 95% intervals. The width is "
    "below each depth. An encoder-decoder has two stacks and narrower feed-forward networks."
)


def scaling(view: View) -> Figure:
    return _figure("scaling", "Score against size", SCALING, draw_scaling, view)


def depth(view: View) -> Figure:
    return _figure("depth", "Depth against width", DEPTH, draw_depth, view)


def draw_scaling(axes: Axes, scores: Sequence[SweepScore], looks: Looks, y_label: str, baseline: float | None) -> None:
    """Score against parameters on a logarithmic axis, and a baseline as a dashed line."""
    lines(axes, [(score.architecture, score.parameters, score.interval) for score in scores], looks)
    baseline_line(axes, baseline)
    formatter = EngFormatter(sep=SPACE)
    point_ticks(axes, {score.value: formatter(score.value) for score in scores})
    axes.set_xlabel("non-embedding parameters")
    axes.set_ylabel(y_label)


def draw_depth(axes: Axes, scores: Sequence[SweepScore], looks: Looks, y_label: str, baseline: float | None) -> None:
    """Score against layers at equal parameters, the width of each depth below it."""
    lines(axes, [(score.architecture, score.value, score.interval) for score in scores], looks)
    baseline_line(axes, baseline)
    widths = {score.value: formatting.count(score.width) for score in scores}
    point_ticks(axes, {point: f"{point}\n({width})" for point, width in widths.items()})
    axes.set_xlabel("layers of each stack (width)")
    axes.set_ylabel(y_label)


def _figure(name: str, title: str, caption: str, draw: Callable[..., None], view: View) -> Figure:
    """A panel for each data set whose conditions are points on the axis of this name."""
    panels, rows, names, trends = [], list[dict[str, object]](), list[str](), list[Trend]()
    for trend in view.report.trends:
        sweep = trend.sweep
        scores = [
            score
            for score in sweeps.scores(view.report.comparisons, sweep)
            if view.shows(sweep.dataset, score.architecture)
        ]
        if sweep.axis.name != name or not scores:
            continue
        measure, best = sweep.base.metric, sweeps.baseline(sweep, scores)
        y_label = measure.label_with_arrow
        drawing = partial(draw, scores=scores, looks=view.looks, y_label=y_label, baseline=best[1] if best else None)
        subtitle = _tokens(scores)
        subtitle += [f"dashed: {baseline_label(best[0])}, {value(best[1], measure.decimals)}"] if best else []
        about = f"{measure.label} against {sweep.axis.plural}, {sweep.title}"
        panels.append(
            Panel(
                title=label(sweep.title, 80),
                below=below("; ".join(subtitle)),
                height=2.7,
                draw=drawing,
                description=about,
            )
        )
        rows += sweeps.numbers(sweep, scores)
        names += [score.architecture for score in scores]
        trends.append(trend)
    named = tuple(dict.fromkeys(names))
    numbers = pd.DataFrame(rows)
    return Figure(
        name=name,
        title=title,
        caption=caption,
        panels=tuple(panels),
        architectures=named,
        numbers=numbers,
        takeaway=_takeaway(trends, view),
    )


def _tokens(scores: Sequence[SweepScore]) -> list[str]:
    """The training tokens of all scores, least and most, in words; nothing where they are not known."""
    counts = sorted({float(f"{score.tokens:.3g}") for score in scores if math.isfinite(score.tokens)})
    texts = [EngFormatter(sep=" ")(count) for count in counts]
    return [f"{' to '.join(dict.fromkeys((texts[0], texts[-1])))} tokens"] if texts else []


def _takeaway(trends: Sequence[Trend], view: View) -> str:
    """Sentence that compares each architecture at the last point of its sweeps with the first."""
    ends: dict[str, list[Contrast]] = {}
    for trend in trends:
        for name in trend.sweep.architectures:
            points = list(trend.sweep.means(name))
            if len(points) > 1 and view.shows(trend.sweep.dataset, name):
                ends.setdefault(name, []).append(trend.between(name, points[-1], points[0]))
    if not ends:
        return ""
    first, last = ("smallest", "largest") if trends[0].sweep.axis is sweeps.SIZE else ("fewest", "most layers")
    parts = [f"{name} {counted(contrasts, 'sweeps')}" for name, contrasts in ends.items()]
    return f"From {first} to {last}: {'; '.join(parts)}."
