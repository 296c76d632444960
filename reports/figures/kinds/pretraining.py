"""Figure of score against the number of training examples, from scratch and after pretraining."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from archbench.reports.base.formatting import listing
from archbench.reports.figures.canvas.drawing import Panel
from archbench.reports.figures.canvas.marks import (
    DASHED,
    Looks,
    baseline_line,
    both_grids,
    hollow_face,
    legend_above,
    mean,
    point_ticks,
    row_marks,
    rows_height,
    upright,
)
from archbench.reports.figures.canvas.palette import Look, ink, label, quiet
from archbench.reports.figures.figure import Figure, View
from archbench.reports.readings.adapted import Adapted, adapted, numbers
from archbench.reports.readings.saved_labels import SavedLabels, saved_labels
from archbench.reports.report import Report
from archbench.reports.results.draws import in_words
from archbench.runs.experiment.spec import ADAPTED, FINETUNE, SCRATCH, ZERO_SHOT, is_checkpoint, is_scratch

CAPTION: Final = (
    "Test score by number of training examples that were read (shots for prompts), or by start where there are many: "
    "means over seeds with 95% intervals. Filled marks: after pretraining; hollow: from scratch, on the budget of the "
    "task (in curves dashed) or for as many more tokens as the pretraining. Pretrained models have the budget of the "
    "task on top of their pretraining. Grey, dashed: always answering with the most frequent label."
)
STYLES: Final = ("-", "-.", ":")  # of several pretrainings
MOST_LINES: Final = 3  # starts that are drawn over the number of examples
_SHIFT: Final = 0.03  # decades between architectures


def pretraining(view: View) -> Figure:
    """Panels for each data set: scores by number of examples; by start, where there are many, or one number."""
    entries = [e for e in adapted(view.report) if view.shows(e.dataset, e.architecture)]
    panels = []
    for dataset in dict.fromkeys(e.dataset for e in entries if e.start != SCRATCH):
        dataset_entries = [e for e in entries if e.dataset == dataset]
        panels += (
            list(_over_examples(dataset_entries, view.looks))
            if _is_curve(dataset_entries)
            else list(_by_start(dataset_entries, view.looks))
        )
    named = tuple(dict.fromkeys(entry.architecture for entry in entries))
    rows = pd.DataFrame(numbers(entries))
    title = "What pretraining buys"
    return Figure(
        name="pretraining",
        title=title,
        caption=CAPTION,
        panels=tuple(panels),
        architectures=named,
        numbers=rows,
        takeaway=_takeaway(view.report, entries),
    )


def _is_curve(entries: Sequence[Adapted]) -> bool:
    """True if a data set has several numbers of training examples, and few starts."""
    counts = {entry.examples for entry in entries if not entry.is_prompted}
    return len(counts) > 1 and len(_pretrainings(entries)) <= MOST_LINES


def _over_examples(entries: Sequence[Adapted], looks: Looks) -> Iterator[Panel]:
    """A panel for each way to adapt, from scratch beside it."""
    for adapt in sorted({e.adapt for e in entries if e.start != SCRATCH}, key=[*ADAPTED].index):
        way_entries = [e for e in entries if (e.adapt == adapt and e.start != SCRATCH) or _is_base(e)]
        words = ADAPTED.get(adapt, adapt)
        about = f"{way_entries[0].metric.label} against training examples, {way_entries[0].dataset}, {words}"
        yield Panel(
            title=label(way_entries[0].dataset, 80),
            below=words,
            height=2.8,
            draw=partial(draw, entries=way_entries, looks=looks),
            description=about,
        )


def _by_start(entries: Sequence[Adapted], looks: Looks) -> Iterator[Panel]:
    """A panel for each way to adapt and number of examples, with a row for each start."""
    settings = {(e.adapt, e.examples) for e in entries if e.start != SCRATCH}
    for adapt, examples in sorted(settings, key=lambda setting: ([*ADAPTED].index(setting[0]), setting[1])):
        matching = [e for e in entries if (e.adapt, e.examples) == (adapt, examples)]
        base = [e for e in entries if _is_base(e) and e.examples == examples and adapt != FINETUNE]
        words = ADAPTED.get(adapt, adapt) + (f", {examples:,} examples" if adapt != ZERO_SHOT else "")
        rows: dict[str, list[Adapted]] = {}
        for e in (*base, *matching):
            rows.setdefault(e.start if e.adapt == adapt else f"{e.start}, {ADAPTED[e.adapt]}", []).append(e)
        about = f"{matching[0].metric.label} by start, {matching[0].dataset}, {words}"
        drawing = partial(draw_starts, rows=rows, looks=looks)
        yield Panel(
            title=label(matching[0].dataset, 80),
            below=words,
            height=rows_height([*rows]),
            draw=drawing,
            description=about,
        )


def draw(axes: Axes, entries: Sequence[Adapted], looks: Looks) -> None:
    """A line for each architecture and start over the number of examples."""
    names = list(dict.fromkeys(entry.architecture for entry in entries))
    starts = _pretrainings(entries)
    for index, name in enumerate(names):
        shift, look = (index - (len(names) - 1) / 2) * _SHIFT, looks[name]
        for start in dict.fromkeys(entry.start for entry in entries if entry.architecture == name):
            series = [entry for entry in entries if (entry.architecture, entry.start) == (name, start)]
            line = DASHED if start == SCRATCH else STYLES[_place(start, starts) % len(STYLES)]
            xs = [entry.read * 10**shift if entry.read else shift for entry in series]
            axes.plot(xs, [entry.score.mean for entry in series], color=look.colour, linewidth=1.4, linestyle=line)
            for x, entry in zip(xs, series, strict=True):
                upright(axes, x, entry.score, look)
                mean(axes, x, entry.score.mean, look, 7, **_face(start, look))
    baseline_line(axes, entries[0].majority)
    counts = sorted({entry.examples: entry.read for entry in entries}.values())
    axes.set_xscale("symlog" if counts[0] == 0 else "log", **({"linthresh": 1.0} if counts[0] == 0 else {}))
    point_ticks(axes, {float(count): f"{count:,}" for count in counts})
    if counts[0] == 0:
        axes.set_xlim(left=-0.5)
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.set_xlabel("examples in the prompt or trained on" if counts[0] == 0 else "training examples")
    axes.set_ylabel(entries[0].metric.label_with_arrow)
    if len(starts) > 1:
        styles: dict[str, Any] = {start: STYLES[index % len(STYLES)] for index, start in enumerate(starts)}
        if any(entry.start == SCRATCH for entry in entries):
            styles = {SCRATCH: DASHED, **styles}
        marks = [Line2D([], [], color=ink(), linestyle=style) for style in styles.values()]
        legend_above(axes, marks, [label(start) for start in styles])
    both_grids(axes)


def draw_starts(axes: Axes, rows: Mapping[str, Sequence[Adapted]], looks: Looks) -> None:
    """A row for each start, with a mark for each architecture."""
    row_marks(
        axes,
        {
            name: [(entry.score, looks[entry.architecture], is_scratch(entry.start)) for entry in entries]
            for name, entries in rows.items()
        },
    )
    majority = next(iter(rows.values()))[0].majority
    if majority is not None:
        axes.axvline(majority, color=quiet(), linewidth=0.9, linestyle=DASHED, zorder=0)
    metric = next(iter(rows.values()))[0].metric
    axes.set_xlabel(metric.label_with_arrow)


def _pretrainings(entries: Sequence[Adapted]) -> list[str]:
    """The pretrainings, each with its own line style; a checkpoint has a colour, longer training one point."""
    starts = dict.fromkeys(entry.start for entry in entries)
    return [start for start in starts if not is_scratch(start) and not is_checkpoint(start)]


def _place(start: str, starts: Sequence[str]) -> int:
    return starts.index(start) if start in starts else 0


def _face(start: str, look: Look) -> dict[str, Any]:
    """Marks of what was trained from scratch are hollow."""
    return hollow_face(look) if is_scratch(start) else {}


def _is_base(entry: Adapted) -> bool:
    return entry.start == SCRATCH and entry.adapt == FINETUNE


def _takeaway(report: Report, entries: Sequence[Adapted]) -> str:
    """Sentence on how many examples from scratch equal the fewest after pretraining, where it is first known."""
    groups: dict[tuple[str, str], list[SavedLabels]] = {}
    for saved in saved_labels(report):
        pretrained = saved.pretrained
        if pretrained in entries and pretrained.adapt == FINETUNE and pretrained.examples == saved.fewest:
            groups.setdefault((pretrained.dataset, pretrained.start), []).append(saved)
    for (dataset, start), group in groups.items():
        if any(saved.is_determined for saved in group):
            texts = listing([f"{saved.pretrained.architecture} {saved.text}" for saved in group])
            count = f"{group[0].fewest:,} example{'s' if group[0].fewest > 1 else ''}"
            over = in_words(min(saved.draws for saved in group), group[0].pretrained.noun)
            return (
                f"On {dataset}, {count} after {start} give the score of this many from scratch"
                f"{over and f' ({over})'}: {texts}."
            )
    return ""
