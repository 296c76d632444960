"""Figures come out the same every time, legible, and read no text from data as anything but text."""

import csv
import io
import re
from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from itertools import combinations
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
import pytest
import synthetic
from figure_layout import faults, texts, tick_labels
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure as Canvas
from matplotlib.image import imread
from matplotlib.lines import Line2D

from archbench.inspection.pages.drawing import attention
from archbench.reports.base import tables
from archbench.reports.base.statistics import Interval
from archbench.reports.base.tables import Tables
from archbench.reports.contrasts.contrast import Contrast
from archbench.reports.figures import figures, plot
from archbench.reports.figures.canvas import drawing
from archbench.reports.figures.canvas.marks import cut_interval, mean, rows_height
from archbench.reports.figures.canvas.palette import COLOURS, SHAPES, looks
from archbench.reports.figures.canvas.styles import styled
from archbench.reports.figures.canvas.text_wrapping import width, wrapped
from archbench.reports.figures.figure import Figure, View, titled
from archbench.reports.figures.figure import drawn as drawn_figure
from archbench.reports.figures.kinds import cost, curves, forest, headline, summary
from archbench.reports.report import Report
from archbench.reports.results.comparison import Cell, Comparison
from archbench.reports.results.groups import Group
from archbench.tasks.metrics.builtin import BUILTIN


def figures_by_name(collected: Tables) -> dict[str, Figure]:
    return {figure.name: figure for figure in figures.figures(Report(collected))}


@pytest.fixture(scope="module")
def collected(tmp_path_factory: pytest.TempPathFactory) -> Tables:
    root = tmp_path_factory.mktemp("store")
    synthetic.write_store(root)
    return tables.collect(root)


def test_every_figure_stands_as_svg_png_and_numbers(collected: Tables, tmp_path: Path) -> None:
    assert list(figures_by_name(collected)) == [
        *("verdicts", "summary", "in_short", "headline", "causes", "cost", "anatomy", "curves_tokens", "curves_flops"),
    ]
    paths = drawn_figure(figures_by_name(collected)["headline"]).save(tmp_path)
    assert [path.name for path in paths] == [f"headline.{kind}" for kind in ("svg", "png", "pdf", "csv")]
    assert paths[1].read_bytes().startswith(b"\x89PNG")
    assert paths[2].read_bytes().startswith(b"%PDF")
    with open(paths[3], newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["name"] for row in rows if row["kind"] == "architecture"} == set(synthetic.ARCHITECTURES)
    assert all(float(row["lower"]) < float(row["mean"]) < float(row["upper"]) for row in rows if row["lower"])


def test_the_short_figure_has_what_is_declared_and_the_best_classical_method(tmp_path: Path) -> None:
    truth = {"decoder": 0.55, "encoder": 0.6, "encoder-decoder": 0.5, "prefix-decoder": 0.7}
    synthetic.write_store(tmp_path, [synthetic.single(synthetic.SENTIMENT, truth=truth)])
    table = figures_by_name(tables.collect(tmp_path))["in_short"].numbers
    assert list(table.loc[table["kind"] == "architecture", "name"]) == ["decoder", "encoder", "encoder-decoder"]
    assert len(table) == 4
    synthetic.write_store(tmp_path / "plain", [synthetic.SENTIMENT])
    assert "in_short" not in figures_by_name(tables.collect(tmp_path / "plain"))  # it would be the headline again


def test_the_same_tables_give_the_same_bytes(collected: Tables, tmp_path: Path) -> None:
    figure = figures_by_name(collected)["curves_tokens"]
    once, again = (drawn_figure(figure).save(tmp_path / name) for name in ("once", "again"))
    assert [path.read_bytes() for path in once] == [path.read_bytes() for path in again]
    assert b"matplotlib.org" not in once[0].read_bytes()
    assert b"Software" not in once[1].read_bytes()


def test_drawing_leaves_the_global_settings_alone(collected: Tables) -> None:
    before = dict(matplotlib.rcParams)
    drawn_figure(figures_by_name(collected)["headline"])
    assert dict(matplotlib.rcParams) == before


