"""Draws `docs/figures/*.png` and writes `docs/figures.md`, a page with every figure: `python -P docs/gallery.py`.

The pictures beside the reference tables, which are named by their figures, and that of the README are drawn again too.

Everything comes from the tables below `docs/reference`; the same tables give the same files.
"""

import sys
from pathlib import Path

from PIL import Image

from archbench import plotting
from archbench.reports.figures import plot
from archbench.reports.figures.canvas import drawing
from archbench.reports.figures.canvas.styles import styled
from archbench.reports.figures.figure import Figure, View
from archbench.reports.figures.figures import FIGURES

DOCS = Path(__file__).parent
SOURCES = {  # figure: the reference, and the data sets that are shown (all where there is none)
    "verdicts": ("public", ()),
    "summary": ("public", ()),
    "in_short": ("public", ("multi30k-de-en", "tiny-shakespeare")),
    "headline": ("public-budgets", ()),
    "differences": ("ablation-positions", ()),
    "causes": ("public-factorial", ()),
    "ranks": ("accounting", ()),
    "headline_further": ("accounting", ()),
    "effects": ("ablation-regularization", ()),
    "cost": ("public", ()),
    "writing": ("encoder-forms", ()),
    "pretraining_gains": ("pretrained", ()),
    "pretraining": ("pretrained", ()),
    "compute": ("public-budgets", ()),
    "distances": ("public-budgets", ()),
    "shares": ("public-budgets", ()),
    "scaling": ("scaling", ()),
    "depth": ("depth-width", ()),
    "capacity": ("capacity", ()),
    "anatomy": ("public", ()),
    "pretraining_curves": ("pretrained", ()),
    "curves_tokens": ("public-budgets", ()),
    "curves_flops": ("public-budgets", ()),
    "tuning": ("public", ("multi30k-de-en", "tiny-shakespeare")),
}
WIDE = 9.2  # inches of a picture with two panels side by side
RESULT = ("multi30k-de-en", "tiny-shakespeare", "trec", "sst2")  # the README shows the scores on these
COLOURS = 256  # of a picture
HEAD = """# Figures

`archbench plot DIR FIGURE` draws one figure of a comparison as PDF, SVG or PNG; `archbench plot DIR --list` says which
ones the comparison has. The report's page has them all, each with a download as PDF, SVG, PNG and CSV.

- **For a paper**: `--width 3.25in` (or `84mm`, `240pt`) gives the figure exactly that width, in 8-point type with
  embedded TrueType fonts; a PNG has 300 pixels for each inch. In a narrow figure, numbers beside a panel are shortened
  or left out before the panel becomes small. PDF is the default format; its style is `print`. Other styles: `light` and
  `dark`.
- **Names, font, titles**: `--labels decoder=GPT,sst2=SST-2` shows architectures and data sets under your own names,
  `--font "Times New Roman,9"` takes a family, a size in points, or both, and `--title none` leaves out the titles of
  panels.
- **Subsets**: `--architectures decoder,encoder` and `--datasets sst2` restrict what is drawn, not the tests and
  intervals. In one column, a figure of several data sets is taller than a page: choose one or two.
- **From Python**: `archbench.figures.headline(tables, datasets=["sst2"], width=3.25, style="print")` returns a
  matplotlib figure; fonts that your `rcParams` set are kept. With `ax=`, it draws into your axes with all of your
  `rcParams`. All figures take the same arguments: `help(archbench.figures)`.
- **Tables**: `archbench table DIR NAME --format latex` prints a table for LaTeX with booktabs (also `markdown` and
  `csv`), numbers aligned to the right; its note says what bold and marks mean. `archbench table DIR --list` shows the
  names. In a paper of two columns, they fit into a `table*` in `\\footnotesize`. The numbers in full precision are in
  `DIR/tables/` and `DIR/report/*.csv`.

The pictures below are drawn from the [reference comparisons](reference/README.md) by `python -P docs/gallery.py`. The
line under each question is made from the numbers of the figure.
"""


def main() -> None:
    pieces = [HEAD]
    for name, kind in FIGURES.items():
        reference, datasets = SOURCES[name]
        folder = f"docs/reference/{reference}"
        view = plotting.view(plotting.judged(DOCS / "reference" / reference), None, datasets or None)
        command = " ".join(["archbench plot", folder, name, *(["--datasets", ",".join(datasets)] if datasets else [])])
        print(command, file=sys.stderr)
        picture = DOCS / "figures" / f"{name}.png"
        pieces.append(_section(kind.question, _written(view, name, picture), command))
    (DOCS / "figures.md").write_text("\n".join(pieces), encoding="utf-8")
    _result(DOCS / "result.png")
    for picture in sorted((DOCS / "reference").glob("*/*.png")):
        print(picture.relative_to(DOCS), file=sys.stderr)
        view = plotting.view(plotting.judged(picture.parent), None, None)
        _written(view, picture.stem, picture, WIDE if picture.stem == "in_short" else None)


def _result(picture: Path) -> None:
    """The scores of the reference comparison, without the differences beside them."""
    figure = plot.figure(plotting.view(plotting.judged(DOCS / "reference" / "public"), None, RESULT), "in_short")
    with styled("light"):
        canvas = drawing.on_canvas(figure.panels[:: figure.panels_per_row], 2, figure.key)
        picture.write_bytes(drawing.encoded(canvas, "png"))
    _reduced(picture)


def _written(view: View, name: str, picture: Path, inches: float | None = None) -> Figure:
    figure, _ = plot.written(view, name, picture, "png", "light", inches)
    _reduced(picture)
    return figure


def _reduced(picture: Path) -> None:
    Image.open(picture).convert("RGB").quantize(COLOURS).save(picture, optimize=True)


def _section(question: str, figure: Figure, command: str) -> str:
    return f"""## `{figure.name}`

{question}

> {figure.takeaway}

![{figure.title}](figures/{figure.name}.png)

{figure.caption}

```
{command}
```
"""


if __name__ == "__main__":
    main()
