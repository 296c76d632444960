"""`archbench plot`, `archbench table` and `archbench.figures`: one figure or table of a comparison, as it comes."""

import csv
import io
import math
import re
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import figure_stores
import matplotlib
import numpy as np
import pandas as pd
import pytest
import reference_pages
import synthetic
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.image import imread
from matplotlib.text import Text

import archbench
from archbench import command_line, plotting
from archbench.plotting import inches
from archbench.reports.base import formatting
from archbench.reports.base import tables as report_tables
from archbench.reports.base.statistics import Interval
from archbench.reports.base.tables import Tables
from archbench.reports.figures import plot
from archbench.reports.figures.figure import View
from archbench.reports.page import printed
from archbench.reports.page.elements.grids import Grid, GridCell
from archbench.reports.readings.adapted import adapted
from archbench.reports.readings.saved_labels import SavedLabels
from archbench.reports.report import Report
from archbench.tasks.base.errors import InputError


@dataclass(frozen=True)
class Done:
    returncode: int
    stdout: str
    stderr: str


@pytest.fixture(scope="module")
def collected(tmp_path_factory: pytest.TempPathFactory) -> Tables:
    root = tmp_path_factory.mktemp("records")
    figure_stores.STORES["families"](root)
    return report_tables.collect(root)


@pytest.fixture(scope="module")
def store(collected: Tables, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("store")
    report_tables.write(collected, root / "tables")
    return root


@pytest.fixture(scope="module", autouse=True)
def judged_once(store: Path, collected: Tables) -> Iterator[None]:
    """Judges ``collected`` and the tables of ``store`` once for all tests; other sources each time."""
    judged = plotting.judged
    of_store, of_tables = lru_cache(judged), lru_cache(lambda: judged(collected))

    def once(source: Any) -> Report:
        if source is collected:
            return of_tables()
        return (of_store if source in (store, str(store)) else judged)(source)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(plotting, "judged", once)
        yield


def axes(count: int = 1) -> list[Axes]:
    canvas = Canvas(figsize=(6, 3))
    return [canvas.add_subplot(1, count, place + 1) for place in range(count)]


def called(*arguments: str) -> Done:
    """What the command prints, and its status."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as stopped:
        command_line.main(arguments)
    return Done(int(stopped.value.code or 0), out.getvalue(), err.getvalue())


def marks(entry: Axes) -> int:
    return len(entry.lines) + len(entry.collections) + len(entry.patches)


@pytest.mark.parametrize("kind", ["pdf", "svg", "png"])
def test_the_same_tables_give_the_same_file(store: Path, tmp_path: Path, kind: str) -> None:
    paths = [tmp_path / f"{name}.{kind}" for name in ("once", "again")]
    for path in paths:
        assert called("plot", str(store), "headline", "--datasets", "sentiment", "--out", str(path)).returncode == 0
    once, again = (path.read_bytes() for path in paths)
    assert once == again and len(once) > 3000
    assert b"CreationDate" not in once and b"matplotlib v" not in once.lower()


def test_a_png_has_300_pixels_for_each_inch_however_tall_it_is(store: Path, tmp_path: Path) -> None:
    path = tmp_path / "figure.png"
    done = called("plot", str(store), "headline", "--width", "3.25in", "--out", str(path))
    rows, columns, _ = imread(path).shape
    assert done.returncode == 0 and columns == int(3.25 * 300)
    assert rows > 9.5 * 300 and f"{rows / 300:.1f} inches tall" in done.stdout


def test_a_pdf_has_the_width_that_is_asked_for_and_text_that_stays_text(store: Path, tmp_path: Path) -> None:
    path = tmp_path / "figure.pdf"
    done = called("plot", str(store), "shares", "--width", "84mm", "--out", str(path))
    assert done.returncode == 0 and "written: " in done.stdout
    content = path.read_bytes()
    box = re.search(rb"/MediaBox \[ ?0 0 ([0-9.]+) ([0-9.]+)", content)
    assert box and float(box[1]) == pytest.approx(84 / 25.4 * 72, abs=0.5)
    assert b"/Subtype /Type3" not in content and b"/CIDFontType2" in content


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["nope"], "unknown"),
        (["headline", "--datasets", "sentimnt"], 'did you mean "sentiment"'),
        (["headline", "--architectures", ","], "is empty"),
        (["headline", "--width", "wide"], "3.3in"),
        (["headline", "--width", "0.5in"], "too narrow"),
        (["headline", "--format", "gif"], "known: "),
        (["headline", "--out", "figure.gif"], "known: "),
        (["headline", "--style", "drak"], 'did you mean "dark"'),
        (["headline", "--out", "."], "--out: .: is a folder; name a file in it"),
        (["headline", "--format", "png", "--out", "figure.pdf"], "does not match --format png"),
        (["headline", "--labels", "decodr=GPT"], 'did you mean "decoder"'),
        (["headline", "--labels", "decoder"], "expected NAME=WORDS"),
        (["headline", "--font", "Helvetika Nova"], "unknown"),
        (["headline", "--font", "400"], "4 to 40 points"),
        (["headline", "--font", "serif,8,9"], "4 to 40 points"),
        (["headline", "--title", "all"], "known: none"),
        (["capacity"], "needs random strings"),
    ],
)
def test_wrong_input_is_one_line(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    done = called("plot", str(store), *options)
    assert done.returncode == 2
    assert message in done.stderr and len(done.stderr.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_the_list_says_what_each_figure_answers_and_needs(store: Path) -> None:
    lines = called("plot", str(store), "--list").stdout.splitlines()
    assert len(lines) == len(dir(archbench.figures))
    assert all("?" in line for line in lines)
    assert [line.split()[0] for line in lines if "nothing to show" in line] == [
        *(
            "differences",
            "writing",
            "pretraining_gains",
            "pretraining",
            "scaling",
            "depth",
            "capacity",
            "pretraining_curves",
        ),
    ]


@pytest.mark.parametrize("command", ["plot", "table"])
def test_without_a_name_the_names_are_listed(store: Path, command: str) -> None:
    named, listed = called(command, str(store)), called(command, str(store), "--list")
    assert named.returncode == 0 and named.stdout == listed.stdout and "headline" in called("plot", str(store)).stdout


def test_a_folder_without_a_comparison_is_an_input_error(tmp_path: Path) -> None:
    for command in (("plot", "headline"), ("table", "scores")):
        done = called(command[0], str(tmp_path), command[1])
        assert done.returncode == 2 and "no experiment here" in done.stderr


def test_where_nothing_is_left_out_the_figure_that_shows_all_is_named() -> None:
    needs = "needs an architecture that no primary contrast names; without one, it is the figure headline"
    with pytest.raises(ValueError, match=needs):
        plot.figure(View(figure_stores.judged("sizes")), "in_short")


def test_figures_draw_into_the_axes_of_the_caller_with_the_callers_settings(collected: Tables) -> None:
    with matplotlib.rc_context({"text.color": "#123456", "font.size": 13}):
        (entry,) = axes()
        canvas = archbench.figures.headline(collected, ax=entry, datasets=["sentiment"])
    assert canvas is entry.figure and marks(entry) > 3
    assert entry.get_title(loc="left").startswith("sentiment")
    assert entry.title.get_fontsize() > 13
    assert {text.get_color() for text in entry.texts} & {"#123456"}


def test_the_fonts_of_the_caller_stay_in_every_style(collected: Tables) -> None:
    """From a style sheet or code; colours are those of the style."""
    with matplotlib.rc_context({"font.family": "serif", "font.serif": ["DejaVu Serif"], "font.size": 6}):
        canvas = archbench.figures.headline(collected, datasets=["sentiment"], style="print", width=3.25)
        chosen = archbench.figures.headline(collected, datasets=["sentiment"], width=5, font="DejaVu Sans Mono,9")
    usual = archbench.figures.headline(collected, datasets=["sentiment"], style="print", width=3.25)
    assert _fonts(canvas) == {"DejaVu Serif"} and _fonts(chosen) == {"DejaVu Sans Mono"}
    assert _fonts(usual) == {"DejaVu Sans"} and _largest(canvas) < _largest(usual) < _largest(chosen)


def _texts(canvas: Canvas) -> list[Text]:
    return [text for text in canvas.findobj(Text) if isinstance(text, Text) and text.get_text().strip()]


def _fonts(canvas: Canvas) -> set[str]:
    return {text.get_fontname() for text in _texts(canvas)}


def _largest(canvas: Canvas) -> float:
    return max(text.get_fontsize() for text in _texts(canvas))


@pytest.mark.parametrize("option", [["--labels", "decoder=GPT,sentiment=SST"], ["--labels", "sentiment=SST, English"]])
def test_labels_are_in_the_sentence_and_the_caption_too(store: Path, tmp_path: Path, option: list[str]) -> None:
    out = ["--out", str(tmp_path / "figure.svg"), "--datasets", "sentiment", "--labels", "decoder=GPT"]
    said = called("plot", str(store), "headline", *out, *option).stdout
    assert option[1].rpartition("sentiment=")[2] in said and "sentiment" not in said
    assert "relative to GPT" in called("plot", str(store), "cost", *out).stdout


@pytest.mark.parametrize("size", [(6, 4), (3.25, 2.5)])
@pytest.mark.parametrize("name", ["shares", "compute", "curves_tokens", "ranks", "tuning", "cost"])
def test_a_legend_lies_above_the_curves(collected: Tables, name: str, size: tuple[float, float]) -> None:
    """And only the first of several axes has one."""
    view = plotting.view(plotting.judged(collected), None, None)
    count = len(plot.figure(view, name).panels)
    canvas = Canvas(figsize=(size[0] * count, size[1]))
    panels = [canvas.add_subplot(1, count, place + 1) for place in range(count)]
    getattr(archbench.figures, name)(collected, ax=panels)
    legend = panels[0].get_legend()
    assert legend is not None and not any(entry.get_legend() for entry in panels[1:])
    _lies_free(panels[0])


def test_a_legend_of_line_styles_lies_above_the_curves_of_a_figure_of_its_own() -> None:
    canvas = plot.drawn(View(figure_stores.judged("over-examples")), "pretraining", "print", 3.25)
    legends = [entry for entry in canvas.axes if entry.get_legend()]
    assert legends
    for entry in legends:
        _lies_free(entry)


def _lies_free(entry: Axes) -> None:
    legend = entry.get_legend()
    assert legend is not None
    box = legend.get_window_extent()
    assert entry.bbox.x0 - 1 <= box.x0 and box.x1 <= entry.bbox.x1 + 1
    for line in entry.lines:
        points = line.get_transform().transform(np.asarray(line.get_xydata(), float))
        if (clip := line.get_clip_box()) is not None and line.get_clip_on():
            points = points[points[:, 1] <= clip.y1]
        if (len(points) > 1 and np.ptp(points[:, 0]) > 0) or len(points) == 1:
            assert not any(box.contains(x, y) for x, y in points), line


def test_several_axes_take_all_panels(collected: Tables) -> None:
    panels = axes(3)
    archbench.figures.cost(collected, ax=panels)
    assert all(marks(entry) > 3 for entry in panels)
    assert panels[0].get_legend() is not None
    with pytest.raises(InputError, match="has 3 panels"):
        archbench.figures.cost(collected, ax=axes(2))


def test_what_is_shown_changes_no_number(collected: Tables) -> None:
    """Tests and intervals are those of the whole comparison."""
    (all_axes,), (some_axes,) = axes(), axes()
    archbench.figures.headline(collected, ax=all_axes, datasets=["phrases-en-de"])
    archbench.figures.headline(
        collected, ax=some_axes, datasets=["phrases-en-de"], architectures=["decoder", "encoder"]
    )
    beside: list[list[str]] = [[text.get_text() for text in entry.texts] for entry in (all_axes, some_axes)]
    assert set(beside[1]) < set(beside[0])
    names = [tick.get_text() for tick in some_axes.get_yticklabels()]
    assert names[:2] == ["decoder", "encoder"] and "encoder-decoder" not in names


def test_a_figure_may_be_drawn_from_a_folder_and_without_a_style(store: Path, collected: Tables) -> None:
    figure = archbench.figures.shares(store, width=5)
    assert figure.get_figwidth() == 5
    with matplotlib.rc_context({"figure.facecolor": "#fff0f0"}):
        assert archbench.figures.shares(collected, style=None).get_facecolor()[:3] == pytest.approx(
            (1, 15 / 16, 15 / 16), abs=0.01
        )


@pytest.mark.parametrize("source", [None, {}, {"runs": 1}, 3, ""])
def test_what_is_no_comparison_is_an_input_error(source: Any) -> None:
    with pytest.raises(InputError):
        archbench.figures.headline(source)


def test_an_unknown_figure_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError):
        _ = archbench.figures.nothing
    assert archbench.figures.headline.__doc__ and "headline" in dir(archbench.figures)


@pytest.mark.parametrize(
    ("text", "expected"), [("3.3in", 3.3), ("84mm", 84 / 25.4), ("8.4 cm", 84 / 25.4), ("240pt", 240 / 72.27), ("5", 5)]
)
def test_widths_have_units(text: str, expected: float) -> None:
    assert inches("--width", text) == pytest.approx(expected)


# Tables.


def test_the_list_of_tables_marks_those_that_the_comparison_lacks() -> None:
    for store, lacking in (("families", True), ("pretraining", False)):
        listed = dict(printed.listing(figure_stores.judged(store)))
        assert list(listed) == list(printed.TABLES) and "nothing to show" not in listed["scores"]
        needed = " (nothing to show: needs runs that start from a pretraining)"
        assert listed["pretraining"].endswith(needed) == lacking


def test_a_note_says_where_its_format_has_the_differences() -> None:
    kind = printed.TABLES["pretraining"]
    assert "In parentheses: the difference" in printed.note(kind, "markdown")
    assert "Below: the difference" in printed.note(kind, "latex")


@pytest.mark.parametrize("name", printed.TABLES)
def test_every_table_has_the_same_cells_in_every_format(name: str) -> None:
    of_pretraining = ("pretraining", "after_pretraining", "gain_differences", "saved_labels", "pretraining_cost")
    stores = {"skills": "skills", "writing": "orders", "forms": "public", "order": "sizes"}
    store = stores.get(name, "pretraining" if name in of_pretraining else "families")
    source = reference_pages if name == "forms" else figure_stores
    report = source.judged(store)
    if name == "published":
        row = {
            "dataset": report.first[0].group.dataset,
            "metric": "bits_per_byte",
            "value": 2.0,
            "model": "x",
            "source": "y",
        }
        report = Report(report_tables.completed({**report.tables, "published": pd.DataFrame([row])}))
    grid = printed.table(report, name)
    texts = {form: printed.printed(grid, form) for form in printed.FORMATS}
    rows = list(csv.reader(io.StringIO(texts["csv"])))
    assert len(rows) > 1 and len({len(row) for row in rows}) == 1
    assert len(texts["markdown"].splitlines()) == len(rows) + 1
    latex = texts["latex"]
    sides = re.search(r"\\begin\{tabular\}\{([lr]+)\}\n\\toprule", latex)
    assert sides and len(sides[1]) == len(rows[0]) and latex.count(" \\\\\n") == len(rows)
    for side, column in zip(sides[1], zip(*rows[1:], strict=True), strict=True):
        assert side == "l" or all(re.match("'?[-+<>\N{MINUS SIGN} ]*[0-9]|\N{EN DASH}|$", text) for text in column), (
            column
        )
    assert latex.isascii()
    noted = {form: printed.printed(grid, form, "A note \N{DAGGER}.") for form in printed.FORMATS}
    assert noted["csv"] == texts["csv"] and noted["markdown"] == f"{texts['markdown']}\nA note \N{DAGGER}.\n"
    assert r"% A note $\dagger$." in noted["latex"] and noted["latex"].isascii()


def test_latex_has_numbers_to_the_right_and_a_rule_before_baselines() -> None:
    """And a mark at the score of a model that is below its gate, which moves no number."""
    judged = figure_stores.judged("gated")
    latex = printed.printed(printed.table(judged, "scores"), "latex", printed.note(printed.TABLES["scores"], "latex"))
    assert r"\begin{tabular}{lrrr}" in latex
    above, between, below = latex.partition(r"\toprule")[2].split(r"\midrule")
    assert "decoder" in between and "majority class" in below and "majority" not in between and "phrases" in above
    [marked] = [line for line in between.splitlines() if line.startswith("encoder &")]
    assert marked.count(r"\rlap{$^\ddagger$}") == 2 and r"$\ddagger$: below its gate" in latex
    decoder = next(line for line in between.splitlines() if line.startswith("decoder &"))
    assert decoder.count("ddagger") == 0


def test_bold_is_what_the_tests_decide(store: Path) -> None:
    latex = called("table", str(store), "verdicts", "--format", "latex").stdout
    assert set(re.findall(r"\\textbf{([a-z ]+)", latex)) == {"wins"}
    contrasts = list(csv.reader(io.StringIO(called("table", str(store), "contrasts", "--format", "csv").stdout)))
    markdown = called("table", str(store), "contrasts").stdout
    for row in contrasts[1:]:
        assert (f"**{row[-1]}**" in markdown) == (row[-1] != "not decided")


def test_text_from_data_stays_text() -> None:
    grid = Grid((GridCell("a_b"),), ((GridCell("50% of $x$ & #1 {~^\\|"),), (GridCell("=1+1"),)))
    latex = printed.printed(grid, "latex")
    assert r"a\_b" in latex
    assert r"50\% of \$x\$ \& \#1 \{\textasciitilde{}\textasciicircum{}\textbackslash{}\textbar{}" in latex
    assert r"\|" in printed.printed(grid, "markdown")
    assert "'=1+1" in printed.printed(grid, "csv")


def test_a_small_negative_number_is_rounded_to_zero() -> None:
    assert [formatting.value(number) for number in (-0.0001, 0.0001, -0.001)] == [
        "0.000",
        "0.000",
        "\N{MINUS SIGN}0.001",
    ]


@pytest.mark.parametrize("number", [math.inf, -math.inf, -0.5])
def test_every_number_is_ascii_in_latex(number: float) -> None:
    texts = (formatting.value(number), formatting.interval(Interval(number, -0.7, -0.2)))
    grid = Grid((GridCell("value"), GridCell("interval")), (tuple(map(GridCell, texts)),))
    assert printed.printed(grid, "latex").isascii()


@pytest.mark.parametrize("needed", [20, 60, 100])
def test_numbers_of_labels_at_either_end_are_bounds(needed: float) -> None:
    entry = adapted(figure_stores.judged("pretraining"))[0]
    saved = SavedLabels(entry, needed, max(20, needed - 30), min(100, needed + 30), fewest=20, most=100)
    bounds = {20: "\N{LESS-THAN OR EQUAL TO}", 60: "60", 100: "\N{GREATER-THAN OR EQUAL TO}"}
    assert saved.text.startswith(bounds[int(needed)])
    assert printed.printed(Grid((GridCell("needed"),), ((GridCell(saved.text),),)), "latex").isascii()


@pytest.mark.parametrize(("ending", "begins"), [("tex", r"% \usepackage{booktabs}"), ("csv", "arch"), ("md", "| arch")])
def test_a_table_is_written_in_the_format_of_its_name(store: Path, tmp_path: Path, ending: str, begins: str) -> None:
    path = tmp_path / f"scores.{ending}"
    assert called("table", str(store), "scores", "--out", str(path)).returncode == 0
    assert path.read_text().startswith(begins) and synthetic.PHRASES.dataset in path.read_text()
    done = called("table", str(store), "scores", "--format", "latex", "--out", "scores.csv")
    assert done.returncode == 2 and "does not match --format latex" in done.stderr


def test_a_figure_taller_than_a_page_says_so(store: Path, tmp_path: Path) -> None:
    out = str(tmp_path / "figure.pdf")
    assert "inches tall" in called("plot", str(store), "headline", "--width", "3.3in", "--out", out).stdout
    few = ["--datasets", "sentiment"]
    assert "inches tall" not in called("plot", str(store), "headline", "--width", "3.3in", *few, "--out", out).stdout
