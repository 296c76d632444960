"""The report's figures: each as SVG, PNG and the numbers as CSV, and its panels singly for the page.

Everything drawn is a function of the tables: no dates, no random identifiers, no version of the drawing library in the
files. Text from data is drawn as it stands, never read as mathematics.
"""

import io
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import matplotlib
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.lines import Line2D

from reports import panels
from reports.comparison import Comparison, by_condition
from reports.curves import learning_curves, numbers
from reports.palette import INK, PAPER, QUIET, label, looks
from reports.panels import Looks, Point
from reports.tables import Tables, write_csv
from reports.verdicts import condition
from runs.store import write_bytes

WIDTH: Final = 8.0
PANEL_WIDTH: Final = 4.9
_STYLE: Final = {
    "font.family": "DejaVu Sans", "font.size": 9.5, "axes.titlesize": 10.5, "axes.titleweight": "bold",
    "axes.titlelocation": "left", "axes.labelsize": 9.5, "xtick.labelsize": 9, "ytick.labelsize": 9.5,
    "axes.edgecolor": QUIET, "axes.labelcolor": INK, "text.color": INK, "xtick.color": QUIET, "ytick.color": QUIET,
    "xtick.labelcolor": INK, "ytick.labelcolor": INK, "axes.spines.top": False, "axes.spines.right": False,
    "axes.axisbelow": True, "axes.facecolor": "none", "figure.facecolor": PAPER, "savefig.facecolor": PAPER,
    "svg.hashsalt": "archbench", "svg.fonttype": "path", "text.parse_math": False, "axes.unicode_minus": True,
    "axes.formatter.useoffset": False, "figure.dpi": 100, "savefig.dpi": 150,
}  # fmt: skip


@dataclass(frozen=True)
class Panel:
    """One panel: its title, its height in inches, how to draw it, and what it says without eyes."""

    title: str
    height: float
    draw: Callable[[Axes], None]
    description: str


@dataclass(frozen=True)
class Figure:
    """A figure of several panels with one key, its caption and its numbers."""

    name: str
    title: str
    caption: str
    panels: tuple[Panel, ...]
    architectures: tuple[str, ...]
    numbers: pd.DataFrame
    keyed: bool = True


def figures(tables: Tables, headlines: Sequence[Comparison]) -> list[Figure]:
    """The figures of a report that have something to show."""
    found = looks([str(name) for name in tables["runs"]["architecture"].dropna()])
    first, further = by_condition(headlines)
    scored = [comparison for comparison in first if comparison.scored]
    drawn = [
        _headline("headline", "Scores on the test split", scored, found),
        _curves(tables, first, found, "tokens"),
        _curves(tables, first, found, "flops"),
        _inference(scored, found),
        _headline("headline_further", "Scores under the other conditions", [c for c in further if c.scored], found),
    ]
    return [figure for figure in drawn if figure.panels]


