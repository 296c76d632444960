"""The page `report/index.html`: one file without scripts that needs no network, made from the tables alone."""

import base64
import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import jinja2
import pandas as pd
from markupsafe import Markup

from archbench.reports.base import declared, formatting, provenance
from archbench.reports.base.tables import Tables, write_csv
from archbench.reports.contrasts.verdicts import left_out
from archbench.reports.figures import figures
from archbench.reports.figures.canvas.palette import SHAPES
from archbench.reports.figures.figure import DrawnFigure, Figure, compared_names, drawn, report_looks
from archbench.reports.page.elements import lede
from archbench.reports.page.elements.parts import Page, Shown
from archbench.reports.page.sections import SECTIONS, budget, checks, claims, first, scores, tuning
from archbench.reports.published import merging
from archbench.reports.report import Report
from archbench.tasks.base.files import write_text

TEMPLATES: Final = Path(__file__).parent / "templates"
FILES: Final[Mapping[str, Callable[[Report], Iterable[Mapping[str, object]]]]] = {
    "contrasts": checks.rows,
    "scores": scores.rows,
    "budget": budget.rows,
    "forms": tuning.rows,
    "claims": claims.rows,
}
"""Tables that the page shows in part, as CSV in full precision."""


@dataclass(frozen=True)
class ShownFigure:
    """A figure as the page shows it: its panels as SVG elements."""

    figure: Figure
    panels: tuple[Markup, ...]


def write(report: Report, folder: Path) -> list[Path]:
    """Write the page, its figures and its tables into `folder`; return the paths, the page first."""
    drawn_figures = list(map(drawn, figures.figures(report)))
    paths = [path for figure in drawn_figures for path in figure.save(folder)]
    paths += write_tables(report, folder)
    page = folder / "index.html"
    write_text(page, render(report, drawn_figures))
    return [page, *paths]


def write_tables(report: Report, folder: Path) -> list[Path]:
    """Write tests, scores, budgets and claims as CSV, where there are any, and the experiment; return the paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, rows in FILES.items():
        frame = pd.DataFrame(list(rows(report)))
        if len(frame):
            paths.append(folder / f"{name}.csv")
            write_csv(frame.astype({"decided_after": "Int64"}) if "decided_after" in frame else frame, paths[-1])
    specification = declared.experiment(report.tables).get("specification")
    if specification:
        paths.append(folder / "experiment.json")
        write_text(paths[-1], specification)
    return paths


def render(report: Report, drawn: Sequence[DrawnFigure]) -> str:
    """The page as HTML."""
    experiment, short = declared.experiment(report.tables), first.sentences(report)
    page = Page(report, {entry.figure.name for entry in drawn})
    shown = [Shown(section, section.content(page)) for section in SECTIONS]
    return html(
        "page.html",
        drawn,
        title=experiment.get("name") or "archbench",
        made_by=provenance.of_tables(report.tables),
        status=" ".join(filter(None, [*_status(report), lede.line(report.tables) if short else ""])),
        lede="" if short else lede.paragraph(report.tables),
        sections=[section for section in shown if section.content],
        looks=_key(report.tables),
        picks=_picks(report.tables),
    )


def html(template: str, drawn: Sequence[DrawnFigure], folder: Path = TEMPLATES, **context: Any) -> str:
    """A page of the template in ``folder`` with the figures: one file without scripts, its style known by its hash."""
    picks = context.pop("picks", {})
    style = (TEMPLATES / "style.css").read_text(encoding="utf-8") + _hidden(picks)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([folder, TEMPLATES]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_visible,
    )
    by_name, shared = dict[str, ShownFigure](), dict[str, str]()
    for entry in drawn:
        elements = entry.inline
        by_name[entry.figure.name] = ShownFigure(entry.figure, tuple(map(Markup, elements.panels)))
        shared |= elements.shared
    return environment.get_template(template).render(
        style=Markup(style),
        style_digest=digest,
        figures=by_name,
        shared=Markup("".join(shared.values())),
        picks={name: number for name, (number, _) in picks.items()},
        **context,
    )


def _status(report: Report) -> list[str]:
    """How many runs finished, whose rows are published ones, and what was left out."""
    experiment, runs = declared.experiment(report.tables), report.tables["runs"]
    counts = runs["status"].fillna("unfinished").value_counts()
    others = [f"{count} {status}" for status, count in sorted(counts.items()) if status != "done"]
    done = "; ".join(
        filter(None, [f"{counts.get('done', 0)} of {len(runs)} runs finished", formatting.listing(others)])
    )
    return [f"{done}.", _joined(experiment), merging.note(experiment), *left_out(report.tables)]


def _joined(experiment: Mapping[str, str]) -> str:
    """Whose rows are published ones; empty where all were trained for this report."""
    published = experiment.get("against")
    if not published:
        return ""
    return (
        f"The results of {published} are published; only the architecture that joins them was trained for this report, "
        "under the first condition of each data set. Its verdicts hold under that accounting alone."
    )


def _key(tables: Tables) -> dict[str, tuple[str, str]]:
    """The colour and the path of the marker of each architecture."""
    return {name: (look.colour, SHAPES[look.marker]) for name, look in report_looks(tables).items()}


def _picks(tables: Tables) -> dict[str, tuple[int, str]]:
    """A number and the colour of each compared architecture that a reader can hide: if no other has its colour."""
    key = _key(tables)
    colours = {name: key[name][0] for name in compared_names(tables)}
    alone = [name for name, colour in colours.items() if list(colours.values()).count(colour) == 1]
    return {name: (number, colours[name]) for number, name in enumerate(alone)} if len(alone) > 1 else {}


def _hidden(picks: Mapping[str, tuple[int, str]]) -> str:
    """The style rules that hide an architecture while its box is not checked; browsers without ``:has`` show all."""
    return "".join(
        f'body:has(#show-{number}:not(:checked)) :is(.a{number}, .coloured .panel [fill="{colour}"], '
        f'.coloured .panel [stroke="{colour}"]) {{ display: none; }}\n'
        for number, colour in picks.values()
    )


def _visible(value: Any) -> Any:
    """Value that the template prints: text with its control characters shown, anything else as it is."""
    return formatting.visible(value) if type(value) is str else value
