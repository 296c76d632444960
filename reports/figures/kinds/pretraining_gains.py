"""Figure of differences from training from scratch, a row for each start and number of examples."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Final

import pandas as pd
from matplotlib.axes import Axes

from archbench.reports.base.formatting import listing, signed
from archbench.reports.base.statistics import Interval
from archbench.reports.contrasts.contrast import Contrast
from archbench.reports.contrasts.phrase import counted
from archbench.reports.figures.canvas.drawing import Panel
from archbench.reports.figures.canvas.marks import Looks, row_marks, rows_height
from archbench.reports.figures.canvas.palette import label, quiet
from archbench.reports.figures.figure import Figure, View
from archbench.reports.readings.adapted import Adapted, adapted, numbers
from archbench.reports.results.draws import in_words
from archbench.reports.results.pretraining import by_dataset
from archbench.runs.experiment.spec import FINETUNE, SCRATCH_WITH, is_scratch

CAPTION: Final = (
    "Differences from training from scratch on as many examples, all weights finetuned, with 95% intervals (not "
    "corrected for multiple tests); right of the line: better. A row for each start, with the number of examples that "
    "were read where it varies."
)
HOLLOW: Final = " Hollow: from scratch, for as many more tokens as the pretraining."
MOST_ROWS: Final = 12  # of a data set; beyond it, only those with the first number of examples are drawn
MOST_GAINS: Final = 4  # that the line above the figure lists
Gain = tuple[Contrast, Adapted]


def pretraining_gains(view: View) -> Figure:
    """A panel for each data set: gains by start and number of examples, a mark for each architecture."""
    entries = [
        entry
        for entry in adapted(view.report)
        if entry.gain is not None and entry.adapt == FINETUNE and view.shows(entry.dataset, entry.architecture)
    ]
    first = {started.first.group.dataset: started.first.setup.examples for started in by_dataset(view.report)}
    panels = [
        _panel([entry for entry in entries if entry.dataset == dataset], first[dataset], view.looks)
        for dataset in dict.fromkeys(entry.dataset for entry in entries)
    ]
    return Figure(
        name="pretraining_gains",
        title="Gains over training from scratch",
        caption=CAPTION + HOLLOW * any(is_scratch(entry.start) for entry in entries),
        panels=tuple(panels),
        architectures=tuple(dict.fromkeys(entry.architecture for entry in entries)),
        numbers=pd.DataFrame(numbers(entries)),
        takeaway=_takeaway(entries),
    )


def _panel(entries: Sequence[Adapted], first: int | str, looks: Looks) -> Panel:
    rows = _rows(entries)
    if len(rows) > MOST_ROWS:
        rows = _rows([entry for entry in entries if entry.examples == first])
    metric, dataset = entries[0].metric, entries[0].dataset
    about = f"Differences in {metric.label} from training from scratch by start, {dataset}"
    return Panel(
        title=label(dataset, 80),
        below=metric.label,
        height=rows_height([*rows]),
        draw=partial(draw, rows=rows, looks=looks),
        description=about,
    )


def _rows(entries: Sequence[Adapted]) -> dict[str, list[Adapted]]:
    """The entries of each row by its name, those of a start one below the other."""
    several = len({entry.examples for entry in entries}) > 1
    starts = list(dict.fromkeys(entry.start for entry in entries))
    rows: dict[str, list[Adapted]] = {}
    for entry in sorted(entries, key=lambda entry: (starts.index(entry.start), entry.examples)):
        rows.setdefault(f"{entry.start}, {entry.read:,}" if several else entry.start, []).append(entry)
    return rows


def draw(axes: Axes, rows: Mapping[str, Sequence[Adapted]], looks: Looks) -> None:
    """A row for each start and number of examples, with a mark for each architecture."""
    marks = {
        name: [(gain, looks[entry.architecture], is_scratch(entry.start)) for entry, gain in _known(entries)]
        for name, entries in rows.items()
    }
    row_marks(axes, marks)
    axes.axvline(0, color=quiet(), linewidth=0.9, zorder=0)
    axes.set_xlabel("difference from scratch (right: better)")


def _known(entries: Sequence[Adapted]) -> Iterator[tuple[Adapted, Interval]]:
    for entry in entries:
        if entry.gain is not None:
            yield entry, entry.gain


def _takeaway(entries: Sequence[Adapted]) -> str:
    """How many gains have each outcome with the fewest examples, and the decided ones: all, or the extremes."""
    gains = _on_fewest(entries)
    if not any(gain.difference.known for gain, _ in gains):
        return ""
    sides = [[pair for pair in gains if pair[0].outcome == outcome] for outcome in ("ahead", "behind")]
    link, named = ": ", [pair for side in sides for pair in side]
    if len(named) > MOST_GAINS:
        link, named = ", such as ", [max(side, key=_size) for side in sides if side]
    setting = f"finetuned on the fewest examples (not corrected{_over([entry for _, entry in gains])})"
    outcomes = counted([gain for gain, _ in gains], "cases")
    return f"Gain over training from scratch, {setting}: {outcomes}{link * bool(named)}{listing(map(_gain, named))}."


def _on_fewest(entries: Sequence[Adapted]) -> list[Gain]:
    """The gains by pretraining with the fewest examples of each data set."""
    gains = []
    for dataset in dict.fromkeys(entry.dataset for entry in entries):
        after = [e for e in entries if e.dataset == dataset and not e.start.startswith(SCRATCH_WITH)]
        fewest = min((entry.examples for entry in after), default=0)
        gains += [(e.against_scratch, e) for e in after if e.against_scratch and e.examples == fewest]
    return gains


def _over(entries: Sequence[Adapted]) -> str:
    """How many draws of few examples these have, in words; empty where nothing is drawn."""
    few = [entry for entry in entries if entry.draws]
    nouns = {entry.noun for entry in few}
    words = in_words(min((e.draws for e in few), default=0), nouns.pop() if len(nouns) == 1 else "examples")
    return words and f"; {words}"


def _size(gain: Gain) -> float:
    return abs(gain[0].difference.mean)


def _gain(gain: Gain) -> str:
    tested, entry = gain
    count = f"{entry.examples:,} examples" if entry.examples else "all examples"
    setting = f"{entry.architecture} after {entry.start} on {entry.dataset} with {count}"
    return f"{setting} {signed(tested.difference, entry.metric.decimals)}"
