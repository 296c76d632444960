"""Every figure in every style: no text is cut or lies on other text, and all can be told from the background."""

from collections.abc import Iterator

import figure_stores
import pytest
import reference_pages
from figure_layout import faults
from matplotlib.colors import to_rgb
from matplotlib.text import Text

from archbench import plotting
from archbench.reports.figures import plot
from archbench.reports.figures.canvas import drawing
from archbench.reports.figures.canvas.styles import STYLES, Style, styled
from archbench.reports.figures.figure import View
from archbench.reports.figures.figures import FIGURES
from archbench.reports.report import Report

CASES = [(store, name) for store, names in figure_stores.FIGURES.items() for name in names]
COLUMN = 3.25  # inches of a column of a paper
LEAST = 0.35  # of a panel's width that its data area has there
CAPACITY = "capacity"  # its data are real


def test_every_figure_has_a_case() -> None:
    assert {name for _, name in CASES} | {CAPACITY} == set(FIGURES)


@pytest.mark.parametrize("style", ["light", "print"])  # dark differs from light in its colours alone
@pytest.mark.parametrize(("store", "name"), CASES)
def test_no_text_is_cut_or_lies_on_other_text(store: str, name: str, style: Style) -> None:
    with styled(style):
        assert faults(plot.drawn(View(figure_stores.judged(store)), name, style)) == []


@pytest.mark.parametrize(("store", "name"), CASES)
def test_one_column_of_a_paper_is_wide_enough(store: str, name: str) -> None:
    canvas = plot.drawn(View(figure_stores.judged(store)), name, "print", COLUMN)
    assert canvas.get_figwidth() == COLUMN
    with styled("print"):
        assert faults(canvas) == []
    for axes in canvas.axes:
        assert axes.bbox.width >= LEAST * axes.figure.bbox.width
        assert axes.lines or axes.patches or axes.collections, "an empty panel"
    sizes = [text.get_fontsize() for text in canvas.findobj(Text) if isinstance(text, Text) and text.get_text().strip()]
    assert min(sizes) >= 6


@pytest.mark.parametrize(
    ("store", "name"), [("gated", "verdicts"), ("gated", "headline"), ("ablation", "differences"), ("families", "cost")]
)
def test_a_column_holds_names_fonts_and_panels_as_a_user_wants_them(store: str, name: str) -> None:
    """Longer names than the data's, a font that is wider, no titles: nothing is cut, and no old name is left."""
    judged = figure_stores.judged(store)
    labels = {"decoder": "GPT-like, from left to right", "encoder-decoder": "T5", "phrases-en-de": "Phrases"}
    named = judged.tables["runs"]
    known = {*named["architecture"], *named["dataset"]}
    labels = {name: words for name, words in labels.items() if name in known}
    changes = plotting.changes(judged, labels, "DejaVu Serif,9", "none", None)
    canvas = plot.drawn(View(judged), name, "print", COLUMN, changes)
    with styled("print", changes):
        assert faults(canvas) == []
    drawn = [text for text in canvas.findobj(Text) if isinstance(text, Text) and text.get_text().strip()]
    words = {text.get_text().replace("\n", " ") for text in drawn}
    assert labels and not {*labels} & words
    assert {text.get_fontname() for text in drawn} == {"DejaVu Serif"}
    assert max(text.get_fontsize() for text in drawn) <= 9.5


@pytest.mark.longer
@pytest.mark.parametrize("name", reference_pages.NAMES)
def test_the_figures_of_a_reference_page_are_legible(name: str) -> None:
    for figure, canvas in _canvases(reference_pages.judged(name)):
        with styled("light"):
            assert faults(canvas) == [], figure
        pixels = drawing.TALLEST / canvas.get_figheight()
        assert pixels >= 95, f"{figure}: {pixels:.0f} pixels for each inch"


@pytest.mark.longer
@pytest.mark.parametrize("name", reference_pages.NAMES)
def test_the_figures_of_a_reference_page_fit_into_a_column(name: str) -> None:
    for figure, canvas in _canvases(reference_pages.judged(name), "print", COLUMN):
        with styled("print"):
            assert faults(canvas) == [], figure
        assert all(axes.bbox.width >= LEAST * axes.figure.bbox.width for axes in canvas.axes), figure


def _canvases(
    judged: Report, style: Style = "light", inches: float | None = None
) -> Iterator[tuple[str, drawing.Canvas]]:
    for figure in FIGURES:
        try:
            yield figure, plot.drawn(View(judged), figure, style, inches)
        except ValueError as error:
            assert "nothing to show" in str(error)


@pytest.mark.parametrize("style", STYLES)
def test_text_can_be_told_from_the_background(style: Style) -> None:
    canvas = plot.drawn(View(figure_stores.judged("families")), "headline", style)
    back = _luminance(canvas.get_facecolor()[:3])
    for text in canvas.findobj(Text):
        if isinstance(text, Text) and text.get_text().strip():
            light, dark = sorted((back, _luminance(to_rgb(text.get_color()))), reverse=True)
            assert (light + 0.05) / (dark + 0.05) >= 4.5  # WCAG 2.2, AA


def _luminance(colour: tuple[float, ...]) -> float:
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in colour]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