def write(figure: Figure, folder: Path) -> list[Path]:
    """Write `<name>.svg`, `.png` and `.csv` into `folder`; return the paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{figure.name}.{kind}" for kind in ("svg", "png", "csv")]
    with _style():
        canvas = _compose(figure)
        write_bytes(paths[0], _bytes(canvas, "svg"))
        write_bytes(paths[1], _bytes(canvas, "png"))
    write_csv(figure.numbers, paths[2])
    return paths


def panel_svg(panel: Panel) -> str:
    """One panel alone, as SVG."""
    with _style():
        canvas = Canvas(figsize=(PANEL_WIDTH, panel.height), layout="constrained")
        _draw(canvas.subplots(), panel)
        return _bytes(canvas, "svg").decode()


def _headline(name: str, title: str, scored: Sequence[Comparison], found: Looks) -> Figure:
    drawn = tuple(
        Panel(
            _title(comparison),
            0.86 + 0.27 * (len(comparison.scored) + (len(comparison.references) if comparison.metric.better else 0)),
            lambda axes, comparison=comparison: panels.headline(axes, comparison, found),  # type: ignore[misc]
            f"{comparison.metric.label} on {comparison.group.dataset}, by architecture",
        )
        for comparison in scored
    )
    seeds = any(not comparison.examples for comparison in scored)
    covers = "seeds, and over test examples where single answers are recorded" if seeds else "seeds and test examples"
    caption = (
        f"Large marks are means over seeds on the test split, bars their 95% intervals over {covers}, faint marks single "
        "seeds. Grey rows are classical references; an arrow at the edge is a reference outside the panel. A value in "
        "bold is best by more than the interval of its difference to every other architecture."
    )
    return Figure(name, title, caption, drawn, _named(scored), _headline_numbers(scored), keyed=False)


def _headline_numbers(scored: Sequence[Comparison]) -> pd.DataFrame:
    rows = []
    for found in scored:
        group = {"dataset": found.group.dataset, "condition": condition(found.group), "metric": found.metric.name}
        for cell in found.cells:
            ends = {"mean": cell.interval.mean, "lower": cell.interval.lower, "upper": cell.interval.upper}
            rows.append(group | {"name": cell.architecture, "kind": "architecture"} | ends | {"seeds": len(cell.values), "best": cell.best})
        rows += [group | {"name": name, "kind": "reference", "mean": value} for name, value in found.references.items()]
    return pd.DataFrame(rows)


def _curves(tables: Tables, headlines: Sequence[Comparison], found: Looks, axis: str) -> Figure:
    drawn, frames, named = [], [], []
    for comparison in headlines:
        lines = learning_curves(tables["curves"], comparison.group, axis)
        if not lines:
            continue
        draw: Callable[[Axes], None] = lambda axes, lines=lines: panels.curves(axes, lines, found, axis)  # type: ignore[misc]  # noqa: E731
        drawn.append(Panel(_title(comparison), 2.7, draw, f"Validation loss against training {axis}, {comparison.group.dataset}"))
        frames.append(numbers(lines, comparison.group.dataset, axis).assign(condition=condition(comparison.group)))
        named += comparison.group.architectures
    caption = (
        "Validation loss during training; thin lines are seeds, thick lines their mean. Dashed lines are an any-order "
        "bound, which is not comparable with the exact loss of the solid ones. The steep beginning is cut off. Points before "
        "the end are not annealed: they do not say what a shorter training would have reached."
    )
    table = pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()
    title = {"tokens": "Learning curves against tokens", "flops": "Learning curves against FLOPs"}[axis]
    return Figure(f"curves_{axis}", title, caption, tuple(drawn), tuple(dict.fromkeys(named)), table)


COSTS: Final = {
    "inference_flops": "FLOPs to score one example (less is better)",
    "generate_tokens_per_second": "generated tokens per second (more is better)",
}


def _inference(scored: Sequence[Comparison], found: Looks) -> Figure:
    drawn, rows = [], []
    for comparison in scored:
        for column, x_label in COSTS.items():
            points = _points(comparison, column)
            if not points:
                continue
            y_label = f"{comparison.metric.label} {comparison.metric.arrow}"
            draw: Callable[[Axes], None] = lambda axes, points=points, x=x_label, y=y_label: panels.cost(axes, points, found, x, y)  # type: ignore[misc]  # noqa: E731
            drawn.append(Panel(_title(comparison), 2.7, draw, f"{y_label} against {x_label}, {comparison.group.dataset}"))
            group = {"dataset": comparison.group.dataset, "condition": condition(comparison.group), "metric": comparison.metric.name}
            rows += [group | {"architecture": p.architecture, "cost": column, "spent": p.cost, "mean": p.mean, "lower": p.lower, "upper": p.upper} for p in points]
    caption = (
        "What an answer costs: the score on the test split (means over seeds, bars are 95% intervals) against the FLOPs "
        "of one example and against the speed of generation on the device that trained. Both axes of cost are logarithmic."
    )
    return Figure("inference_cost", "Quality against the cost of inference", caption, tuple(drawn), _named(scored), pd.DataFrame(rows))


def _points(comparison: Comparison, column: str) -> list[Point]:
    if column not in comparison.group.runs:
        return []
    costs = comparison.group.runs.groupby("architecture", sort=False)[column].mean().astype(float)
    return [
        Point(cell.architecture, float(costs[cell.architecture]), cell.interval.mean, cell.interval.lower, cell.interval.upper)
        for cell in comparison.scored
        if costs[cell.architecture] > 0
    ]


def _named(found: Sequence[Comparison]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(cell.architecture for comparison in found for cell in comparison.cells))


def _title(comparison: Comparison) -> str:
    what = condition(comparison.group)
    return label(comparison.group.dataset, 40) + (f": {what}" if what else "")


def _compose(figure: Figure) -> Canvas:
    """All panels on one canvas: one below the other where they are rows, else two beside each other."""
    columns = 1 if not figure.keyed and len(figure.panels) <= 4 else min(2, len(figure.panels))
    rows = [figure.panels[start : start + columns] for start in range(0, len(figure.panels), columns)]
    heights = [max(panel.height for panel in row) for row in rows]
    top = 0.42 if figure.keyed else 0.0
    canvas = Canvas(figsize=(WIDTH, sum(heights) + top), layout="constrained")
    canvas.get_layout_engine().set(hspace=0.06, wspace=0.05)  # type: ignore[union-attr]
    grid = canvas.subplots(len(rows), columns, squeeze=False, gridspec_kw={"height_ratios": heights})
    for place, axes in enumerate(grid.flat):
        if place < len(figure.panels):
            _draw(axes, figure.panels[place])
        else:
            axes.set_axis_off()
    if figure.keyed:
        _key(canvas, figure.architectures)
    return canvas


def _draw(axes: Axes, panel: Panel) -> None:
    axes.set_title(panel.title)
    panel.draw(axes)


def _key(canvas: Canvas, architectures: Sequence[str]) -> None:
    found = looks(architectures)
    marks = [Line2D([], [], color=look.colour, marker=look.marker, markeredgecolor=PAPER, markersize=8, linewidth=1.8) for look in found.values()]
    names = [f"\N{THIN SPACE}{label(name)}" for name in found]
    canvas.legend(marks, names, loc="outside upper left", ncols=min(len(names), 4), frameon=False, borderaxespad=0.1)


def _bytes(canvas: Canvas, kind: str) -> bytes:
    buffer = io.BytesIO()
    unnamed = {"svg": ("Date", "Creator", "Format", "Type"), "png": ("Software",)}[kind]
    canvas.savefig(buffer, format=kind, metadata=dict.fromkeys(unnamed))
    return buffer.getvalue()


@contextmanager
def _style() -> Iterator[None]:
    """The figures' look; a letter that the font lacks is drawn as a box, without a warning."""
    with matplotlib.rc_context(), warnings.catch_warnings():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        warnings.filterwarnings("ignore", message="Matplotlib currently does not support .* natively")
        yield
