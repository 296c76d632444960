"""What `archbench plot` and `archbench table` write goes into a two-column LaTeX document as it comes."""

import re
import shutil
import subprocess
from pathlib import Path

import figure_stores
import pytest

from archbench.reports.figures.figure import View
from archbench.reports.figures.plot import written
from archbench.reports.page import printed
from archbench.reports.page.elements.grids import Grid, GridCell

DOCUMENT = r"""\documentclass[10pt,twocolumn]{article}
\usepackage[margin=0.75in,columnsep=0.25in]{geometry}
\usepackage{booktabs,graphicx}
\begin{document}
FLOATS
\clearpage
\end{document}
"""
COLUMN, PAGE = 3.3, 6.9  # inches
FIGURES = {"headline": COLUMN, "summary": COLUMN, "verdicts": COLUMN, "cost": PAGE}
TABLES = ("scores", "contrasts")


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="takes pdflatex and booktabs")
def test_a_two_column_document_takes_figures_and_tables_as_they_come(tmp_path: Path) -> None:
    judged = figure_stores.judged("families")
    floats, datasets = [], {"headline": frozenset({"sentiment"})}
    for name, inches in FIGURES.items():
        written(View(judged, datasets=datasets.get(name)), name, tmp_path / f"{name}.pdf", "pdf", "print", inches)
        star = "*" if inches == PAGE else ""
        floats.append(rf"\begin{{figure{star}}}\includegraphics{{{name}.pdf}}\caption{{.}}\end{{figure{star}}}")
    for name in TABLES:
        (tmp_path / f"{name}.tex").write_text(printed.printed(printed.table(judged, name), "latex"))
        floats.append(rf"\begin{{table*}}\footnotesize\input{{{name}.tex}}\caption{{.}}\end{{table*}}")
    (tmp_path / "paper.tex").write_text(DOCUMENT.replace("FLOATS", "\n".join(floats)))
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout[-2000:]
    assert not re.findall(r"Overfull.*|.*[Ww]arning.*", done.stdout)


def test_wide_tables_are_wrapped_to_a_page_and_narrow_ones_are_not() -> None:
    values = GridCell("0.974 \N{PLUS-MINUS SIGN} 0.011", "3 seeds; better than the encoder")
    head = GridCell("phrases-en-de", "exact match \N{UPWARDS ARROW}, n = 500")
    for columns, lines in ((2, 2), (8, 4)):
        grid = Grid((GridCell("architecture"), *[head] * columns), ((GridCell("decoder"), *[values] * columns),))
        text = printed.printed(grid, "latex")
        cells = re.findall(r"\\begin\{tabular\}\[t\]\{@\{\}[lr]@\{\}\}(.*?)\\end", text)
        assert len(cells) == columns and {cell.count(r"\\") + 1 for cell in cells} == {lines}
        assert all(cell.startswith(r"0.974~$\pm$~0.011\\") or columns == 2 for cell in cells)
