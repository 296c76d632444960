"""`docs/figures.md` shows every figure, each with what its numbers say now."""

from types import ModuleType

import pytest
import reference_pages
from simulation_scripts import DOCS, load

from archbench.plotting import view
from archbench.reports.figures import plot
from archbench.reports.figures.canvas.styles import styled
from archbench.reports.figures.figures import FIGURES


@pytest.fixture(scope="module")
def gallery() -> ModuleType:
    return load("gallery", ".")


def test_every_figure_is_in_the_gallery(gallery: ModuleType) -> None:
    assert [*gallery.SOURCES] == list(FIGURES)
    assert {path.stem for path in (DOCS / "figures").glob("*.png")} == set(gallery.SOURCES)


@pytest.mark.parametrize("name", FIGURES)
def test_a_line_of_the_gallery_follows_from_the_numbers(gallery: ModuleType, name: str) -> None:
    reference, datasets = gallery.SOURCES[name]
    with styled("light"):
        figure = plot.figure(view(reference_pages.judged(reference), None, datasets or None), name)
    page = (DOCS / "figures.md").read_text(encoding="utf-8")
    section = page[page.index(f"## `{name}`") :]
    assert section.startswith(f"## `{name}`\n\n{FIGURES[name].question}\n\n> {figure.takeaway}\n")
