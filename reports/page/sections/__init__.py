"""The sections of the page, in order. ``archbench table`` and the terminal read them too.

A section is one entry here; its figures, tables and prose stand in the file of its topic. A column of a table is one
entry of that table's columns.
"""

from collections.abc import Mapping
from typing import Any, Final

from archbench.reports.page.elements.parts import Section, Table, Terminal, tables
from archbench.reports.page.sections import (
    budget,
    claims,
    conditions,
    first,
    methods,
    pretraining,
    scores,
    tests,
    trends,
)
from archbench.reports.report import Report

SECTIONS: Final[tuple[Section, ...]] = (
    first.SECTION,
    trends.SKILLS,
    trends.CURVES,
    pretraining.SECTION,
    scores.VERDICTS,
    conditions.effects(main=True),
    scores.SECTION,
    tests.SECTION,
    conditions.SECTION,
    conditions.effects(main=False),
    trends.SIZE,
    trends.ORDER,
    trends.DEPTH,
    trends.CAPACITY,
    trends.BUDGET,
    trends.QUALITY_AGAINST_COST,
    trends.WRITING,
    claims.SECTION,
    scores.ANSWERS,
    scores.METRICS,
    methods.FAILURES,
    budget.SECTION,
    methods.DATA,
    methods.REPRODUCE,
    methods.READING,
)


def printed(sections: tuple[Section, ...] = SECTIONS) -> Mapping[str, Table[Any]]:
    """The tables that ``archbench table`` prints, by name, in the order of the page."""
    return {table.name: table for table in tables(sections) if table.holds}


def on_terminal(report: Report, sections: tuple[Section, ...]) -> list[tuple[Terminal[Any], Table[Any]]]:
    """The tables that the terminal prints, in its order: those of the sections that a report has."""
    found = tables(section for section in sections if section.needs(report))
    printed = [(table.terminal, table) for table in found if table.terminal and table.terminal.needs(report)]
    return sorted(printed, key=lambda entry: entry[0].place)
