"""Parts of a page as data: sections with figures, tables, notes and lists.

The content of a part is a function of the report. A part without content is left out, and so is a section that has
neither a figure nor a table nor a list: notes explain these and make no section by themselves.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from markupsafe import Markup

from archbench.reports.base.tables import Tables
from archbench.reports.page.elements.grids import Column, Grid, Medium, grid
from archbench.reports.report import Report

Row = TypeVar("Row")
Ask = Callable[[Report], Any]
Piece = str | Ask
Pieces = Piece | tuple[Piece, ...]
Columns = Sequence[Column[Row]] | Callable[[Report], Sequence[Column[Row]]]


@dataclass(frozen=True)
class Page:
    """The report that a page shows, and the names of the figures that no part has shown yet."""

    report: Report
    figures: set[str]


class Part(Protocol):
    """A part of a page; the macro ``kind`` of the template shows its content."""

    @property
    def kind(self) -> str: ...

    def content(self, page: Page) -> Any:
        """Content that the template shows; empty where there is nothing to show."""


@dataclass(frozen=True)
class Shown:
    """A part with its content."""

    part: Part
    content: Any


@dataclass(frozen=True)
class Figure:
    """A figure, where no earlier part has shown it: each stands in one place.

    A function names several, of which the first that the report has is shown. ``linked`` are words for the links to
    its files, which then stand alone; ``titled``: its title stands above it.
    """

    name: str | Ask
    linked: str = ""
    titled: bool = False
    kind: ClassVar[str] = "figure"

    def content(self, page: Page) -> str:
        names = self.name(page.report) if callable(self.name) else (self.name,)
        found = next((name for name in names if name in page.figures), "")
        page.figures.discard(found)
        return found


@dataclass(frozen=True)
class Terminal(Generic[Row]):
    """How the terminal prints a table: at which ``place``, the words ``above`` it, and at ``most`` how many rows.

    Its ``columns`` are those of the page, unless it has others. ``needs`` tells whether a report's table is printed.
    """

    place: int
    above: Callable[[Report], str] = lambda report: ""
    most: int | None = None
    columns: Columns[Row] | None = None
    needs: Ask = lambda report: True


@dataclass(frozen=True)
class Table(Generic[Row]):
    """A table by rows and columns, for the page, the terminal and ``archbench table``; columns may ask the report.

    On the page it may have its caption as a title, text ``about`` it below, or be ``folded`` behind a summary. What
    ``archbench table`` prints has a ``holds``; where it has no rows it ``lacks`` something. Its note is for readers of
    a paper; "Below:" there is where the second lines of the cells are. ``terminal``: it is also printed there.
    ``stacked``: on a narrow screen, the cells of a row stand one below the other.
    """

    name: str
    caption: str
    rows: Callable[[Report], Iterable[Row]]
    columns: Columns[Row]
    titled: bool = False
    about: Pieces = ()
    folded: Piece = ""
    holds: str = ""
    lacks: str = "scores on the test split"
    note: str = ""
    terminal: Terminal[Row] | None = None
    stacked: bool = False
    kind: ClassVar[str] = "table"

    def grid(self, report: Report, medium: Medium = "page") -> Grid:
        """The table of this report; without rows where it has none."""
        own = self.terminal.columns if self.terminal and medium == "terminal" else None
        columns = own or self.columns
        return grid(self.rows(report), columns(report) if callable(columns) else columns, medium)

    def content(self, page: Page) -> "ShownTable | None":
        made = self.grid(page.report)
        if not made.rows:
            return None
        about = list(_words(page.report, self.about))
        folded = "".join(_words(page.report, self.folded))
        return ShownTable(made, self.caption, self.titled, about, folded, self.stacked)


@dataclass(frozen=True)
class ShownTable:
    """A table with what the page says of it."""

    grid: Grid
    caption: str
    titled: bool = False
    about: Sequence[str] = ()
    folded: str = ""
    stacked: bool = False


@dataclass(frozen=True)
class Note:
    """A paragraph of pieces: fixed text, which may have HTML, and what functions say of the report, which may not."""

    text: Pieces
    look: str = "note"
    kind: ClassVar[str] = "note"

    def content(self, page: Page) -> list[str]:
        return list(_words(page.report, self.text))


@dataclass(frozen=True)
class Points:
    """Lists of sentences, each under its title, if it has one."""

    lists: Callable[[Report], Mapping[str, Sequence[str]]]
    folded: str = ""
    kind: ClassVar[str] = "points"

    def content(self, page: Page) -> dict[str, Sequence[str]]:
        return {title: sentences for title, sentences in self.lists(page.report).items() if sentences}


@dataclass(frozen=True)
class Terms:
    """Terms and their meanings: fixed texts, which may have HTML, and what a function says of the report."""

    terms: Mapping[str, Pieces]
    look: str = "note columns"
    further: Callable[[Report], Iterable[tuple[str, str]]] = lambda report: ()
    kind: ClassVar[str] = "terms"

    def content(self, page: Page) -> list[tuple[str, list[str]]]:
        fixed = [(term, list(_words(page.report, meaning))) for term, meaning in self.terms.items()]
        return [
            *(entry for entry in fixed if entry[1]),
            *((term, [words]) for term, words in self.further(page.report)),
        ]


@dataclass(frozen=True)
class Special:
    """Content that only one section has: the template's macro of this ``kind``, with what the report has for it."""

    kind: str
    ask: Ask

    def content(self, page: Page) -> Any:
        return self.ask(page.report)


@dataclass(frozen=True)
class Section:
    """Parts under a title, on the page with an anchor, if it has a name.

    ``short`` is its title in the navigation, where that differs; a ``lead`` stands above the navigation. ``needs``
    tells whether a report has the section; ``otherwise`` is said in the place of its parts where a report has none.
    """

    title: str
    show: Sequence[Part]
    name: str = ""
    short: str = ""
    lead: bool = False
    otherwise: Piece = ""
    needs: Ask = field(default=lambda report: True)
    kind: ClassVar[str] = "section"

    def content(self, page: Page) -> list[Shown]:
        if not self.needs(page.report):
            return []
        found = [Shown(part, part.content(page)) for part in self.show]
        shown = [entry for entry in found if entry.content]
        if any(not isinstance(entry.part, Note) for entry in shown):
            return shown
        instead = Note(self.otherwise, look="")
        return [Shown(instead, instead.content(page))] if self.otherwise else []


def when(asked: Ask, text: str) -> Ask:
    """A piece of a note that is said where the report has what is ``asked``."""
    return lambda report: Markup(text) if asked(report) else ""


def tables(parts: Iterable[Part]) -> Iterator[Table[Any]]:
    """The tables of parts and of the sections among them."""
    for part in parts:
        if isinstance(part, Table):
            yield part
        elif isinstance(part, Section):
            yield from tables(part.show)


def of_tables(ask: Callable[[Tables], Any]) -> Ask:
    """A question to a report whose tables alone answer it."""
    return lambda report: ask(report.tables)


def _words(report: Report, text: Pieces) -> Iterator[str]:
    """The pieces that say something; fixed ones as HTML."""
    for piece in text if isinstance(text, tuple) else (text,):
        said = Markup(piece) if isinstance(piece, str) else piece(report)
        yield from filter(None, [said] if isinstance(said, str) else said)
