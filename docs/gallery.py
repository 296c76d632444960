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
NOTES = {  # figure: what its caption says that the picture and the head of the page do not
    "verdicts": "Wins: better than every other architecture that primary contrasts name; loses: worse in at least one; "
    "not decided: a contrast is open, and none is lost.",
    "in_short": "As `headline`, for the families of the primary contrasts.",
    "headline": "Right: difference from the best mean; intervals of primary contrasts are corrected (Holm), others "
    "not. Bold: wins, and has the best mean.",
    "differences": "Words: outcomes by corrected p values. Intervals are not corrected. Small: less than the margin.",
    "causes": "The steps add up to the whole difference; in another order they could have other sizes.",
    "ranks": "1 plus the number of architectures that are better by the 95% interval of the difference.",
    "effects": "As `differences`, for a change to the same architecture.",
    "cost": "Line: Pareto frontier of the means over data sets. Times are rough: runs may have shared the machine.",
    "writing": "The numbers are rounds; one round is a single pass.",
    "pretraining_gains": "Hollow: from scratch, for as many more tokens as the pretraining.",
    "pretraining": "Pretrained models have the budget of the task on top of their pretraining.",
    "compute": "Each point is a run of its own. Arrows: ratio of the FLOPs for the same loss.",
    "distances": "For the final score of the worse one, or 0.9 where a row says so. Arrows: lower bounds.",
    "shares": "Each point is a run of its own, with a full learning-rate schedule.",
    "depth": "The width is below each depth.",
    "capacity": "Parameters include embeddings. The stored bits are a lower bound on the capacity.",
    "pretraining_curves": "Loss of the second half of held-out windows given the first, whatever the objective trains.",
    "curves_tokens": "Mark: the scored checkpoint. Points on the way are not results of shorter runs, because the "
    "learning rate has not yet decayed.",
    "curves_flops": "As `curves_tokens`.",
    "tuning": "Large marks: the selected rate. Compare points within an architecture only.",
}
HEAD = """# Figures

`archbench plot DIR FIGURE` draws one figure of a comparison as PDF, SVG or PNG and prints its caption;
`archbench plot DIR --list` says which ones the comparison has. The report's page has them all, each with a download
as PDF, SVG, PNG and CSV.

- **For a paper**: `--width 3.25in` (or `84mm`, `240pt`) gives the figure exactly that width, in 8-point type with
  embedded TrueType fonts; a PNG has 300 pixels for each inch. In a narrow figure, numbers beside a panel are shortened
  or left out. PDF is the default format; its style is `print`. Other styles: `light` and `dark`.
- **Names, font, titles**: `--labels decoder=GPT,sst2=SST-2`, `--font "Times New Roman,9"` (a family, a size in points,
  or both) and `--title none`.
- **Subsets**: `--architectures decoder,encoder` and `--datasets sst2` restrict what is drawn, not the tests and
  intervals. In one column, a figure of several data sets is taller than a page: choose one or two.
- **From Python**: `archbench.figures.headline(tables, datasets=["sst2"], width=3.25, style="print")` returns a
  matplotlib figure; fonts that your `rcParams` set are kept. With `ax=`, it draws into your axes with all of your
  `rcParams`. All figures take the same arguments: `help(archbench.figures)`.
- **Tables**: `archbench table DIR NAME --format latex` prints a table for LaTeX with booktabs (also `markdown` and
  `csv`) and a note on its marks; `archbench table DIR --list` shows the names. In two columns, use a `table*` in
  `\\footnotesize`. The numbers in full precision are in `DIR/tables/` and `DIR/report/*.csv`.

Marks are means over seeds, faint marks single seeds; error bars are 95% intervals, and bands of learning curves run
from the lowest to the highest seed. In differences, better is to the right. Shaded: the equivalence margin. Arrow at
an edge: the value lies, or the interval continues, outside the panel. †: not shown to be better than the best simple
baseline. ‡: below its gate ([statistics](statistics.md#gates)).

`python -P docs/gallery.py` draws the pictures below from the [reference comparisons](reference/README.md). The line
under each question is made from the numbers of the figure.
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

{" ".join([*([NOTES[figure.name]] if figure.name in NOTES else []), f"`{command}`"])}
"""


if __name__ == "__main__":
    main()
