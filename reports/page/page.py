"""The page `report/index.html`: one file without scripts that needs no network, made from the tables alone."""

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import jinja2
import pandas as pd
from markupsafe import Markup

from archbench.reports.analysis import scaling, shares, trials
from archbench.reports.analysis.comparison import Comparison, Group, as_is, placed
from archbench.reports.analysis.conditions import MATCHES, SUPERVISION
from archbench.reports.analysis.contrasts import Contrast, Contrasts, row
from archbench.reports.analysis.judgement import Judged
from archbench.reports.analysis.verdicts import across, contrast_sentence, left_out, verdict
from archbench.reports.base import formatting
from archbench.reports.base.declared import one_answer
from archbench.reports.base.tables import Tables, write_csv
from archbench.reports.claims import claims, ledger
from archbench.reports.claims.claims import Ruling
from archbench.reports.figures import capacity, drawing, figures
from archbench.reports.figures.figures import Figure
from archbench.reports.figures.palette import SHAPES, looks
from archbench.reports.figures.svg import inline
from archbench.reports.page import audit, grids, tested_grids
from archbench.reports.page.bottom_line import bottom_line
from archbench.reports.page.grids import Grid
from archbench.reports.page.samples import Samples, samples
from archbench.runs.base.store import write_text

MOST_ROWS: Final = 150  # of exploratory contrasts
TEMPLATES: Final = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class Part:
    """A foldable part of a section: what it is about, its table, and what stands beside it."""

    title: str
    grid: Grid
    note: str = ""


@dataclass(frozen=True)
class Drawn:
    """A figure as the page shows it: its panels as SVG elements."""

    figure: Figure
    panels: tuple[Markup, ...]


def write(judged: Judged, folder: Path) -> list[Path]:
    """Write the page and its figures into `folder`; return the paths, the page first."""
    drawn = figures.figures(judged)
    paths = [path for figure in drawn for path in figures.write(figure, folder)]
    ruled = claims.rulings(judged)
    paths += write_tested(judged, ruled, folder)
    page = folder / "index.html"
    write_text(page, render(judged, drawn, ruled))
    return [page, *paths]


def write_tested(judged: Judged, ruled: Sequence[Ruling], folder: Path) -> list[Path]:
    """What was tested as CSV, in full precision."""
    tested = judged.tested
    roles: list[tuple[str, Sequence[Contrast]]] = [("primary", tested.primary), ("exploratory", tested.exploratory)]
    roles.append(("control", [one.contrast for one in tested.controls]))
    roles.append(("effect", tested.effects))
    roles.append(("factor", [one.contrast for one in tested.factors]))
    roles.append(("doubling", shares.doublings(judged)))
    for each in judged.climbs:
        roles += [(each.ladder.axis.name, each.moves), (f"{each.ladder.axis.name}, order", each.orders)]
    roles += [(f"claim {one.claim.name}", one.contrasts) for one in ruled]
    rows = [{"role": role, **row(one)} for role, found in roles for one in found]
    if not rows:
        return []
    folder.mkdir(parents=True, exist_ok=True)
    write_csv(pd.DataFrame(rows), folder / "contrasts.csv")
    return [folder / "contrasts.csv"]


def render(judged: Judged, drawn: Sequence[Figure], ruled: Sequence[Ruling] | None = None) -> str:
    """The page as HTML; claims are judged here unless ``ruled`` has them."""
    return html("page.html", drawn, **_context(judged, claims.rulings(judged) if ruled is None else ruled))


def html(template: str, drawn: Sequence[Figure], **context: Any) -> str:
    """A page of the template with the figures: one file without scripts, its one style sheet known by its hash."""
    style = (TEMPLATES / "style.css").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_visible,
    )
    shown = {figure.name: _drawn(figure) for figure in drawn}
    return environment.get_template(template).render(style=Markup(style), style_digest=digest, figures=shown, **context)