def test_two_panels_stand_for_each_data_set_and_one_for_each_cost(collected: Tables) -> None:
    titles = [panel.title for panel in figures_by_name(collected)["headline"].panels]
    assert titles == [task.dataset for task in synthetic.TASKS for _ in range(2)]
    assert [panel.title for panel in figures_by_name(collected)["cost"].panels] == [
        *("Training FLOPs", "Inference FLOPs per example", "Time per generated token"),
    ]


def test_a_bound_is_drawn_apart_and_said_to_be_one(collected: Tables) -> None:
    figure = figures_by_name(collected)["curves_tokens"]
    assert "any-order bound" in figure.caption
    assert set(figure.numbers.loc[figure.numbers["architecture"] == "encoder", "metric"]) == {
        "nll_per_token",  # a label is one token: exact
        "nll_per_token_bound",
    }
    assert any('stroke-dasharray="7.' in panel for panel in drawn_figure(figure).inline.panels)
    assert "dashed: any-order bound" in figure.panels[0].below


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("$x^2$", marks=pytest.mark.longer),
        r"$\frac",
        pytest.param("_hidden", marks=pytest.mark.longer),
        "a" * 60,
        pytest.param("a" * 300, marks=pytest.mark.longer),
        "\u6a21\u578b \u0000\n\x1b[31m",
        pytest.param("<b>&amp;", marks=pytest.mark.longer),
        pytest.param(" ", marks=pytest.mark.longer),
    ],
)
def test_any_name_can_be_drawn(tmp_path: Path, name: str) -> None:
    task = synthetic.single(synthetic.SENTIMENT, dataset="odd", truth={"decoder": 0.5, "other": 0.6}, seeds=2)
    runs = synthetic.write_store(tmp_path, [task])
    for run in runs:
        synthetic.change_record(tmp_path, run, dataset=name, **({"architecture": name} if "other" in run else {}))
    for figure in figures_by_name(tables.collect(tmp_path)).values():
        assert drawn_figure(figure).save(tmp_path / "report")


def test_architectures_are_told_apart_by_colour_and_marker() -> None:
    names = [*synthetic.ARCHITECTURES, "shared-encoder-decoder", *"abcdefg"]
    look_by_name = looks(names)
    assert list(look_by_name) == names
    assert len({(look.colour, look.marker) for look in look_by_name.values()}) == len(names)
    assert {look.colour for look in look_by_name.values()} <= set(COLOURS.values())
    assert {look.marker for look in look_by_name.values()} <= set(SHAPES)
    assert looks(["encoder", "b"])["encoder"] == look_by_name["encoder"]


def test_an_inline_svg_has_no_style_no_shared_names_and_keeps_its_references(collected: Tables) -> None:
    elements = drawn_figure(figures_by_name(collected)["headline"]).inline
    assert len(elements.panels) == 2 * len(synthetic.TASKS)
    for element in elements.panels:
        assert element.startswith("<svg viewBox=")
        assert "style" not in element and "id=" not in element
    shared = "".join(elements.shared.values())
    assert "style" not in shared
    names = set(re.findall(r'\bid="([^"]+)"', shared))
    text = shared + "".join(elements.panels)
    used = set(re.findall(r'href="#([^"]+)"', text)) | set(re.findall(r"url\(#([^)]+)\)", text))
    assert used <= names == set(elements.shared)
    assert all(name.startswith("headline-") or re.fullmatch("[bl][0-9a-f]+", name) for name in names)


def test_a_description_is_quoted(collected: Tables) -> None:
    panel = replace(figures_by_name(collected)["headline"].panels[0], description='what "it" shows <&>')
    figure = Figure(name="name", title="", caption="", panels=(panel,), architectures=(), numbers=pd.DataFrame())
    assert 'aria-label="what &quot;it&quot; shows &lt;&amp;&gt;"' in drawn_figure(figure).inline.panels[0]


