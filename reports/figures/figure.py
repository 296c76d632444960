"""A figure: its panels, what it says in a line, its caption and the numbers behind it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import pandas as pd

from archbench.reports.base.tables import Tables, write_csv
from archbench.reports.figures.canvas import drawing
from archbench.reports.figures.canvas.drawing import Drawing, Panel
from archbench.reports.figures.canvas.palette import Look, label, looks
from archbench.reports.figures.canvas.styles import styled
from archbench.reports.figures.canvas.svg import Inline, inline
from archbench.reports.report import Report
from archbench.reports.results.comparison import Cell, Comparison
from archbench.reports.results.groups import placed
from archbench.tasks.base.files import write_bytes


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A figure of several panels, its caption and its numbers; with a key unless its rows are named.

    ``coloured``: colours stand for architectures, not for outcomes.

    ``takeaway`` is what it shows, in a line made from the numbers. ``looks`` are those of the report.
    """

    name: str
    title: str
    caption: str
    panels: tuple[Panel, ...]
    architectures: tuple[str, ...] = ()
    numbers: pd.DataFrame
    keyed: bool = True
    coloured: bool = True
    takeaway: str = ""
    looks: Mapping[str, Look] = field(default_factory=dict)

    @property
    def key(self) -> dict[str, Look]:
        """How each architecture is drawn, where no row names it."""
        return {name: self.looks[name] for name in self.architectures} if self.keyed else {}

    @property
    def panels_per_row(self) -> int:
        """How many panels belong side by side: two or three for each data set where none has more, else one."""
        titles = Counter(panel.title for panel in self.panels)
        most = max(titles.values(), default=1)
        usual = 2 * list(titles.values()).count(most) > len(titles)
        return most if most in (2, 3) and usual else 1


@dataclass(frozen=True, eq=False)
class View:
    """Input of figures: the results of a report, and which architectures and data sets to show (None: all).

    Tests and intervals are those of the whole report.
    """

    report: Report
    architectures: frozenset[str] | None = None
    datasets: frozenset[str] | None = None

    @cached_property
    def looks(self) -> Mapping[str, Look]:
        """How each architecture of the report is drawn; the same whatever is shown."""
        return report_looks(self.report.tables)

    @cached_property
    def first(self) -> list[Comparison]:
        """Each data set under its first condition, where something was scored."""
        return self._shown(self.report.first)

    @cached_property
    def judged(self) -> list[Comparison]:
        """The same by each primary measure of a data set."""
        return self._shown(self.report.judged)

    @cached_property
    def further(self) -> list[Comparison]:
        """The data sets under further conditions by each primary measure, where something was scored."""
        return self._shown(self.report.judged_by_condition[1])

    def shows(self, dataset: str, *names: str) -> bool:
        """True if a row of this data set is shown that names these architectures, with or without a change each."""
        if self.datasets is not None and dataset not in self.datasets:
            return False
        return self.architectures is None or all(
            any(_names(name, architecture) for architecture in self.architectures) for name in names
        )

    def _shown(self, comparisons: Sequence[Comparison]) -> list[Comparison]:
        shown = [
            replace(
                entry, cells=tuple(cell for cell in entry.cells if self.shows(entry.group.dataset, cell.architecture))
            )
            for entry in comparisons
            if self.shows(entry.group.dataset)
        ]
        return [entry for entry in shown if entry.scored]


@dataclass(frozen=True)
class DrawnFigure:
    """A figure, drawn in the light style."""

    figure: Figure
    drawing: Drawing

    @property
    def inline(self) -> Inline:
        """The panels for the page."""
        names = [panel.description for panel in self.figure.panels]
        return inline(self.drawing.files["svg"], self.figure.name, self.drawing.boxes, names)

    def save(self, folder: Path) -> list[Path]:
        """Write ``<name>.svg``, ``.png``, ``.pdf`` and ``.csv`` into ``folder``; return the paths."""
        folder.mkdir(parents=True, exist_ok=True)
        paths = [folder / f"{self.figure.name}.{kind}" for kind in self.drawing.files]
        for path, content in zip(paths, self.drawing.files.values(), strict=True):
            write_bytes(path, content)
        table = folder / f"{self.figure.name}.csv"
        write_csv(self.figure.numbers, table)
        return [*paths, table]


def report_looks(tables: Tables) -> dict[str, Look]:
    """How each architecture of a report is drawn; what only trials tried (forms too) gets the last colours."""
    tried = placed(tables, "trial")["variant"].dropna().astype(str)
    return looks([*compared_names(tables), *tables["runs"]["architecture"].dropna().astype(str), *tried])


def compared_names(tables: Tables) -> list[str]:
    """The architectures that a report compares."""
    entries = tables["entries"]
    names = entries.loc[entries["role"].isin(("compared", "share")), "architecture"].dropna()
    return list(dict.fromkeys(names.astype(str)))


def drawn(figure: Figure) -> DrawnFigure:
    """Draw a figure in as many columns as keep it from being too tall."""
    with styled("light"):
        columns = drawing.columns_for(figure.panels, figure.panels_per_row)
    return DrawnFigure(figure, drawing.together(figure.panels, columns, figure.key, figure.panels_per_row))


def place(comparison: Comparison) -> dict[str, object]:
    """Which comparison a row of numbers belongs to."""
    what = comparison.group.condition
    return {"dataset": comparison.group.dataset, "condition": what, "metric": comparison.metric.name}


def of_architecture(comparison: Comparison, cell: Cell) -> dict[str, object]:
    """The columns of an architecture's score that every table of scores has."""
    row = {**place(comparison), "name": cell.architecture, "kind": "architecture"}
    return {**row, **cell.interval.columns(), "seeds": len(cell.values)}


def of_baseline(comparison: Comparison, name: str, mean: float) -> dict[str, object]:
    """The columns of a baseline's score."""
    return {**place(comparison), "name": name, "kind": "reference", "mean": mean}


def titled(comparison: Comparison) -> tuple[str, str]:
    """The data set, with the measure if it has several, and the condition, which is written below it."""
    return label(comparison.title, 80), below(comparison.group.condition)


def below(text: str) -> str:
    """Text to stand below a title, in full but where it is absurdly long."""
    return label(text, 200) if text else ""


def named(comparisons: Sequence[Comparison]) -> tuple[str, ...]:
    """The architectures that were scored."""
    return tuple(dict.fromkeys(cell.architecture for comparison in comparisons for cell in comparison.scored))


def _names(name: str, architecture: str) -> bool:
    """True if a contrast's name is this architecture's, with a change or without one."""
    rest = name.removeprefix(architecture)
    return rest != name and (not rest or rest[0] in " |@,")