def _context(judged: Judged, ruled: Sequence[Ruling]) -> dict[str, Any]:
    comparisons, first, further, tested = judged.comparisons, judged.first, judged.further, judged.tested
    tables, groups = comparisons.tables, comparisons.groups
    tried, doubled = trials.trials(tables), shares.doublings(judged)
    experiment = _experiment(tables["experiment"])
    several = dict.fromkeys(comparison.group.dataset for comparison in further)
    metrics = dict.fromkeys(name for group in groups for name in comparisons.metrics(group))
    return {
        "experiment": experiment,
        "title": experiment.get("name") or "archbench",
        "lede": lede(tables),
        "status": " ".join([_status(tables["runs"]), *left_out(tables)]),
        "bottom_line": bottom_line(judged),
        "verdicts": [verdict(comparison, tested.of(comparison.group.dataset)) for comparison in first],
        "effects": [
            (name, [contrast_sentence(one) for one in tested.effects if one.dataset == name])
            for name in dict.fromkeys(one.dataset for one in tested.effects)
        ],
        "effects_tested": tested_grids.contrasts(tested.effects),
        "tests": _tests(tested),
        "primary": bool(tested.primary),
        "controls_on": _controlled(judged),
        "controls": tested_grids.controls(tested.controls),
        "controls_right": all(control.right is not False for control in tested.controls),
        "claims": tested_grids.claims([one for one in ruled if one.verdict not in claims.UNTESTED]),
        "claims_elsewhere": tested_grids.claims([one for one in ruled if one.verdict in claims.UNTESTED]),
        "ledger_known": bool(experiment.get("ledger")),
        "ledger": ledger.standing(experiment.get("ledger") or ""),
        "sensitivity": tested_grids.sensitivity(tested),
        "factors": tested_grids.factors(tested),
        "doublings": [
            (name, [shares.sentence(each) for each in doubled if each.dataset == name])
            for name in dict.fromkeys(each.dataset for each in doubled)
        ],
        "capacity": [(name, capacity.sentences(points)) for name, points in _stored(judged).items()],
        "climbs": [(each.ladder.axis.name, each.ladder.title, scaling.sentences(each)) for each in judged.climbs],
        "tuning": tested_grids.tuning(tried),
        "tuning_cost": tested_grids.costs(trials.costs(tables)),
        "headline": grids.headline(first),
        "rankings": grids.rankings([one for one in judged.headlines if one.group.dataset in several]),
        "across": [sentence for one in first if one.group.dataset in several for sentence in across(one, tested)],
        "metrics": [Part(grids.title(group), grids.every_metric(comparisons, group)) for group in groups],
        "budgets": [Part(grids.title(group), audit.budget(group), _budget_note(group)) for group in groups],
        "runs": [Part(grids.title(group), audit.every_run(group)) for group in [*groups, *_others(tables)]],
        "cost": grids.cost(first),
        "samples": _samples(tables, first),
        "failures": grids.failures(tables),
        "datasets": grids.datasets(tables),
        "environment": grids.environment(tables),
        "glossary": grids.glossary(tables, metrics),
        "looks": _key(tables["runs"]),
        "architectures": _architectures(tables["runs"]),
        "checkpoints": bool(as_is(tables["runs"]).any()),
    }


def _others(tables: Tables) -> list[Group]:
    """The runs beside those that are compared, by data set and what they are for."""
    words = {"share": "parts of the budget", "control": "controls", "trial": "trials"}
    return [
        Group(str(dataset), "", {"condition": said}, runs)
        for role, said in words.items()
        for dataset, runs in placed(tables, role).groupby("dataset", sort=False)
    ]


def _stored(judged: Judged) -> dict[str, list[capacity.Stored]]:
    """What was stored of each data set that measures it."""
    found = capacity.stored(judged)
    return {name: [one for one in found if one.dataset == name] for name in dict.fromkeys(one.dataset for one in found)}


def _controlled(judged: Judged) -> str:
    """On how many of the data sets there are controls, where not on all."""
    controlled = {one.contrast.dataset for one in judged.tested.controls}
    return f"{len(controlled)} of {len(judged.first)}" if len(controlled) < len(judged.first) else ""


def _tests(tested: Contrasts) -> list[Part]:
    """The primary family and the rest, as far as something was tested."""
    rest = [one for one in tested.exploratory if one.outcome != "unknown"]
    parts = []
    if tested.primary:
        parts.append(Part("Primary contrasts", tested_grids.contrasts(tested.primary)))
    if rest:
        further = f"{len(rest) - MOST_ROWS} more stand in contrasts.csv." if len(rest) > MOST_ROWS else ""
        parts.append(Part("Exploratory contrasts, not corrected", tested_grids.contrasts(rest[:MOST_ROWS]), further))
    return parts


