"""The headline for the terminal: architectures by data set, and a sentence for each data set."""

from reports import grids
from reports.comparison import Comparisons, by_condition
from reports.tables import Tables
from reports.verdicts import cautions, verdict


def text(tables: Tables) -> list[list[str]]:
    """The headline matrix as rows of plain text, the head first; '*' marks the best where the intervals allow it."""
    first, _ = by_condition(Comparisons(tables).headlines())
    grid = grids.headline(first)
    head = [f"{entry.text} ({entry.below})" if entry.below else entry.text for entry in grid.head]
    return [head, *([_plain(entry) for entry in row] for row in grid.rows)]


def sentences(tables: Tables) -> list[str]:
    """Who leads on each data set, whether the intervals allow to say so, and what casts doubt on the order."""
    first, _ = by_condition(Comparisons(tables).headlines())
    return [" ".join([f"{one.group.dataset}: {verdict(one).sentence}", *cautions(one)]) for one in first]


def _plain(entry: grids.Entry) -> str:
    return f"{entry.text} *" if entry.kind == "strong" else entry.text
