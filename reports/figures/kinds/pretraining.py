"""What pretraining buys: score against the number of training examples, from scratch and after pretraining."""

from collections.abc import Sequence
from functools import partial
from typing import Final

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from archbench.reports.analysis import pretraining as analysis
from archbench.reports.analysis.pretraining import Adapted
from archbench.reports.base.formatting import listing
from archbench.reports.figures.canvas.drawing import Panel
from archbench.reports.figures.canvas.marks import Looks, both_grids, mean, point_ticks, small, upright
from archbench.reports.figures.canvas.palette import ink, label, paper
from archbench.reports.figures.figure import Figure, View
from archbench.runs.experiment.spec import ADAPTED, FINETUNE, SCRATCH

CAPTION: Final = (
    "Test score against the number of training examples, equal for all: means over seeds, bars: 95% intervals. Solid: "
    "after pretraining; dashed, with hollow marks: from scratch. All runs that are trained have the same budget on the "
    "task; pretraining comes on top. Prompted models are not trained on the task: their examples stand in the prompt."
)
STYLES: Final = ("-", "-.", ":")  # of several pretrainings
_SHIFT: Final = 0.03  # decades between architectures


def pretraining(view: View) -> Figure:
    """A panel for each data set and way to adapt; from scratch beside each of them."""
    entries = [e for e in analysis.adapted(view.judged) if view.shows(e.dataset, e.architecture)]
    panels = []
    for dataset, adapt in dict.fromkeys((e.dataset, e.adapt) for e in entries if e.start != SCRATCH):
        own = [e for e in entries if e.dataset == dataset and (e.adapt == adapt or _is_base(e))]
        own = [e for e in own if e.start != SCRATCH or e.adapt == FINETUNE]
        drawing = partial(draw, entries=own, looks=view.looks)
        about = f"{own[0].metric.label} against training examples, {dataset}, {ADAPTED.get(adapt, adapt)}"
        panels.append(Panel(label(dataset, 80), ADAPTED.get(adapt, adapt), 2.8, drawing, about))
    named = tuple(dict.fromkeys(entry.architecture for entry in entries))
    rows = pd.DataFrame(analysis.numbers(entries))
    title = "What pretraining buys"
    return Figure("pretraining", title, CAPTION, tuple(panels), named, rows, takeaway=_takeaway(entries))


def draw(axes: Axes, entries: Sequence[Adapted], looks: Looks) -> None:
    """A line for each architecture and start over the number of examples."""
    names = list(dict.fromkeys(entry.architecture for entry in entries))
    starts = [start for start in dict.fromkeys(entry.start for entry in entries) if start != SCRATCH]
    for place, name in enumerate(names):
        shift, look = (place - (len(names) - 1) / 2) * _SHIFT, looks[name]
        for start in (SCRATCH, *starts):
            own = [entry for entry in entries if (entry.architecture, entry.start) == (name, start)]
            line = (0, (3, 2)) if start == SCRATCH else STYLES[starts.index(start) % len(STYLES)]
            xs = [entry.examples * 10**shift if entry.examples else shift for entry in own]
            axes.plot(xs, [entry.score.mean for entry in own], color=look.colour, linewidth=1.4, linestyle=line)
            for x, entry in zip(xs, own, strict=True):
                upright(axes, x, entry.score, look)
                face = {"markerfacecolor": paper(), "markeredgecolor": look.colour} if start == SCRATCH else {}
                mean(axes, x, entry.score.mean, look, 7, **face)
    counts = sorted({entry.examples for entry in entries})
    axes.set_xscale("symlog" if counts[0] == 0 else "log", **({"linthresh": 1.0} if counts[0] == 0 else {}))
    point_ticks(axes, {float(count): f"{count:,}" for count in counts})
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.set_xlabel("training examples")
    axes.set_ylabel(f"{entries[0].metric.label} {entries[0].metric.arrow}".strip())
    if len(starts) > 1:
        marks = [Line2D([], [], color=ink(), linestyle=STYLES[i % len(STYLES)]) for i in range(len(starts))]
        axes.legend(marks, starts, frameon=False, fontsize=small())
    both_grids(axes)


def _is_base(entry: Adapted) -> bool:
    return entry.start == SCRATCH and entry.adapt == FINETUNE


def _takeaway(entries: Sequence[Adapted]) -> str:
    """Where the interval of a gain excludes 0, finetuned on the fewest examples."""
    parts = []
    for dataset in dict.fromkeys(entry.dataset for entry in entries):
        own = [e for e in entries if e.dataset == dataset and e.adapt == FINETUNE and e.gain is not None]
        fewest = min((entry.examples for entry in own), default=0)
        for entry in own:
            if entry.examples == fewest and entry.gain is not None and entry.gain.excludes_zero:
                parts.append(f"{entry.architecture} {analysis.size(entry)} on {dataset} with {fewest:,} examples")
    if not entries:
        return ""
    return (
        f"Gain of finetuning a pretrained model, with the fewest examples: {listing(parts)}."
        if parts
        else "With the fewest examples, no 95% interval of a gain excludes 0."
    )