def test_a_long_text_below_a_title_squeezes_no_panel() -> None:
    """Warnings of the layout are errors here; the panel grows by the lines."""

    def draw(axes: Axes) -> None:
        axes.plot([0, 1], [0, 1])
        axes.set_yticks([0, 1], ["nearest training example", "decoder"])

    bare, long = (
        drawing.Panel(title="title", below=below, height=1.5, draw=draw, description="")
        for below in ("", "a line " * 24)
    )
    with styled("light"):
        assert len(bare.heading(WIDE)) == 1 and len(long.heading(WIDE)) > 2
        assert long.whole(WIDE) > bare.whole(WIDE) == 1.5
    for picture in (drawing.together([bare, long], 2), drawing.together([long], 1)):
        assert picture.files["svg"] and picture.files["png"]


Make = Callable[[int], tuple[drawing.Panel, ...]]
NAMES = ("decoder", "shared-encoder-decoder", "encoder-decoder-with-rotary-positions", "W" * 36, "WW WWWWW " * 4)
WIDE = drawing.PANEL_WIDTH
CONDITION = "equal size and equal training tokens; loss on the target only; AdamW with warm-up, tuned for each data set"


def compared(dataset: str, condition: str, mean: float, gap: float) -> Comparison:
    """Scores of architectures with long names, with wide and lopsided intervals."""
    cells = [
        Cell(name, {0: mean, 1: mean + gap}, Interval(mean + gap * place, 0.0, mean + 0.108, 0.03), 2, not place)
        for place, name in enumerate(NAMES)
    ]
    group = Group(dataset, "translation", condition, pd.DataFrame())
    references = {"nearest_example": 0.0, "tfidf_logistic_regression": mean + gap, "majority_class": mean}
    return Comparison(group, BUILTIN["exact_match"], tuple(cells), NAMES[0], {}, references, True)


def headlines(count: int) -> tuple[drawing.Panel, ...]:
    cases = [("a short name", CONDITION, 0.083, 0.01), ("data-set-of-a-long-name " * 4, "", 0.5, 1e-5)] * count
    return tuple(map(scores, (compared(*case) for case in cases[:count])))


def scores(comparison: Comparison) -> drawing.Panel:
    draw = partial(headline.scores, comparison=comparison, looks=looks(NAMES))
    with styled("light"):
        title, below = titled(comparison)
        height = rows_height(headline.rows(comparison))
        return drawing.Panel(title=title, below=below, height=height, draw=draw, description="")


def differences(count: int) -> tuple[drawing.Panel, ...]:
    gap = Interval(-0.015, -0.0425, 0.0301, 0.01)
    tested: dict[str, Any] = {
        "p": 0.5,
        "p_beyond": 0.5,
        "margin": 0.02,
        "detectable": 0.03,
        "seeds_needed": 4,
        "seeds": 3,
    }
    contrasts = [
        Contrast(f"set-{place} " * 12, "translation", "", BUILTIN["exact_match"], name, CONDITION, gap, **tested)
        for place in range(count)
        for name in NAMES
    ]
    with styled("light"):
        return tuple(entry.panel for entry in forest.forests(contrasts))


def measured(count: int) -> tuple[drawing.Panel, ...]:
    """Axes with ticks at given places that would stand on each other, and an axis of many digits."""

    def draw(axes: Axes) -> None:
        axes.plot([1, 1.01, 1.02, 4, 100], [1234567.001, 1234567.002, 1234567.003, 1234567.004, 1234567.005])
        axes.set_xscale("log")
        axes.set_xticks([1, 1.01, 1.02, 4, 100], ["0.0025\n(1)", "0.0026\n(2)", "0.0027\n(3)", "a long tick", "100 M"])
        axes.minorticks_off()
        axes.set_xlabel("what was given to each architecture in the training of it, " * 3)
        axes.set_ylabel("what came of it at the end, in units that need many words to be said")

    return tuple(
        drawing.Panel(title="a title " * 10, below=CONDITION, height=2.7, draw=draw, description="")
        for _ in range(count)
    )


