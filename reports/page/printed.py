"""A report's tables for a paper or a note: LaTeX with booktabs, Markdown, CSV."""

import csv
import io
import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, Literal, get_args

from archbench.reports.base import formatting
from archbench.reports.base.formatting import visible
from archbench.reports.contrasts.words import BELOW_GATE_MARK
from archbench.reports.page import sections
from archbench.reports.page.elements.grids import Grid, GridCell
from archbench.reports.page.elements.parts import Table
from archbench.reports.report import Report

Format = Literal["latex", "markdown", "csv"]
FORMATS: Final[tuple[Format, ...]] = get_args(Format)
ENDINGS: Final[Mapping[str, Format]] = {"tex": "latex", "md": "markdown", "csv": "csv"}


TABLES: Final = sections.printed()
_BELOW: Final = "Below:"  # where LaTeX has what Markdown has in parentheses
_PAGE: Final = 116  # letters of `\\footnotesize` across a page of two columns
_BETWEEN: Final = 3  # letters that the space between columns takes
_TOGETHER: Final = re.compile(
    "(?<=[\N{PLUS-MINUS SIGN}=<]) | (?=[\N{PLUS-MINUS SIGN}=\N{UPWARDS ARROW}\N{DOWNWARDS ARROW}\N{DAGGER}])"
)
_NUMBER: Final = re.compile("[<>=\N{LESS-THAN OR EQUAL TO}\N{GREATER-THAN OR EQUAL TO}+\N{MINUS SIGN} -]*[0-9]")
_LINE_END: Final = r"\\"
_LATEX: Final = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "\N{PLUS-MINUS SIGN}": r"$\pm$",
    "\N{MINUS SIGN}": "$-$",
    "\N{MULTIPLICATION SIGN}": r"$\times$",
    "\N{UPWARDS ARROW}": r"$\uparrow$",
    "\N{DOWNWARDS ARROW}": r"$\downarrow$",
    "\N{GREATER-THAN OR EQUAL TO}": r"$\geq$",
    "\N{LESS-THAN OR EQUAL TO}": r"$\leq$",
    "\N{INFINITY}": r"$\infty$",
    "\N{DAGGER}": r"$\dagger$",
    "\N{DOUBLE DAGGER}": r"\rlap{$^\ddagger$}",  # takes no room, so that numbers stay aligned
    "\N{NO-BREAK SPACE}": "~",
    "\N{THIN SPACE}": r"\,",
    "\N{HORIZONTAL ELLIPSIS}": r"\dots{}",
    "\N{EN DASH}": "--",
    "\N{LEFT DOUBLE QUOTATION MARK}": "``",
    "\N{RIGHT DOUBLE QUOTATION MARK}": "''",
    "\N{LEFT SINGLE QUOTATION MARK}": "`",
    "\N{RIGHT SINGLE QUOTATION MARK}": "'",
    "\N{CHECK MARK}": r"$\surd$",
    "\N{BALLOT X}": r"$\times$",
}


def table(report: Report, name: str) -> Grid:
    """The table of this name. Raises ``ValueError`` where it is empty."""
    grid = TABLES[name].grid(report, "paper")
    if not grid.rows:
        raise ValueError(f"{name}: nothing to show; this table needs {TABLES[name].lacks}")
    return grid


def listing(report: Report) -> list[list[str]]:
    """A row for each table: its name, what it holds, and what it needs where it is empty."""
    return [
        [name, table.holds if table.grid(report).rows else f"{table.holds} (nothing to show: needs {table.lacks})"]
        for name, table in TABLES.items()
    ]


def note(table: Table[Any], form: Format) -> str:
    """The note for readers, in the words of a format."""
    return table.note.replace(_BELOW, "In parentheses:") if form == "markdown" else table.note


def printed(grid: Grid, form: Format, note: str = "") -> str:
    """A table as text. What the page prints in bold is bold; the note is a comment in LaTeX, and not part of a CSV."""
    text = {"latex": _latex, "markdown": _markdown, "csv": _csv}[form](grid)
    if form == "latex":
        hint = r"\usepackage{booktabs}; across a page of two columns: \footnotesize in a table*"
        return (
            "".join(
                f"% {line}\n"
                for line in filter(
                    None, (hint, note.replace("\N{DAGGER}", r"$\dagger$").replace(BELOW_GATE_MARK, r"$\ddagger$"))
                )
            )
            + text
        )
    return f"{text}\n{note}\n" if form == "markdown" and note else text


