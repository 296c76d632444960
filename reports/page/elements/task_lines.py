"""One line for each data set in plain words: what every architecture reaches, and what the best one costs."""

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import pandas as pd

from archbench.reports.base import formatting
from archbench.reports.contrasts.contrast import Contrast, architectures_of, winner
from archbench.reports.contrasts.phrase import elsewhere, phrase
from archbench.reports.contrasts.verdicts import baseline_label, changed
from archbench.reports.contrasts.words import BELOW_GATE_MARK, OUTCOMES, SMALL
from archbench.reports.report import Report
from archbench.reports.results.comparison import Cell, Comparison
from archbench.reports.results.place import MATCHES
from archbench.reports.results.trials import forms_in_use

VERBS: Final = {
    "translation": "Translate",
    "classification": "Classify",
    "generation": "Continue",
    "summarization": "Summarize",
    "memorization": "Memorize",
    "pairs": "Compare",
    "skill": "Answer",
}
COSTS: Final = {  # in words, and the ratio up to which costs count as the same: times vary with other programs
    "train_flops": ("training FLOPs", 1.05),
    "train_seconds": ("training time", 1.25),
}
TWO_STACKS: Final = "encoder-decoder"  # the family whose depth is that of each of two stacks


class TaskLine(NamedTuple):
    """The result on one data set: what is asked, each architecture's score in words, the best first, and the rest."""

    verb: str
    title: str
    scores: str
    rest: str

    def __str__(self) -> str:
        return f"{self.verb} {self.title}: {self.scores}. {self.rest}".rstrip()


def task_lines(report: Report) -> list[TaskLine]:
    """A line for each data set and measure with primary contrasts."""
    return [
        _line(report, comparison, primary)
        for comparison in report.judged
        if (primary := report.tested.primary_on(comparison)) and comparison.scored
    ]


def _line(report: Report, comparison: Comparison, primary: Sequence[Contrast]) -> TaskLine:
    named = architectures_of(primary)
    cells = [cell for cell in comparison.scored if cell.architecture in named]
    cells.sort(key=lambda cell: -comparison.metric.gain(cell.interval.mean))
    scores = ", ".join(_score(report, comparison, cell, cells[0], primary) for cell in cells)
    verb = VERBS.get(comparison.group.task, comparison.group.task.capitalize())
    diverged = [phrase(contrast, "sentence") for contrast in primary if contrast.lost_to_divergence]
    more = [*diverged, *elsewhere(changed(comparison, report.tested))]
    return TaskLine(verb, comparison.group.dataset, scores, " ".join([*_rest(comparison, cells), *more]))


def _score(report: Report, comparison: Comparison, cell: Cell, best: Cell, primary: Sequence[Contrast]) -> str:
    """An architecture's mean and, unless it is clearly worse than the best, the outcome of the test between the two."""
    mean, metric = cell.interval.mean, comparison.metric
    text = _share(mean) if (metric.least, metric.most) == (0.0, 1.0) else formatting.value(mean, metric.decimals)
    label = f"\N{NO-BREAK SPACE}{metric.label}" if cell is best else ""
    pair = {cell.architecture, best.architecture}
    tested = [contrast for contrast in primary if {contrast.first, contrast.second} == pair]
    words = [_outcome(one) for one in tested if _within_margin(one) or not one.better]
    words += ["wins"] if cell is best and winner(primary) == best.architecture else []
    forms = forms_in_use(report.tables, comparison.group.dataset)
    form = f" ({forms[cell.architecture]})" if cell.architecture in forms else ""
    gate = "" if report.comparisons.gate(comparison.group, cell.architecture).passed else BELOW_GATE_MARK
    return f"{cell.architecture}{form} {text}{label}{gate}{f' ({words[0]})' if words else ''}"


def _share(mean: float) -> str:
    """A share in percent; one below 1 is not printed as 100%."""
    return f"{mean:.1%}" if mean < 1 and f"{mean:.0%}" == "100%" else f"{mean:.0%}"


def _within_margin(contrast: Contrast) -> bool:
    """True if one is better, but by less than the margin, as far as the means tell."""
    return bool(contrast.better) and abs(contrast.difference.mean) < contrast.margin


def _outcome(contrast: Contrast) -> str:
    return f"worse {SMALL}" if contrast.better else OUTCOMES[contrast.outcome]


def _rest(comparison: Comparison, cells: Sequence[Cell]) -> Iterator[str]:
    """The best simple baseline where no model beats it, what the best model costs, layers and tokens with a loss."""
    if comparison.none_beats_baseline and (baseline := comparison.best_simple_baseline):
        value = formatting.value(baseline[1], comparison.metric.decimals)
        yield f"None is better than a simple baseline ({baseline_label(baseline[0])}, {value})."
    runs, names = comparison.group.runs, [cell.architecture for cell in cells]
    costs = [(*words, _by_architecture(runs, column, names[:2])) for column, words in COSTS.items()]
    ratios = [(by.iloc[0] / by.iloc[1], what, same) for what, same, by in costs if len(by) == 2]
    told = [f"{ratio:.2g} times the {what}" for ratio, what, same in ratios if not 1 / same <= ratio <= same]
    if told:
        held = MATCHES.get(str(runs["match"].iloc[0]), "the same budget")
        yield f"Cost at {held}: {names[0]} takes {formatting.listing(told)} of {names[1]}."
    two_stacks = set(runs.loc[runs["family"] == TWO_STACKS, "architecture"])
    layers = _by_architecture(runs, "depth", names).items()
    said = {
        "Layers": [
            (str(name), f"{depth:g} + {depth:g}" if name in two_stacks else f"{depth:g}") for name, depth in layers
        ],
        "Tokens with a loss": [
            (str(name), formatting.number(float(f"{count:.2g}")))
            for name, count in _by_architecture(runs, "train_loss_tokens", names).items()
        ],
    }
    for what, values in said.items():
        if values:
            yield f"{what}: {_one_or_each(values)}."


def _one_or_each(values: Sequence[tuple[str, str]]) -> str:
    if len({value for _, value in values}) == 1:
        return f"{values[0][1]} each" if len(values) > 1 else values[0][1]
    return ", ".join(f"{name} {value}" for name, value in values)


def _by_architecture(runs: pd.DataFrame, column: str, names: list[str]) -> "pd.Series[float]":
    """The known medians of a column, by architecture in their order: the time of one seed may be an accident."""
    values = runs.reindex(columns=["architecture", column]).groupby("architecture")[column]
    return values.median().reindex(names).dropna()
