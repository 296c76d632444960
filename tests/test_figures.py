"""Figures come out the same every time, legible, and read no text from data as anything but text."""

import csv
import re
from pathlib import Path

import matplotlib
import pytest
import synthetic
from matplotlib.axes import Axes

from reports import drawing, figures, tables
from reports.figures import Figure
from reports.judgement import judge
from reports.palette import COLOURS, SHAPES, looks
from reports.svg import inline
from reports.tables import Tables


def drawn(found: Tables) -> dict[str, Figure]:
    return {figure.name: figure for figure in figures.figures(judge(found))}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Tables:
    root = tmp_path_factory.mktemp("store")
    synthetic.write_store(root)
    return tables.collect(root)


def test_every_figure_stands_as_svg_png_and_numbers(found: Tables, tmp_path: Path) -> None:
    assert list(drawn(found)) == ["headline", "curves_tokens", "curves_flops", "cost"]
    paths = figures.write(drawn(found)["headline"], tmp_path)
    assert [path.name for path in paths] == ["headline.svg", "headline.png", "headline.csv"]
    assert paths[1].read_bytes().startswith(b"\x89PNG")
    with open(paths[2], newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["name"] for row in rows if row["kind"] == "architecture"} == set(synthetic.ARCHITECTURES)
    assert all(float(row["lower"]) < float(row["mean"]) < float(row["upper"]) for row in rows if row["lower"])


def test_the_same_tables_give_the_same_bytes(found: Tables, tmp_path: Path) -> None:
    figure = drawn(found)["curves_tokens"]
    once, again = (figures.write(figure, tmp_path / name) for name in ("once", "again"))
    assert [path.read_bytes() for path in once] == [path.read_bytes() for path in again]
    assert b"matplotlib.org" not in once[0].read_bytes()
    assert b"Software" not in once[1].read_bytes()


def test_drawing_leaves_the_global_settings_alone(found: Tables) -> None:
    before = dict(matplotlib.rcParams)
    drawing.one(drawn(found)["headline"].panels[0])
    assert dict(matplotlib.rcParams) == before


def test_one_panel_stands_for_each_data_set_and_cost(found: Tables) -> None:
    assert [panel.title for panel in drawn(found)["headline"].panels] == [task.dataset for task in synthetic.TASKS]
    assert len(drawn(found)["cost"].panels) == 3 * len(synthetic.TASKS)


def test_a_bound_is_drawn_apart_and_said_to_be_one(found: Tables) -> None:
    figure = drawn(found)["curves_tokens"]
    assert "any-order bound" in figure.caption
    assert set(figure.numbers.loc[figure.numbers["architecture"] == "encoder", "metric"]) == {
        "nll_per_token",  # a label is one token: exact
        "nll_per_token_bound",
    }
    assert "stroke-dasharray: 7." in drawing.one(figure.panels[0])


@pytest.mark.parametrize(
    "name", ["$x^2$", r"$\frac", "_hidden", "a" * 300, "\u6a21\u578b \u0000\n\x1b[31m", "<b>&amp;", " "]
)
def test_any_name_can_be_drawn(tmp_path: Path, name: str) -> None:
    task = synthetic.single(synthetic.SENTIMENT, dataset="odd", truth={"decoder": 0.5, "other": 0.6}, seeds=2)
    runs = synthetic.write_store(tmp_path, [task])
    for run in runs:
        synthetic.change_record(tmp_path, run, dataset=name, **({"architecture": name} if "other" in run else {}))
    for figure in drawn(tables.collect(tmp_path)).values():
        assert figures.write(figure, tmp_path / "report")


def test_architectures_are_told_apart_by_colour_and_marker() -> None:
    names = [*synthetic.ARCHITECTURES, "shared-encoder-decoder", *"abcdefg"]
    found = looks(names)
    assert list(found) == names
    assert len({(look.colour, look.marker) for look in found.values()}) == len(names)
    assert {look.colour for look in found.values()} <= set(COLOURS.values())
    assert {look.marker for look in found.values()} <= set(SHAPES)
    assert looks(["encoder", "b"])["encoder"] == found["encoder"]


def test_an_inline_svg_has_no_style_no_shared_names_and_keeps_its_references(found: Tables) -> None:
    svg = drawing.one(drawn(found)["headline"].panels[0])
    element = inline(svg, "figure", 'what "it" shows <&>')
    assert element.startswith("<svg viewBox=")
    assert "style" not in element
    assert 'aria-label="what &quot;it&quot; shows &lt;&amp;&gt;"' in element
    names = set(re.findall(r'\bid="([^"]+)"', element))
    used = set(re.findall(r'href="#([^"]+)"', element)) | set(re.findall(r"url\(#([^)]+)\)", element))
    assert used == names
    assert all(name.startswith("figure-") for name in names)


def test_a_long_line_below_a_title_squeezes_no_panel() -> None:
    """Warnings of the layout are errors here; the panel grows by the further lines."""

    def draw(axes: Axes) -> None:
        axes.plot([0, 1], [0, 1])
        axes.set_yticks([0, 1], ["nearest training example", "decoder"])

    short = drawing.Panel("title", "a line", 1.5, draw, "")
    long = drawing.Panel("title", "a line " * 12, 1.5, draw, "")
    assert len(short.lines) == 1 and len(long.lines) > 1
    assert long.whole > short.whole == 1.5
    for files in (drawing.together([short, long], 2), drawing.together([long], 1)):
        assert files["svg"] and files["png"]
    assert "svg" in drawing.one(long)


def test_clipping_rectangles_are_named_in_their_order() -> None:
    """Two drawings whose rectangles differ in a last bit have the same bytes."""
    shape = '<g clip-path="url(#{0})"/><g clip-path="url(#{1})"/><clipPath id="{0}"/><clipPath id="{1}"/>'
    first = drawing.numbered(shape.format("p308fbfbe82", "p00000000aa").encode())
    assert first == drawing.numbered(shape.format("pa91269b9f6", "p00000000ab").encode())
    assert first == shape.format("clip0", "clip1").encode()