def _latex(grid: Grid) -> str:
    """For ``\\usepackage{booktabs}``; wrapped so that the table fits across a page of two columns."""
    wrapped = _wrapped(grid)
    sides = "".join("r" if _is_numeric(column) else "l" for column in zip(*grid.rows, strict=True))
    lines = [rf"\begin{{tabular}}{{{sides}}}", r"\toprule", _latex_row(wrapped.head, sides, "b"), r"\midrule"]
    for row, before in zip(wrapped.rows, [None, *wrapped.rows], strict=False):
        lines += [r"\midrule"] if before and _is_baseline(row) and not _is_baseline(before) else []
        lines.append(_latex_row(row, sides, "t"))
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"]) + "\n"


def _is_numeric(column: Sequence[GridCell]) -> bool:
    """True if a column has numbers alone: it is aligned to the right."""
    texts = [cell.text for cell in column if cell.text not in ("", formatting.MISSING)]
    return bool(texts) and all(map(_NUMBER.match, texts))


def _is_baseline(row: Sequence[GridCell]) -> bool:
    """True if a row is a baseline's, which stands below those of the architectures."""
    return "quiet" in row[0].kind.split()


def _wrapped(grid: Grid) -> Grid:
    """The widest columns are wrapped until the table fits on a page, or until no column becomes narrower."""
    whole = list(zip(grid.head, *grid.rows, strict=True))
    columns = list[Sequence[GridCell]](whole)
    room, rigid = _PAGE - _BETWEEN * len(columns), set[int]()
    while sum(map(_letters, columns)) > room and len(rigid) < len(columns):
        widest = max((index for index in range(len(columns)) if index not in rigid), key=lambda i: _letters(columns[i]))
        narrower = [_narrower(cell, _letters(columns[widest]) - 1) for cell in whole[widest]]
        if _letters(narrower) < _letters(columns[widest]):
            columns[widest] = narrower
        else:
            rigid.add(widest)
    head, *rows = zip(*columns, strict=True)
    return Grid(head, tuple(rows))


def _letters(column: Sequence[GridCell]) -> int:
    """The width of a column, in letters."""
    return max(len(line) for cell in column for line in ("", *cell.text.splitlines(), *cell.below.splitlines()))


def _narrower(cell: GridCell, letters: int) -> GridCell:
    return replace(cell, text=_wrap(cell.text, letters), below=_wrap(cell.below, letters))


def _wrap(text: str, letters: int) -> str:
    """Text on lines of at most ``letters``, where its words allow it; a value stays with its interval and its arrow."""
    whole = _TOGETHER.sub("\N{NO-BREAK SPACE}", visible(text))
    return "\n".join(
        part
        for line in whole.split("\n")
        for part in textwrap.wrap(line, letters, break_long_words=False, break_on_hyphens=False)
    )


def _latex_row(cells: Sequence[GridCell], sides: str, alignment: Literal["b", "t"]) -> str:
    return " & ".join(_latex_cell(cell, side, alignment) for cell, side in zip(cells, sides, strict=True)) + r" \\"


def _latex_cell(cell: GridCell, side: str, alignment: Literal["b", "t"]) -> str:
    lines = [_escaped(line) for line in cell.text.splitlines()] or [""]
    lines = [rf"\textbf{{{line}}}" if _strong(cell) else line for line in lines]
    lines += [_escaped(line) for line in cell.below.splitlines()]
    if len(lines) == 1:
        return lines[0]
    return rf"\begin{{tabular}}[{alignment}]{{@{{}}{side}@{{}}}}{_LINE_END.join(lines)}\end{{tabular}}"


def _escaped(text: str) -> str:
    return "".join(_LATEX.get(sign, sign) for sign in visible(text))


def _markdown(grid: Grid) -> str:
    rows = [grid.head, tuple(GridCell("---") for _ in grid.head), *grid.rows]
    return "".join(f"| {' | '.join(map(_markdown_cell, row))} |\n" for row in rows)


def _markdown_cell(cell: GridCell) -> str:
    text = "".join(f"\\{sign}" if sign in r"\|*_`<" else sign for sign in visible(_plain(cell)))
    return f"**{text}**" if text and _strong(cell) else text


def _csv(grid: Grid) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(
        [_safe(_plain(cell)) for cell in row] for row in (grid.head, *grid.rows)
    )
    return out.getvalue()


def _safe(text: str) -> str:
    """Text that a spreadsheet would run starts with an apostrophe."""
    return f"'{text}" if text.startswith(("=", "+", "@", "\t", "\r")) else text


def _plain(cell: GridCell) -> str:
    text, below = ("; ".join(part.splitlines()) for part in (cell.text, cell.below))
    return f"{text} ({below})" if below else text


def _strong(cell: GridCell) -> bool:
    return bool({"strong", "wins"} & set(cell.kind.split()))
