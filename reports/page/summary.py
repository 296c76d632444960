"""The headline for the terminal: architectures by data set, and a sentence for each data set."""

from collections.abc import Iterator

from archbench.reports.analysis import pretraining, scaling, trials
from archbench.reports.analysis.comparison import Comparison
from archbench.reports.analysis.judgement import Judged
from archbench.reports.analysis.verdicts import cautions, changed, contrast_sentence, elsewhere, left_out, verdict
from archbench.reports.page import grids, pretraining_grids, tuning_grids
from archbench.reports.page.bottom_line import pretrained


def text(judged: Judged) -> list[list[str]]:
    """The headline matrix as rows of plain text, the head first; '*' marks the best where the tests allow it."""
    shown = grids.with_answers(judged.comparisons, judged.first)
    grid = grids.headline(shown)
    started = {entry.first.group.dataset: entry.first.setup for entry in pretraining.by_dataset(judged)}
    setups = ["", *(started[name].words if (name := entry.group.dataset) in started else "" for entry in shown)]
    below = ["; ".join(filter(None, part)) for part in zip((cell.below for cell in grid.head), setups, strict=True)]
    head = [f"{cell.text} ({more})" if more else cell.text for cell, more in zip(grid.head, below, strict=True)]
    return [head, *([_plain(cell) for cell in row] for row in grid.rows)]


def after_pretraining(judged: Judged) -> list[list[str]]:
    """Every score by start, adaptation and number of examples, as rows of plain text; empty without pretraining."""
    grid = pretraining_grids.adapted(judged)
    rows = [[_with_gain(cell) for cell in row] for row in grid.rows]
    return [[cell.text for cell in grid.head], *rows] if rows else []


def heading_by_start(judged: Judged) -> str:
    """What ``after_pretraining`` shows: gains only where something was trained from scratch, too."""
    has_gains = any(cell.below for row in pretraining_grids.adapted(judged).rows for cell in row)
    gains = " (in parentheses: the difference from training from scratch)" if has_gains else ""
    return f"Scores for each start{gains}:"


def _with_gain(cell: grids.GridCell) -> str:
    """A score, and in parentheses its gain over training from scratch: "0.892 (+0.072, 0.024 to 0.120)"."""
    gain = cell.below.replace(" (", ", ").rstrip(")")
    return f"{cell.text} ({gain})" if gain else cell.text


def sentences(judged: Judged) -> list[str]:
    """The decided and open contrasts of each data set with their caveats or, without contrasts, the effects of changes.

    Sentences about size and depth, and about pretraining, follow where conditions differ in them.
    """
    lines = [_sentences(judged, comparison) for comparison in judged.first]
    if not judged.tested.primary:
        lines += map(contrast_sentence, judged.tested.effects)
    lines += [f"{trend.sweep.title}: {line}" for trend in judged.trends for line in scaling.sentences(trend)]
    lines += pretrained(judged)
    tables = judged.comparisons.tables
    if other_starts := pretraining_grids.elsewhere(tables):
        lines.append(f"{other_starts} The table by start has the scores; no test compares them.")
    cost = tuning_grids.costs(trials.costs(tables))
    return [*lines, *([f"tuning: {cost}"] if cost else []), *left_out(tables)]


def _sentences(judged: Judged, comparison: Comparison) -> str:
    """The verdict on one data set, the primary contrasts that are not decided, and the cautions."""
    dataset = comparison.group.dataset
    outcome = verdict(comparison, judged.tested.primary_on(dataset))
    further = elsewhere(changed(dataset, judged.tested))
    return " ".join([f"{dataset}: {outcome.sentence}", *_undecided(judged, dataset), *further, *cautions(comparison)])


def _undecided(judged: Judged, dataset: str) -> Iterator[str]:
    for contrast in judged.tested.primary_on(dataset):
        if contrast.outcome in ("open", "accounting") or contrast.lost_to_divergence:
            yield contrast_sentence(contrast)


def _plain(cell: grids.GridCell) -> str:
    return f"{cell.text} *" if cell.kind == "strong" else cell.text
