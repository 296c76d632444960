"""The headline for the terminal: architectures by data set, and a sentence for each data set."""

from archbench.reports.analysis import scaling, trials
from archbench.reports.analysis.judgement import Judged
from archbench.reports.analysis.verdicts import cautions, contrast_sentence, left_out, verdict
from archbench.reports.page import grids, tested_grids


def text(judged: Judged) -> list[list[str]]:
    """The headline matrix as rows of plain text, the head first; '*' marks the best where the tests allow it."""
    grid = grids.headline(judged.first)
    head = [f"{entry.text} ({entry.below})" if entry.below else entry.text for entry in grid.head]
    return [head, *([_plain(entry) for entry in row] for row in grid.rows)]


def sentences(judged: Judged) -> list[str]:
    """What is decided on each data set and what is not, and what casts doubt on it; else what a change does.

    What size and depth do follows, where conditions differ in them.
    """
    found = []
    for one in judged.first:
        primary = judged.tested.of(one.group.dataset)
        said = verdict(one, primary)
        told = [pair.outcome == "open" or (pair.outcome == "unknown" and bool(pair.diverged)) for pair in primary]
        still = [line for line, tell in zip(said.contrasts, told, strict=True) if tell]
        found.append(" ".join([f"{one.group.dataset}: {said.sentence}", *still, *cautions(one)]))
    if not judged.tested.primary:
        found += [contrast_sentence(one) for one in judged.tested.effects]
    found += [f"{one.ladder.title}: {said}" for one in judged.climbs for said in scaling.sentences(one)]
    cost = tested_grids.costs(trials.costs(judged.comparisons.tables))
    return [*found, *([f"tuning: {cost}"] if cost else []), *left_out(judged.comparisons.tables)]


def _plain(entry: grids.Entry) -> str:
    return f"{entry.text} *" if entry.kind == "strong" else entry.text
