"""A report's tables for a paper or a note: LaTeX with booktabs, Markdown, CSV."""

import csv
import io
import re
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal, get_args

from archbench.reports.analysis import trials
from archbench.reports.analysis.comparison import Comparison
from archbench.reports.analysis.contrasts import Contrast
from archbench.reports.analysis.phrase import phrase
from archbench.reports.analysis.report import Report
from archbench.reports.analysis.standing import NOT_ABOVE_BASELINE
from archbench.reports.base import formatting
from archbench.reports.base.formatting import visible
from archbench.reports.claims import claims
from archbench.reports.page import audit, claim_grids, grids, matrix, pretraining_grids, tested_grids, tuning_grids
from archbench.reports.page.grids import Grid, GridCell

Format = Literal["latex", "markdown", "csv"]
FORMATS: Final[tuple[Format, ...]] = get_args(Format)
ENDINGS: Final[Mapping[str, Format]] = {"tex": "latex", "md": "markdown", "csv": "csv"}


@dataclass(frozen=True)
class TableKind:
    """A table that reports have: what it holds, how it is made, what a report needs to have it, a note for readers."""

    holds: str
    make: Callable[[Report], Grid]
    needs: str = "scores on the test split"
    note: str = ""


NOT_TRAINED: Final = "\N{DOUBLE DAGGER}"  # marks the score of an architecture that is not trained enough
_FINETUNED: Final = "Finetuned on the first number of training examples that the task lists in `examples`."
_BELOW: Final = "Below:"  # where LaTeX has what Markdown has in parentheses
_DIFFERENCES: Final = (
    "Difference: positive where the first is better; 95% intervals, not corrected. p and outcome: corrected for the "
    "number of tests. Bold: decided."
)
TABLES: Final[Mapping[str, TableKind]] = {
    "scores": TableKind(
        "scores of all architectures and baselines on every data set",
        lambda report: _scores(report),
        note="Means over seeds with 95% intervals. Bold: wins (is better than every other architecture that "
        "primary contrasts name and that is trained enough; corrected) and has the best mean; intervals of its "
        "differences from architectures outside the primary contrasts also exclude 0 (not corrected). "
        f"{NOT_TRAINED}: not trained enough.",
    ),
    "verdicts": TableKind(
        "which architecture wins on which data set",
        matrix.matrix,
        "primary contrasts",
        f"By the corrected tests; bold: wins. {NOT_ABOVE_BASELINE}: not shown to be better than the best simple "
        "baseline (95% interval).",
    ),
    "contrasts": TableKind(
        "the primary contrasts: difference, interval, p value, outcome",
        lambda report: _contrasts(report.tested.primary),
        "primary contrasts",
        _DIFFERENCES,
    ),
    "effects": TableKind(
        "effects of single changes",
        lambda report: _contrasts(report.tested["effect"]),
        "conditions or baselines",
        _DIFFERENCES,
    ),
    "pretraining": TableKind(
        "scores by start, adaptation and number of training examples",
        pretraining_grids.adapted,
        "runs that start from a pretraining",
        f"Means over seeds with 95% intervals. {_BELOW} the difference from training from scratch, finetuned on as "
        "many examples; 95% intervals, not corrected.",
    ),
    "after_pretraining": TableKind(
        "which architecture is better after the same pretraining",
        lambda report: _contrasts(report.tested["after pretraining"]),
        "primary contrasts, and two of their architectures after the same pretraining",
        f"{_FINETUNED} {_DIFFERENCES}",
    ),
    "gain_differences": TableKind(
        "which architecture gains more by pretraining",
        pretraining_grids.gain_differences,
        "two architectures with runs from the same pretraining and from scratch",
        f"{_FINETUNED} The gain of the first minus that of the second, with a 95% interval; p corrected for all rows.",
    ),
    "saved_labels": TableKind(
        "examples that training from scratch needs for the score of a pretrained model",
        pretraining_grids.saved_labels,
        "runs that start from a pretraining, and runs from scratch on several numbers of examples",
        "With 95% intervals; interpolated over the logarithm of the number of examples. Not determined: the "
        "interval covers all numbers of examples that were trained on from scratch.",
    ),
    "pretraining_cost": TableKind(
        "training FLOPs with a part of the pretraining, as a multiple of training from scratch",
        lambda report: pretraining_grids.amortised(report.comparisons),
        "finetuned runs from a pretraining and from scratch",
    ),
    "gates": TableKind("which architectures are trained enough to compare", tested_grids.gates),
    "conditions": TableKind(
        "the primary contrasts under each condition",
        lambda report: tested_grids.sensitivity(report.tested),
        "several conditions",
        "Under further conditions not corrected. (changed): the outcome differs from that of the first condition.",
    ),
    "budget": TableKind(
        "sizes, tokens and FLOPs", lambda report: audit.budget([comparison.group for comparison in report.first])
    ),
    "cost": TableKind("inference cost", lambda report: grids.cost(report.first)),
    "tuning": TableKind(
        "hyperparameters selected by tuning",
        lambda report: tuning_grids.tuning(trials.settings(report.tables)),
        "trials",
    ),
    "claims": TableKind(
        "the claims that the comparison tests",
        lambda report: claim_grids.tested(
            [entry for entry in claims.claim_verdicts(report) if entry.verdict not in claims.UNTESTED]
        ),
        "a tested claim",
    ),
    "data": TableKind("the data sets", lambda report: grids.datasets(report.tables)),
}
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
    kind = TABLES[name]
    grid = kind.make(report)
    if not grid.rows:
        raise ValueError(f"{name}: nothing to show; this table needs {kind.needs}")
    return grid


