"""Figure of score against FLOPs per answer, for each order in which an encoder writes."""

from collections.abc import Sequence
from functools import partial
from typing import Final

import pandas as pd
from matplotlib.axes import Axes

from archbench.reports.base import formatting
from archbench.reports.figures.canvas.drawing import Panel
from archbench.reports.figures.canvas.marks import Looks, lines, log_ticks, small
from archbench.reports.figures.canvas.palette import ink
from archbench.reports.figures.figure import Figure, View, place, titled
from archbench.reports.readings.writing import LEFT_TO_RIGHT, Writing, writings

CAPTION: Final = (
    "Test score against model FLOPs per answer (logarithmic axis): means over seeds; bars: 95% intervals, from left to "
    "right over seeds and test examples, in rounds over seeds alone. Lines join the orders in which an encoder writes: "
    "the numbers are rounds, one of which is a single pass. Other architectures write from left to right, and the main "
    "scores of encoders are those from left to right."
)


def writing(view: View) -> Figure:
    """A panel for each data set on which an encoder wrote in several orders."""
    shown = [
        entry
        for entry in writings(view.report)
        if entry.flops > 0 and view.shows(entry.comparison.group.dataset, entry.architecture)
    ]
    by_dataset = {
        dataset: [entry for entry in shown if entry.comparison.group.dataset == dataset]
        for dataset in dict.fromkeys(entry.comparison.group.dataset for entry in shown)
    }
    return Figure(
        name="writing",
        title="What writing costs",
        caption=CAPTION,
        panels=tuple(_panel(entries, view.looks) for entries in by_dataset.values()),
        architectures=tuple(dict.fromkeys(entry.architecture for entry in shown)),
        numbers=pd.DataFrame(map(_row, shown)),
        takeaway=" ".join(filter(None, map(_sentence, by_dataset.values()))),
    )


def draw(axes: Axes, entries: Sequence[Writing], looks: Looks) -> None:
    """Score against FLOPs per answer; the orders of an architecture are joined, those of the first encoder named."""
    by_cost = sorted(entries, key=lambda entry: entry.flops)
    lines(axes, [(entry.architecture, entry.flops, entry.score) for entry in by_cost], looks)
    for name in _encoders(entries)[:1]:
        _name_orders(axes, _of(entries, name))
    axes.margins(y=0.2)
    log_ticks(axes, [entry.flops for entry in entries])
    axes.set_xlabel("FLOPs per answer")
    axes.set_ylabel(entries[0].comparison.metric.label_with_arrow)


def _panel(entries: Sequence[Writing], looks: Looks) -> Panel:
    comparison = entries[0].comparison
    title, below = titled(comparison)
    about = f"{comparison.metric.label} against FLOPs per answer, {title}"
    return Panel(
        title=title, below=below, height=3.2, draw=partial(draw, entries=entries, looks=looks), description=about
    )


def _name_orders(axes: Axes, entries: Sequence[Writing]) -> None:
    """The number of rounds above a point, the order from left to right below it: no two meet."""
    for entry in entries:
        above = entry.order != LEFT_TO_RIGHT
        end = entry.score.upper if above else entry.score.lower
        axes.annotate(
            _rounds(entry.order) if above else entry.order,
            (entry.flops, end if entry.score.known else entry.score.mean),
            (0, 6 if above else -6),
            textcoords="offset points",
            ha="center",
            va="bottom" if above else "top",
            fontsize=small(),
            color=ink(),
        )


def _rounds(order: str) -> str:
    return "1" if order == "one pass" else order.removesuffix(" rounds")


def _of(entries: Sequence[Writing], architecture: str) -> list[Writing]:
    return [entry for entry in entries if entry.architecture == architecture]


def _encoders(entries: Sequence[Writing]) -> list[str]:
    """The architectures that wrote in several orders."""
    return list(dict.fromkeys(entry.architecture for entry in entries if entry.order != LEFT_TO_RIGHT))


def _sentence(entries: Sequence[Writing]) -> str:
    """The best other order of the data set's first encoder, beside its score from left to right."""
    names = _encoders(entries)
    if not names:
        return ""
    usual, *others = _of(entries, names[0])
    metric = usual.comparison.metric
    best = max(others, key=lambda entry: (metric.gain(entry.score.mean), -entry.flops))
    score, base = (formatting.value(entry.score.mean, metric.decimals) for entry in (best, usual))
    return (
        f"{usual.comparison.group.dataset}: in {best.order}, {usual.architecture} scores {score} for "
        f"{best.flops / usual.flops:.2f} of the FLOPs with which it scores {base} from left to right."
    )


def _row(entry: Writing) -> dict[str, object]:
    return {
        **place(entry.comparison),
        "architecture": entry.architecture,
        "order": entry.order,
        "mean": entry.score.mean,
        "lower": entry.score.lower,
        "upper": entry.score.upper,
        "flops": entry.flops,
        "ratio": entry.ratio,
        "seconds": entry.seconds,
    }