@cache
def laid_out(make: Make, count: int, columns: int) -> list[Canvas]:
    """The canvases of the panels together, with a key, and of each alone, as they are written."""
    with styled("light"):
        alone = [drawing.on_canvas([panel], 1) for panel in make(count)[:2]]
        canvases = [drawing.on_canvas(make(count), columns, looks(NAMES)), *alone]
        for canvas in canvases:
            canvas.draw_without_rendering()
    return canvases


PANELS = pytest.mark.parametrize("make", [headlines, differences, measured])
COLUMNS = pytest.mark.parametrize(("count", "columns"), [(2, 1), (3, 2)])


@PANELS
@COLUMNS
def test_labels_of_ticks_do_not_touch(make: Make, count: int, columns: int) -> None:
    for canvas in laid_out(make, count, columns):
        for axes in canvas.axes:
            for axis in (axes.xaxis, axes.yaxis):
                boxes = tick_labels(axis)
                assert boxes
                assert not any(box.overlaps(other) for box, other in combinations(boxes, 2))


@pytest.mark.parametrize(("queries", "keys"), [(10, 40), (40, 20), (3, 3)])
def test_labels_of_a_map_do_not_touch(queries: int, keys: int) -> None:
    """Its cells are square, so that the data area takes less than its place."""

    def maps(count: int) -> tuple[drawing.Panel, ...]:
        weights = [[1 / keys] * keys] * queries
        draw = partial(attention, weights=weights, queries=["asks"] * queries, keys=["key"] * keys)
        return (drawing.Panel(title="a map", below="", height=4.4, draw=draw, description=""),) * count

    for canvas in laid_out(maps, 2, 2):
        for axis in (axis for axes in canvas.axes for axis in (axes.xaxis, axes.yaxis)):
            boxes = tick_labels(axis)
            assert len(boxes) > 2
            assert not any(box.overlaps(other) for box, other in combinations(boxes, 2))


def test_a_label_that_fills_the_panel_widens_the_canvas() -> None:
    def draw(axes: Axes) -> None:
        axes.barh([0, 1], [1, 2])
        axes.set_yticks([0, 1], ["W" * 60, "short"])

    (canvas,) = laid_out(
        lambda count: (drawing.Panel(title="a title", below="", height=2, draw=draw, description=""),) * count, 1, 1
    )[:1]
    (axes,) = (axes for axes in canvas.axes if axes.axison)
    assert 1.9 <= axes.bbox.width / canvas.dpi < 2.1
    assert all(canvas.bbox.x0 <= box.x0 and box.x1 <= axes.bbox.x0 for box in tick_labels(axes.yaxis))


@PANELS
@COLUMNS
def test_all_text_lies_within_the_canvas_and_on_no_other(make: Make, count: int, columns: int) -> None:
    for canvas in laid_out(make, count, columns):
        with styled("light"):
            assert faults(canvas) == []


@PANELS
@COLUMNS
def test_a_data_area_has_a_least_width(make: Make, count: int, columns: int) -> None:
    for canvas in laid_out(make, count, columns):
        widths = [axes.bbox.width / canvas.dpi for axes in canvas.axes if axes.axison]
        assert min(widths) >= 1.9
        assert max(widths) - min(widths) < 1e-6  # and all the same


def test_the_key_has_the_colours_of_the_panels(collected: Tables) -> None:
    """Also where only trials trained an architecture, whose runs come before others."""
    renamed = {"encoder": "mine", "encoder-decoder": "yours"}
    tables_ = {name: rows.replace({"architecture": renamed}) for name, rows in collected.items()}
    trial = tables_["runs"].iloc[:1].assign(run="tried", architecture="tried")
    view = View(Report(tables.completed({**tables_, "runs": pd.concat([trial, tables_["runs"]])})))
    canvas = plot.drawn(view, "curves_tokens")
    colours = {line.get_color() for axes in canvas.axes for line in axes.lines}
    [key] = canvas.legends
    assert {"mine", "yours"} <= {text.get_text().strip() for text in key.get_texts()}
    assert {line.get_color() for line in key.legend_handles if isinstance(line, Line2D)} <= colours
    assert list(view.looks)[-1] == "tried"


