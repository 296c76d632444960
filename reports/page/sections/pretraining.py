"""Benefit of pretraining: scores by start, pairs after pretraining, gains, saved labels, cost."""

from collections.abc import Sequence
from functools import partial
from typing import Any, Final

import pandas as pd

from archbench.reports.base import formatting
from archbench.reports.contrasts.contrast import Contrast
from archbench.reports.page.elements import lede
from archbench.reports.page.elements.grids import Column, GridCell
from archbench.reports.page.elements.parts import Figure, Section, Table, Terminal, of_tables
from archbench.reports.page.sections import pretraining_runs
from archbench.reports.page.sections.budget import AXES
from archbench.reports.page.sections.tests import CONTRASTS, DIFFERENCES
from archbench.reports.questions.gains import started_from
from archbench.reports.readings.adapted import Adapted, adapted
from archbench.reports.readings.saved_labels import SavedLabels, saved_labels
from archbench.reports.report import Report
from archbench.reports.results import draws
from archbench.reports.results.pretraining import by_dataset

SIZE_TOLERANCE: Final = 2 * AXES["parameters"].tolerance  # each of two sizes may miss its target by that much
FINETUNED: Final = "Finetuned on the first number of training examples that the task lists in `examples`."

Place = tuple[str, int, str]  # data set, number of examples, start and adaptation


def _place(entry: Adapted) -> Place:
    return entry.dataset, entry.examples, entry.way


def _places(entries: Sequence[Adapted]) -> list[Place]:
    return list(dict.fromkeys(map(_place, entries)))


def _by_place(entries: Sequence[Adapted], architectures: Sequence[str], cell: Any) -> list[Column[Any]]:
    """Columns for places: data set, examples, start and adaptation, then a ``cell`` for each architecture."""
    ways, heading = short_ways([entry.way for entry in entries])
    return [
        Column("data set", lambda place: place[0], text=True),
        Column("examples", lambda place: f"{place[1]:,}"),
        Column(heading, lambda place: ways[place[2]], text=True),
        *(Column(name, partial(cell, name)) for name in architectures),
    ]


def short_ways(ways: Sequence[str]) -> tuple[dict[str, str], str]:
    """Each start and adaptation, without the adaptation if it is the same in all; and the heading of their column."""
    last = {way.rpartition(", ")[2] for way in ways}
    if len(last) > 1:
        return {way: way for way in ways}, "start and adaptation"
    return {way: way.rpartition(", ")[0] for way in ways}, f"start ({last.pop()})" if last else "start"


def _architectures(report: Report) -> list[str]:
    return list(dict.fromkeys(entry.architecture for entry in adapted(report)))


def _score_columns(report: Report) -> list[Column[Any]]:
    entries = adapted(report)
    found = {(_place(entry), entry.architecture): entry for entry in entries}
    return _by_place(entries, _architectures(report), lambda name, place: _score(found.get((place, name))))


def _score(entry: Adapted | None) -> GridCell:
    """A score; below it the difference from training from scratch."""
    if entry is None:
        return GridCell("", kind="quiet")
    gain = formatting.signed(entry.gain, entry.metric.decimals) if entry.gain is not None else ""
    return GridCell(formatting.interval(entry.score, entry.metric.decimals), gain)


def _above(report: Report) -> str:
    """Words above the scores on the terminal: gains only where something was trained from scratch, too."""
    has_gains = any(entry.gain is not None for entry in adapted(report))
    gains = " (in parentheses: the difference from training from scratch)" if has_gains else ""
    return f"Scores for each start{gains}:"


def _saved_columns(report: Report) -> list[Column[Any]]:
    entries = saved_labels(report)
    found = {(_place(entry.pretrained), entry.pretrained.architecture): entry.text for entry in entries}
    names = [name for name in _architectures(report) if any(name == architecture for _, architecture in found)]
    over = {_place(entry.pretrained): str(entry.draws or "") for entry in entries}
    columns = _by_place(_pretrained(entries), names, lambda name, place: found.get((place, name), ""))
    return [*columns, Column("draws", lambda place: over[place])] if any(over.values()) else columns


def _pretrained(entries: Sequence[SavedLabels]) -> list[Adapted]:
    return [entry.pretrained for entry in entries]


