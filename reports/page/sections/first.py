"""The first screen: a line for each data set, an example, a figure, what limits them, and the verdicts as a table."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from operator import itemgetter
from typing import Final

from markupsafe import Markup

from archbench.reports.claims.claims import claim_verdicts
from archbench.reports.contrasts.words import (
    BEHIND_BASELINE,
    BELOW_GATE_MARK,
    MARKED_BELOW_GATE,
    NOT_ABOVE_BASELINE,
    STANDINGS,
)
from archbench.reports.page.elements.bottom_line import bottom_line, limits
from archbench.reports.page.elements.grids import Column, GridCell
from archbench.reports.page.elements.matrix import matrix
from archbench.reports.page.elements.parts import Figure, Note, Section, Special, Table, Terminal, of_tables, when
from archbench.reports.page.elements.task_lines import task_lines
from archbench.reports.page.sections.scores import answered
from archbench.reports.page.sections.tuning import variants_in_use
from archbench.reports.readings import waterfall
from archbench.reports.report import Report
from archbench.reports.results import pretraining
from archbench.reports.results.pretraining import is_first_from_scratch

EXPLAINED: Final[Mapping[str, str]] = {"accounting": "conditions"}  # in these sections


def sentences(report: Report) -> list[str]:
    """The report in a few sentences; none where nothing was tested."""
    return bottom_line(report, claim_verdicts(report))


def _meanings(report: Report) -> Iterator[Markup]:
    """Meanings of the words and marks in the table, as far as it has them."""
    cells, marks = _verdict_cells(report), _marks(report)
    states = {word for cell in cells for word in cell.kind.split()}
    for state, word in STANDINGS.items():
        if state in states:
            name = Markup('<a href="#{}">{}</a>').format(at, word.word) if (at := EXPLAINED.get(state)) else word.word
            yield Markup("{}: {}.").format(name, word.meaning)
    if BEHIND_BASELINE in marks:
        yield Markup(BEHIND_BASELINE)
    if MARKED_BELOW_GATE in marks:
        yield Markup('<a href="#gates">{}</a>.').format(MARKED_BELOW_GATE)


def _verdict_cells(report: Report) -> list[GridCell]:
    return [cell for row in matrix(report).rows for cell in row[1:]]


def _marks(report: Report) -> list[str]:
    """Meanings of the marks that the table has."""
    text = "".join(cell.text for cell in _verdict_cells(report))
    meanings = {NOT_ABOVE_BASELINE: BEHIND_BASELINE, BELOW_GATE_MARK: MARKED_BELOW_GATE}
    return [meaning for mark, meaning in meanings.items() if mark in text]


def _figures(report: Report) -> list[str]:
    """The figures for the first screen, of which it shows the first that there is."""
    asks = {
        "pretraining_gains": len(pretraining.by_dataset(report)) == len(report.first),
        "causes": waterfall.asks_for_causes(report),
    }
    return [*(name for name, asked in asks.items() if asked), "in_short", "headline"]


def _on_terminal(report: Report) -> list[Column[tuple[GridCell, ...]]]:
    """The columns with their first words alone: a state and a mean fit into a line."""
    heads = [replace(head, below="") for head in matrix(report).head]
    return [Column(head, partial(_short, place=place)) for place, head in enumerate(heads)]


def _short(row: tuple[GridCell, ...], place: int) -> GridCell:
    return replace(row[place], below=row[place].below.partition(";")[0])


VERDICTS: Final = Table(
    "verdicts",
    "Architectures by data sets",
    lambda report: matrix(report).rows,
    lambda report: [Column(head, itemgetter(place)) for place, head in enumerate(matrix(report).head)],
    about=(
        when(
            is_first_from_scratch,
            "Verdicts are for models trained from scratch on the first number of examples in the task's "
            "<code>examples</code> list; “after X” is the score after pretraining X (tests: "
            '<a href="#pretraining">what pretraining buys</a>).',
        ),
        "Primary contrasts: pairs that the experiment declares.",
        _meanings,
        of_tables(variants_in_use),
    ),
    holds="which architecture wins on which data set",
    lacks="primary contrasts",
    note=f"By the corrected tests; bold: wins. {BEHIND_BASELINE} {MARKED_BELOW_GATE}.",
    stacked=True,
    terminal=Terminal(1, above=lambda report: "\n".join(_marks(report)), columns=_on_terminal),
)
SECTION: Final = Section(
    "In short",
    name="bottom-line",
    lead=True,
    needs=sentences,
    show=(
        Special("lines", task_lines),
        Special("sentences", lambda report: [] if task_lines(report) else sentences(report)),
        Special("answers", lambda report: answered(report, most=1)[:1]),
        Figure(_figures),
        Note(limits, look="limits"),
        VERDICTS,
        Figure("verdicts", linked="The table as a picture."),
        Special("sentences", lambda report: sentences(report) if task_lines(report) else []),
    ),
)