def test_every_row_of_the_summary_keeps_its_name(collected: Tables) -> None:
    renamed = {"encoder": "shared-encoder-decoder", "encoder-decoder": "separate-encoder-decoder"}
    tables_ = {name: rows.replace({"architecture": renamed}) for name, rows in collected.items()}
    two = frozenset(("phrases-en-de", "shakespeare"))
    canvas = plot.drawn(View(Report(tables.completed(tables_)), datasets=two), "summary")
    [axes] = canvas.axes
    labels = [text.get_text().replace("\n", "") for text in axes.get_yticklabels()]
    names = [name.partition("mean")[0] for name in labels]
    assert names == ["decoder", "shared-encoder-decoder", "separate-encoder-decoder"]


def test_a_condition_stands_in_full() -> None:
    for canvas in laid_out(headlines, 1, 1):
        shown_text = " ".join(text.get_text() for text in texts(canvas))
        with styled("light"):
            words = [line for line, *_ in headlines(1)[0].heading(WIDE)]
        assert " ".join(words).endswith(CONDITION)
        assert all(line in shown_text for line in words)


@pytest.mark.parametrize(
    "text", ["", " ", "word", "shared-encoder-decoder", "W" * 40, "one two " * 9, "\u6a21\u578b" * 9]
)
def test_lines_are_no_wider_than_their_room_and_lose_no_letter(text: str) -> None:
    lines = wrapped(text, 1.3)
    assert all(width(line) <= 1.3 for line in lines)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")


@pytest.mark.parametrize(
    ("titles", "columns"), [("a", 1), ("abc", 2), ("aabb", 2), ("aaabbb", 3), ("aaab", 2), ("abcdefghijkl", 3)]
)
def test_a_data_set_has_a_row_where_all_have_as_many_panels(titles: str, columns: int) -> None:
    """And a picture is not too tall."""
    panels = tuple(
        drawing.Panel(title=title, below="", height=2, draw=lambda axes: None, description="") for title in titles
    )
    row = Figure(name="", title="", caption="", panels=panels, architectures=(), numbers=pd.DataFrame()).panels_per_row
    with styled("light"):
        assert drawing.columns_for(panels, row) == columns


def test_every_figure_says_what_it_shows_and_what_it_answers(collected: Tables) -> None:
    assert all(figure.takeaway.endswith(".") for figure in figures_by_name(collected).values())
    assert all(kind.question.endswith("?") for kind in figures.FIGURES.values())


def test_clipping_rectangles_are_named_in_their_order() -> None:
    """Two drawings whose rectangles differ in a last bit have the same bytes."""
    shape = '<g clip-path="url(#{0})"/><g clip-path="url(#{1})"/><clipPath id="{0}"/><clipPath id="{1}"/>'
    first = drawing.numbered(shape.format("p308fbfbe82", "p00000000aa").encode())
    assert first == drawing.numbered(shape.format("pa91269b9f6", "p00000000ab").encode())
    assert first == shape.format("clip0", "clip1").encode()


@pytest.mark.parametrize("values", [[5.0, 1.0, 0.1, 0.0], [0.0, 0.0, 0.0]])
def test_a_loss_of_exactly_zero_can_be_drawn_on_a_logarithmic_axis(values: list[float]) -> None:
    from matplotlib.figure import Figure as Canvas

    from archbench.reports.figures.canvas.marks import log_loss_ticks

    axes = Canvas().subplots()
    axes.plot(range(len(values)), values)
    axes.set_ylim(min(values), max(values) or None)
    log_loss_ticks(axes)
    low, high = axes.get_ylim()
    assert 0 < low < high
    assert low <= min([value for value in values if value > 0], default=low)
    axes.figure.savefig("/dev/null", format="png")