def other_sizes(report: Report) -> str:
    """A sentence about models that differ in size from those of the task's first condition; empty without any."""
    parts: dict[str, None] = {}
    for started in by_dataset(report):
        usual = _sizes(started.first.group.runs)
        for setup, comparison in started.by_setup.items():
            for architecture, size in _sizes(comparison.group.runs).items():
                ratio = size / usual.get(architecture, size)
                if abs(ratio - 1) > SIZE_TOLERANCE:
                    many = f"{formatting.number(size)} parameters, {ratio:.2f} times those of the first condition"
                    parts[f"{architecture} after {setup.start} has {many}"] = None
    return f"Not of equal size: {'; '.join(parts)}." if parts else ""


def _sizes(runs: pd.DataFrame) -> dict[str, float]:
    """The parameters of each architecture outside embeddings."""
    return {str(name): float(size) for name, size in runs.groupby("architecture")["parameters"].first().items()}


SCORES: Final = Table[Place](
    "pretraining",
    "Scores by start, adaptation and number of examples",
    lambda report: _places(adapted(report)),
    _score_columns,
    titled=True,
    about=(
        "Test split, mean ± 95% interval. Below each score: the difference from training all weights "
        "from scratch on as many examples (95% interval, not corrected for multiple tests); positive "
        "is better.",
        other_sizes,
        of_tables(draws.sentence),
        of_tables(lede.elsewhere),
    ),
    holds="scores by start, adaptation and number of training examples",
    lacks="runs that start from a pretraining",
    note="Means over seeds with 95% intervals. Below: the difference from training from scratch, finetuned on as many "
    "examples; 95% intervals, not corrected.",
    terminal=Terminal(2, _above, most=40),
)
AFTER: Final = Table[Contrast](
    "after_pretraining",
    "Which architecture is better after the same pretraining",
    lambda report: report.tested["after pretraining"],
    CONTRASTS,
    titled=True,
    about="The pairs of the primary contrasts, finetuned on the first number of examples in the task's "
    "<code>examples</code> list. Difference: positive where the first is better, with its 95% "
    "interval. p is corrected for all rows.",
    holds="which architecture is better after the same pretraining",
    lacks="primary contrasts, and two of their architectures after the same pretraining",
    note=f"{FINETUNED} {DIFFERENCES}",
)
GAIN_DIFFERENCES: Final = Table[Contrast](
    "gain_differences",
    "Which architecture gains more by pretraining",
    lambda report: report.tested["gain difference"],
    (
        Column("data set", lambda test: test.dataset, text=True),
        Column("examples", lambda test: f"{int(test.about):,}" if test.about else "all"),
        Column("pretraining", started_from, text=True),
        Column("architectures", lambda test: f"{test.first} vs. {test.second}", text=True),
        Column(
            "difference of gains",
            lambda test: GridCell(
                formatting.signed(test.difference, test.metric.decimals), kind="strong" if test.better else ""
            ),
        ),
        Column("p", lambda test: formatting.p(test.p)),
    ),
    titled=True,
    about="The gain of the first architecture minus that of the second, finetuned on the first number of "
    "examples in the task's <code>examples</code> list, with its 95% interval; paired over seeds and "
    "test examples. p is corrected for all rows.",
    holds="which architecture gains more by pretraining",
    lacks="two architectures with runs from the same pretraining and from scratch",
    note=f"{FINETUNED} The gain of the first minus that of the second, with a 95% interval; p corrected for all rows.",
)
SAVED_LABELS: Final = Table[Place](
    "saved_labels",
    "Examples that training from scratch needs for the same score",
    lambda report: _places(_pretrained(saved_labels(report))),
    _saved_columns,
    titled=True,
    about="Examples that training from scratch needs for the score of the pretrained model, with 95% "
    "intervals; interpolated linearly in the logarithm of the number of examples, within the range "
    "that was trained on. “examples”: what the pretrained model was trained on, or the shots of its "
    "prompt. “draws”: of the examples, each with a seed of its own; with one draw, the number is of these "
    "examples.",
    holds="examples that training from scratch needs for the score of a pretrained model",
    lacks="runs that start from a pretraining, and runs from scratch on several numbers of examples",
    note="With 95% intervals; interpolated over the logarithm of the number of examples. Not determined: the interval "
    "covers all numbers of examples that were trained on from scratch.",
)
SECTION: Final = Section(
    "What pretraining buys",
    name="pretraining",
    needs=adapted,
    show=(
        Figure("pretraining_gains"),
        Figure("pretraining"),
        SCORES,
        AFTER,
        GAIN_DIFFERENCES,
        SAVED_LABELS,
        pretraining_runs.PRETRAININGS,
        Figure("pretraining_curves"),
        pretraining_runs.COST,
    ),
)
