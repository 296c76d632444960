"""The headline for the terminal: architectures by data set, and a sentence for each data set."""

from reports import grids, tested_grids, trials
from reports.judgement import Judged
from reports.verdicts import cautions, verdict


def text(judged: Judged) -> list[list[str]]:
    """The headline matrix as rows of plain text, the head first; '*' marks the best where the tests allow it."""
    grid = grids.headline(judged.first)
    head = [f"{entry.text} ({entry.below})" if entry.below else entry.text for entry in grid.head]
    return [head, *([_plain(entry) for entry in row] for row in grid.rows)]


def sentences(judged: Judged) -> list[str]:
    """What is decided on each data set and what is not, and what casts doubt on it."""
    found = []
    for one in judged.first:
        primary = judged.tested.of(one.group.dataset)
        said = verdict(one, primary)
        still = [line for line, pair in zip(said.contrasts, primary, strict=True) if pair.outcome == "open"]
        found.append(" ".join([f"{one.group.dataset}: {said.sentence}", *still, *cautions(one)]))
    cost = tested_grids.costs(trials.costs(judged.comparisons.tables))
    return [*found, f"tuning: {cost}"] if cost else found


def _plain(entry: grids.Entry) -> str:
    return f"{entry.text} *" if entry.kind == "strong" else entry.text