def arrows(axes: Axes) -> list[tuple[str, str]]:
    """Marker and colour of the arrows at the edges; no test that calls this draws an architecture as an arrow."""
    drawn = [line for line in axes.lines if line.get_marker() in list("<>v^")]
    for line in drawn:
        [place] = line.get_transform().transform(line.get_xydata())
        assert axes.bbox.contains(*place)
    return [(str(line.get_marker()), str(line.get_color())) for line in drawn]


def on_one_canvas(draws: list[Callable[[Axes], None]]) -> Canvas:
    panels = [drawing.Panel(title="a title", below="", height=2.7, draw=draw, description="") for draw in draws]
    with styled("light"):
        canvas = drawing.on_canvas(panels, 2, looks(PAIR))
        canvas.draw_without_rendering()
    return canvas


PAIR = ("decoder", "encoder")
BLUE, VERMILLION = (look.colour for look in looks(PAIR).values())


@pytest.mark.parametrize(
    ("decoder", "encoder", "below"),
    [
        ((0.4, 0.2), (0.1, -3.8), ["encoder", "encoder"]),  # on one data set, and their mean
        ((0.4, 0.2), (0.3, -1.2), ["encoder"]),
        ((0.0, -1.7), (0.0, -3.8), ["encoder", "encoder"]),
        ((-3.8, -4.0), (-50.0, -60.0), ["encoder"] * 3),  # all far below
        ((0.4, 0.2), (0.3, 0.1), []),
    ],
)
def test_a_score_far_below_the_baseline_is_an_arrow_and_moves_no_panel(
    decoder: tuple[float, ...], encoder: tuple[float, ...], below: list[str]
) -> None:
    points = [
        cost.CostPoint(name, f"set {place}", 1.0, relative, score)
        for name, relative, values in (("decoder", 1.0, decoder), ("encoder", 1.3, encoder))
        for place, score in enumerate(values)
    ]
    large = cost.averages(points)
    facts = {"points": points, "large": large, "frontier": cost.frontier(large), "looks": looks(PAIR)}
    canvas = on_one_canvas([partial(cost.draw, **facts, x_label="training FLOPs")] * 3)
    for axes in canvas.axes:
        low, high = axes.get_ylim()
        assert low < max(point.score for point in large) < high and low < 0 < high
        assert arrows(axes) == [("v", looks(PAIR)[name].colour) for name in below]
        part = axes.figure.bbox
        assert part.x0 <= axes.bbox.x0 < axes.bbox.x1 <= part.x1 and part.y0 <= axes.bbox.y0 < axes.bbox.y1 <= part.y1
        assert axes.bbox.height > 0.5 * part.height
    assert not any(one.bbox.overlaps(other.bbox) for one, other in combinations(canvas.axes, 2))
    with styled("light"):
        assert faults(canvas) == []


def test_of_two_means_at_the_same_cost_and_score_both_are_seen() -> None:
    names = ("decoder", "prefix-decoder")
    large = [cost.CostPoint(name, "", 1.0, 1.0, 0.5) for name in names]
    facts = {"points": large, "large": large, "frontier": [], "looks": looks(names)}
    canvas = on_one_canvas([partial(cost.draw, **facts, x_label="training FLOPs")])
    (x0, y0), (x1, y1) = canvas.axes[0].bbox.get_points().astype(int)
    whole = imread(io.BytesIO(drawing.encoded(canvas, "png", canvas.dpi)))
    pixels = whole[len(whole) - y1 : len(whole) - y0, x0:x1, :3].reshape(-1, 3)  # the key has both colours too
    for name in names:
        assert (np.abs(pixels - to_rgb(looks(names)[name].colour)) < 0.1).all(1).sum() > 10, name


