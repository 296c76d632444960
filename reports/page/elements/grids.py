"""Tables of ready text, and the columns that they are made of."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, Literal, TypeVar

import pandas as pd

from archbench.reports.base import formatting
from archbench.reports.results.groups import Group

Medium = Literal["page", "paper", "terminal"]
Row = TypeVar("Row", contravariant=True)
EMPTY: Final = ("", formatting.MISSING)


@dataclass(frozen=True)
class GridCell:
    """A cell: its text, a second line, how to show it (`strong`, `quiet`, `text` for what is not a number), a link."""

    text: str
    below: str = ""
    kind: str = ""
    link: str = ""


@dataclass(frozen=True)
class Grid:
    """A table: a head, rows whose first entry names them."""

    head: tuple[GridCell, ...]
    rows: tuple[tuple[GridCell, ...], ...]


@dataclass(frozen=True)
class Column(Generic[Row]):
    """A column: its head, and the cell of a row.

    ``text``: it has words and is aligned to the left. ``optional``: it is left out where no row has anything in it, or
    where a function of a row holds for none. ``only``: it is on the page alone, or alone in what ``archbench table``
    prints for a paper.
    """

    head: str | GridCell
    cell: Callable[[Row], str | GridCell]
    text: bool = False
    optional: bool | Callable[[Row], bool] = False
    only: Medium | None = None

    def of(self, content: str | GridCell) -> GridCell:
        """A cell, aligned as the column is."""
        return content if isinstance(content, GridCell) else GridCell(content, kind="text" if self.text else "")


def grid(rows: Iterable[Any], columns: Sequence[Column[Any]], medium: Medium = "page") -> Grid:
    """The table of these rows; without rows, nothing but its head."""
    rows = list(rows)
    shown = []
    for column in (column for column in columns if column.only in (None, medium)):
        cells = [column.of(column.cell(row)) for row in rows]
        told = map(column.optional, rows) if callable(column.optional) else map(_has_content, cells)
        if not column.optional or any(told):
            shown.append((column.of(column.head), *cells))
    head, *body = zip(*shown, strict=True)
    return Grid(head, tuple(body))


def _has_content(cell: GridCell) -> bool:
    return bool(cell.below) or cell.text not in EMPTY


def text_cell(text: str) -> GridCell:
    """A cell whose text is a name, aligned to the left."""
    return GridCell(text, kind="text")


def title(group: Group) -> str:
    """The data set's name, with the condition where there are several."""
    what = group.condition
    return f"{group.dataset}: {what}" if what else group.dataset


def plain(value: Any) -> str:
    """A value from a table as text; a dash for a missing one."""
    return formatting.MISSING if value is None or (pd.api.types.is_scalar(value) and pd.isna(value)) else str(value)


def known(runs: pd.DataFrame, column: str) -> bool:
    """True if any of the runs has a number in `column`."""
    return column in runs and pd.api.types.is_numeric_dtype(runs[column]) and bool(runs[column].notna().any())


def span(runs: pd.DataFrame, column: str, form: Any = formatting.number) -> str:
    """The values of a column over runs: one text where they read the same, else 'least to greatest'."""
    if not known(runs, column):
        return formatting.MISSING
    values = runs[column].dropna().astype(float)
    least, greatest = form(values.min()), form(values.max())
    return str(least) if least == greatest else f"{least} to {greatest}"
