"""A report's tables for a paper or a note: LaTeX with booktabs, Markdown, CSV."""

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, get_args

from archbench.reports.analysis import trials
from archbench.reports.analysis.contrasts import Contrast
from archbench.reports.analysis.judgement import Judged
from archbench.reports.base import formatting
from archbench.reports.base.formatting import visible
from archbench.reports.claims import claims
from archbench.reports.page import audit, grids, matrix, tested_grids
from archbench.reports.page.grids import Grid, GridCell

Format = Literal["latex", "markdown", "csv"]
FORMATS: Final[tuple[Format, ...]] = get_args(Format)


@dataclass(frozen=True)
class TableKind:
    """A table that reports have: what it holds, how it is made, what a report needs to have it."""

    holds: str
    make: Callable[[Judged], Grid]
    needs: str = "scores on the test split"


TABLES: Final[Mapping[str, TableKind]] = {
    "scores": TableKind(
        "scores of all architectures and baselines on every data set",
        lambda judged: grids.headline(grids.with_answers(judged.comparisons, judged.first)),
    ),
    "verdicts": TableKind("which architecture wins on which data set", matrix.matrix, "primary contrasts"),
    "contrasts": TableKind(
        "the primary contrasts: difference, interval, p value, outcome",
        lambda judged: _contrasts(judged.tested.primary),
        "primary contrasts",
    ),
    "effects": TableKind(
        "what changes do", lambda judged: _contrasts(judged.tested.effects), "conditions or baselines"
    ),
    "gates": TableKind("which architectures are trained enough to compare", tested_grids.gates),
    "conditions": TableKind(
        "the primary contrasts under each condition",
        lambda judged: tested_grids.sensitivity(judged.tested),
        "several conditions",
    ),
    "budget": TableKind(
        "sizes, tokens and FLOPs", lambda judged: audit.budget([comparison.group for comparison in judged.first])
    ),
    "cost": TableKind("what inference costs", lambda judged: grids.cost(judged.first)),
    "tuning": TableKind(
        "the settings that trials chose",
        lambda judged: tested_grids.tuning(trials.settings(judged.comparisons.tables)),
        "trials",
    ),
    "claims": TableKind(
        "the claims that the comparison tests",
        lambda judged: tested_grids.claims(
            [entry for entry in claims.claim_verdicts(judged) if entry.verdict not in claims.UNTESTED]
        ),
        "a tested claim",
    ),
    "data": TableKind("the data sets", lambda judged: grids.datasets(judged.comparisons.tables)),
}
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
    "\N{DAGGER}": r"$\dagger$",
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


def table(judged: Judged, name: str) -> Grid:
    """The table of this name. Raises ``ValueError`` where it is empty."""
    kind = TABLES[name]
    grid = kind.make(judged)
    if not grid.rows:
        raise ValueError(f"{name}: nothing to show; this table needs {kind.needs}")
    return grid


def _contrasts(tested: Sequence[Contrast]) -> Grid:
    """A row for each contrast; outcomes that are decided are bold."""
    head = ("data set", "architectures", "difference (95% interval)", "p", "outcome")
    rows = [
        (
            GridCell(contrast.dataset),
            GridCell(f"{contrast.first} vs. {contrast.second}"),
            GridCell(tested_grids.difference(contrast)),
            GridCell(formatting.p(contrast.p)),
            GridCell(tested_grids.outcome(contrast), kind="strong" if contrast.decided else ""),
        )
        for contrast in tested
    ]
    return Grid(tuple(map(GridCell, head)), tuple(rows))


def printed(grid: Grid, form: Format) -> str:
    """A table as text. What the page prints in bold is bold."""
    return {"latex": _latex, "markdown": _markdown, "csv": _csv}[form](grid)


def _latex(grid: Grid) -> str:
    """For ``\\usepackage{booktabs}``; second lines of cells stand below the first, smaller."""
    columns = "l" * len(grid.head)
    lines = [rf"\begin{{tabular}}{{{columns}}}", r"\toprule", _latex_row(grid.head), r"\midrule"]
    lines += [*map(_latex_row, grid.rows), r"\bottomrule", r"\end{tabular}"]
    return "\n".join(lines) + "\n"


def _latex_row(cells: tuple[GridCell, ...]) -> str:
    return " & ".join(map(_latex_cell, cells)) + r" \\"


def _latex_cell(cell: GridCell) -> str:
    lines = [_escaped(line) for line in cell.text.splitlines()] or [""]
    lines = [rf"\textbf{{{line}}}" if _strong(cell) else line for line in lines]
    lines += [rf"{{\footnotesize {_escaped(line)}}}" for line in cell.below.splitlines()]
    return r"\shortstack[l]{%s}" % r"\\".join(lines) if len(lines) > 1 else lines[0]  # noqa: UP031


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