@pytest.mark.parametrize(
    ("place", "marker"),
    [((-900, 5), "<"), ((900, 5), ">"), ((5, 0), "v"), ((5, 1e9), "^"), ((1, 1), ""), ((10, 10), "")],
)
def test_a_mark_outside_any_panel_is_an_arrow_at_its_edge(place: tuple[float, float], marker: str) -> None:
    """Also of a loss of exactly 0 on a logarithmic axis, and where the limits are set last; at an edge it stays."""

    def draw(axes: Axes) -> None:
        axes.plot([1, 10], [1, 10])
        mean(axes, *place, looks(PAIR)["decoder"])
        axes.set_yscale("log")
        axes.set_xlim(1, 10)
        axes.set_ylim(1, 10)

    [axes] = on_one_canvas([draw]).axes
    assert arrows(axes) == ([(marker, BLUE)] if marker else [])
    assert len(axes.lines) == 2 and axes.bbox.height > 0


@pytest.mark.parametrize("make", ["scores", "behind", "forest", "summary"])
def test_an_interval_that_leaves_the_panel_ends_in_an_arrow(make: str) -> None:
    inside, cut = Interval(0.5, 0.45, 0.55, 0.03), Interval(0.6, -9.0, 9.0, 4.0)
    cells = [
        Cell(name, {0: mean_}, interval, 1)
        for name, mean_, interval in zip(PAIR, (0.5, 0.6), (inside, cut), strict=True)
    ]
    group = Group("set", "translation", "", pd.DataFrame())
    pair = Comparison(group, BUILTIN["exact_match"], tuple(cells), "encoder", {}, {}, True)
    if make == "scores":
        draw, expected = partial(headline.scores, comparison=pair, looks=looks(PAIR)), ["<", ">"]
    elif make == "behind":
        second, third = Cell("prefix-decoder", {0: 0.58}, inside, 1), Interval(-0.1, -0.5, -0.01, 0.2)
        gaps, more = {"prefix-decoder": Interval(-0.09, -0.1, 0.01, 0.03), "decoder": third}, (*cells, second)
        draw = partial(
            headline.behind,
            comparison=replace(pair, cells=more),
            gaps=gaps,
            looks=looks([*PAIR, "prefix-decoder"]),
            margin=0.02,
        )
        expected = ["<"]
    elif make == "forest":
        tested: dict[str, Any] = {"p": 0.5, "p_beyond": 0.5, "margin": 0.02, "detectable": 0.03, "seeds_needed": 4}
        contrasts = [
            Contrast("set", "translation", "", BUILTIN["exact_match"], name, "default", gap, **tested, seeds=3)
            for name, gap in zip(PAIR, (inside, cut), strict=True)
        ]
        draw, expected = partial(forest.draw, forest=forest.forests(contrasts)[0]), ["<", ">"]
    else:
        scaled = [summary.Scaled(name, f"set {place}", 0.5, -0.8, 0.9) for place in range(2) for name in PAIR]
        draw, expected = partial(summary.draw, scores=scaled, looks=looks(PAIR)), ["<"] * 4
    [axes] = on_one_canvas([draw]).axes
    found = arrows(axes)
    assert [marker for marker, _ in found] == expected
    if make in ("scores", "behind"):
        assert {colour for _, colour in found} == {VERMILLION if make == "scores" else BLUE}


def test_an_interval_inside_the_panel_has_no_arrow() -> None:
    axes = Canvas().subplots()
    axes.set_xlim(0, 1)
    cut_interval(axes, 0.0, 1.0, 0, "black")
    assert arrows(axes) == [] and len(axes.lines) == 1


def test_a_checkpoint_of_step_0_has_no_mark_on_a_logarithmic_axis() -> None:
    x, y = np.array([0.0, 1e6, 2e6]), np.array([2.0, 3.0, 4.0])
    curve = curves.Curve("decoder", "nll_per_token", ((x, y),), (x, y), scored=(0.0, 2.0))
    canvas = Canvas()
    axes = canvas.add_subplot()
    curves.draw(axes, [curve], looks(["decoder"]), "flops")
    assert axes.get_tightbbox().width < 2 * canvas.bbox.width
