"""Detection of quoting in a ``.tsv`` file: as the csv module and pandas quote, or quote characters that are text.

    "Go" she said<TAB>x              plain: the cell is  "Go" she said
    "one ""two""<TAB>three"<TAB>x    quoted: the cell is  one "two"<TAB>three

Both forms are called TSV. The registered format text/tab-separated-values knows no quotes, so a file is read without
quoting unless every row shows that a csv writer wrote it.
"""

import csv
import io
from collections.abc import Iterable, Iterator
from typing import Literal

LONGEST_ROW = 2**24  # characters; a quote that nothing closes makes one row of all that follows
Lines = list[str]


class Quoted(csv.excel_tab):
    """Tabs between cells, quotes around those that hold a tab, a quote or a line end, quotes inside doubled."""

    strict = True


def is_quoted(lines: Iterable[str]) -> bool:
    """True if a csv writer wrote these lines, given with their line ends, and had something to quote.

    That is so where every row has as many cells as the header, and either each row with a quote is exactly what the
    writer makes of its cells, or all cells of the header are quoted. Where quoting would join lines of a file whose
    lines all have the right number of cells without it, the quotes are text.
    """
    quotes = joins = uneven = False
    width, throughout = 0, False
    try:
        for raw, row in _rows(lines):
            if not width:
                width, throughout = len(row), "".join(raw).strip("\r\n") == _written(row, csv.QUOTE_ALL)
            if len(row) != width or not (throughout or _is_canonical(raw, row)):
                return False
            quotes = quotes or any('"' in line for line in raw)
            joins = joins or len(raw) > 1
            uneven = uneven or any(line.count("\t") != width - 1 for line in raw)
    except csv.Error:
        return False
    return quotes and (uneven or not joins)


def _rows(lines: Iterable[str]) -> Iterator[tuple[Lines, list[str]]]:
    """The rows that are not empty, each with its lines. Raises ``csv.Error``."""
    raw: Lines = []

    def recorded() -> Iterator[str]:
        length = 0
        for line in lines:
            length = length + len(line) if raw else len(line)
            if length > LONGEST_ROW:
                raise csv.Error("no row is so long")
            raw.append(line)
            yield line

    for row in csv.reader(recorded(), Quoted):
        if row:
            yield list(raw), row
        raw.clear()


def _is_canonical(raw: Lines, row: list[str]) -> bool:
    text = "".join(raw)
    return '"' not in text or text.rstrip("\r\n") == _written(row, csv.QUOTE_MINIMAL)


def _written(row: list[str], quoting: Literal[0, 1]) -> str:
    """The row as the csv module writes it, without its line end."""
    text = io.StringIO()
    csv.writer(text, Quoted, quoting=quoting).writerow(row)
    return text.getvalue().removesuffix("\r\n")