def lede(tables: Tables) -> str:
    """What was compared under which budget, in a few sentences."""
    runs = placed(tables, "compared")
    checkpoints = list(runs.loc[as_is(runs), "architecture"].dropna().unique())
    trained = runs[~as_is(runs)]
    sentences = [_trained(trained), *_budget_sentences(trained)] if trained["architecture"].notna().any() else []
    if checkpoints:
        several = len(checkpoints) > 1
        which = f"{len(checkpoints)} checkpoint{'s' * several} ({formatting.listing(checkpoints)})"
        how = (
            "were scored as they are, with their own tokenizers"
            if several
            else "was scored as it is, with its own tokenizer"
        )
        sentences.append(f"{which} {how} and without training: they had another budget, and no part in who leads.")
    return " ".join(sentences) or "No run has been recorded yet."


def _trained(runs: pd.DataFrame) -> str:
    names, sets = list(runs["architecture"].dropna().unique()), list(runs["dataset"].dropna().unique())
    kinds = formatting.listing(sorted(runs["task"].dropna().unique()))
    seeds = runs.groupby(["dataset", "architecture"])["seed"].nunique()
    times = f"{seeds.min()} to {seeds.max()}" if seeds.min() != seeds.max() else f"{seeds.min()}"
    compared = (
        f"{len(names)} architectures ({formatting.listing(names)})"
        if len(names) > 1
        else f"One architecture ({names[0]})"
    )
    were = "were" if len(names) > 1 else "was"
    return (
        f"{compared} {were} trained from scratch on {len(sets)} data set{'s' * (len(sets) > 1)} ({kinds}), "
        f"{times} seed{'s' if seeds.max() > 1 else ''} each, and scored on the test split."
    )


def _budget_sentences(runs: pd.DataFrame) -> list[str]:
    sentences = []
    matches = [MATCHES.get(match, match) for match in runs["match"].dropna().unique()]
    if matches:
        sizes = {"target_parameters": "parameters outside the embeddings", "target_tokens": "training tokens"}
        aims = [f"{grids.span(runs, key)} {unit}" for key, unit in sizes.items() if grids.known(runs, key)]
        sentences.append(f"Budget: {'; also '.join(matches)}{f' ({formatting.listing(aims)})' if aims else ''}.")
    if "supervision" in runs:
        modes = [f"{mode} ({SUPERVISION.get(mode, mode)})" for mode in runs["supervision"].dropna().unique()]
        sentences += [f"Supervision: {formatting.listing(modes)}."] if modes else []
    return sentences


def _status(runs: pd.DataFrame) -> str:
    counts = runs["status"].fillna("unfinished").value_counts()
    others = [f"{count} {status}" for status, count in sorted(counts.items()) if status != "done"]
    done = f"{counts.get('done', 0)} of {len(runs)} runs finished"
    return f"{done}; {formatting.listing(others)}." if others else f"{done}."


def _budget_note(group: Group) -> str:
    missed = audit.off_budget(group)
    return f"Beyond the tolerance: {formatting.listing(missed)}." if missed else ""


def _samples(tables: Tables, comparisons: Sequence[Comparison]) -> list[tuple[str, Samples]]:
    groups = [one.group for one in comparisons]
    found = ((each.dataset, samples(tables["predictions"], each, one_answer(tables, each.dataset))) for each in groups)
    return [(title, shown) for title, shown in found if shown.examples]


def _key(runs: pd.DataFrame) -> dict[str, tuple[str, str]]:
    """The colour and the path of the marker of each architecture."""
    found = looks([str(name) for name in runs["architecture"].dropna()])
    return {name: (look.colour, SHAPES[look.marker]) for name, look in found.items()}


def _architectures(runs: pd.DataFrame) -> list[tuple[str, str, str]]:
    """Name, family and description of each architecture; what an older record does not say is empty."""
    named = runs.dropna(subset=["architecture", "family"]).drop_duplicates("architecture")
    texts = named["description"].fillna("") if "description" in named else [""] * len(named)
    return list(zip(named["architecture"].astype(str), named["family"].astype(str), map(str, texts), strict=True))


def _experiment(rows: pd.DataFrame) -> dict[str, str]:
    present = rows.dropna(subset=["key", "value"])
    return dict(zip(present["key"].astype(str), present["value"].astype(str), strict=True))


def _drawn(figure: Figure) -> Drawn:
    elements = (
        inline(drawing.one(panel), f"{figure.name}-{place}", panel.description)
        for place, panel in enumerate(figure.panels)
    )
    return Drawn(figure, tuple(Markup(element) for element in elements))


def _visible(value: Any) -> Any:
    """What the template prints: text with its control characters shown, anything else as it is."""
    return formatting.visible(value) if type(value) is str else value