def listing(report: Report) -> list[list[str]]:
    """A row for each table: its name, what it holds, and what it needs where it is empty."""
    return [
        [name, kind.holds if kind.make(report).rows else f"{kind.holds} (nothing to show: needs {kind.needs})"]
        for name, kind in TABLES.items()
    ]


def note(kind: TableKind, form: Format) -> str:
    """The note for readers, in the words of a format."""
    return kind.note.replace(_BELOW, "In parentheses:") if form == "markdown" else kind.note


def _scores(report: Report) -> Grid:
    """The scores, with a mark at those of architectures that are not trained enough."""
    shown = grids.with_answers(report.comparisons, report.first)
    grid = grids.headline(shown)
    names = {cell.architecture for comparison in shown for cell in comparison.scored}
    rows = [
        (row[0], *(_marked(report, entry, row[0].text, cell) for entry, cell in zip(shown, row[1:], strict=True)))
        if row[0].text in names and not _is_baseline(row)
        else row
        for row in grid.rows
    ]
    return replace(grid, rows=tuple(rows))


def _marked(report: Report, comparison: Comparison, architecture: str, cell: GridCell) -> GridCell:
    passed = report.comparisons.gate(comparison.group, architecture).passed
    return cell if passed or not cell.text else replace(cell, text=f"{cell.text}{NOT_TRAINED}")


def _contrasts(tested: Sequence[Contrast]) -> Grid:
    """A row for each contrast; outcomes that are decided are bold."""
    several = any(contrast.condition for contrast in tested)
    where = ("data set", "condition") if several else ("data set",)
    head = (*where, "metric", "architectures", "difference (95% interval)", "corrected p", "outcome")
    rows = [
        (
            GridCell(contrast.dataset),
            *([GridCell(contrast.condition)] if several else []),
            GridCell(contrast.metric.label),
            GridCell(f"{contrast.first} vs. {contrast.second}"),
            GridCell(tested_grids.difference(contrast)),
            GridCell(formatting.p(contrast.p)),
            GridCell(phrase(contrast, "cell"), kind="strong" if contrast.decided else ""),
        )
        for contrast in tested
    ]
    return Grid(tuple(map(GridCell, head)), tuple(rows))


def printed(grid: Grid, form: Format, note: str = "") -> str:
    """A table as text. What the page prints in bold is bold; the note is a comment in LaTeX, and not part of a CSV."""
    text = {"latex": _latex, "markdown": _markdown, "csv": _csv}[form](grid)
    if form == "latex":
        hint = r"\usepackage{booktabs}; across a page of two columns: \footnotesize in a table*"
        return (
            "".join(
                f"% {line}\n"
                for line in filter(
                    None, (hint, note.replace("\N{DAGGER}", r"$\dagger$").replace(NOT_TRAINED, r"$\ddagger$"))
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
    """Whether a column has numbers alone: it is aligned to the right."""
    texts = [cell.text for cell in column if cell.text not in ("", formatting.MISSING)]
    return bool(texts) and all(map(_NUMBER.match, texts))


def _is_baseline(row: Sequence[GridCell]) -> bool:
    """Whether a row is a baseline's, which stands below those of the architectures."""
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
