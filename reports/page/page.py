"""The page `report/index.html`: one file without scripts that needs no network, made from the tables alone."""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import jinja2
import pandas as pd
from markupsafe import Markup

from archbench.reports.analysis import (
    horizontal,
    merging,
    pretraining,
    scaling,
    sequential,
    shares,
    stored_bits,
    trials,
    waterfall,
)
from archbench.reports.analysis.agreement import disagreements
from archbench.reports.analysis.comparison import Comparison
from archbench.reports.analysis.contrasts import Contrast, row
from archbench.reports.analysis.controls import is_as_expected
from archbench.reports.analysis.groups import Group, is_checkpoint_as_is, placed
from archbench.reports.analysis.pairs import FEW
from archbench.reports.analysis.report import FAMILIES, Report
from archbench.reports.analysis.standing import NOT_ABOVE_BASELINE, behind_baseline
from archbench.reports.analysis.verdicts import changed, left_out, verdict
from archbench.reports.base import declared, formatting
from archbench.reports.base.statistics import RULES
from archbench.reports.base.tables import Tables, write_csv
from archbench.reports.claims import claims, ledger
from archbench.reports.claims.claims import ClaimVerdict
from archbench.reports.figures import figures
from archbench.reports.figures.canvas.palette import SHAPES
from archbench.reports.figures.figure import DrawnFigure, Figure, compared_names, drawn, report_looks
from archbench.reports.page import (
    audit,
    claim_grids,
    grids,
    lede,
    matrix,
    pretraining_grids,
    tested_grids,
    tuning_grids,
)
from archbench.reports.page.bottom_line import bottom_line, limits
from archbench.reports.page.grids import Grid
from archbench.reports.page.samples import AnsweredExamples, samples
from archbench.tasks.base.files import write_text

TEMPLATES: Final = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class TitledGrid:
    """A foldable table: what it is about, and what it holds."""

    title: str
    grid: Grid


@dataclass(frozen=True)
class Shown:
    """A figure as the page shows it: its panels as SVG elements."""

    figure: Figure
    panels: tuple[Markup, ...]


def write(report: Report, folder: Path) -> list[Path]:
    """Write the page, its figures and its tables into `folder`; return the paths, the page first."""
    drawn_figures = list(map(drawn, figures.figures(report)))
    paths = [path for figure in drawn_figures for path in figure.save(folder)]
    verdicts = claims.claim_verdicts(report)
    paths += write_tables(report, verdicts, folder)
    page = folder / "index.html"
    write_text(page, render(report, drawn_figures, verdicts))
    return [page, *paths]


def write_tables(report: Report, verdicts: Sequence[ClaimVerdict], folder: Path) -> list[Path]:
    """What the page shows a part of, as CSV in full precision: tests, scores, budgets, claims; and the experiment."""
    folder.mkdir(parents=True, exist_ok=True)
    comparisons = report.comparisons
    rows = {
        "contrasts": [
            {"role": role, **row(contrast)} for role, contrasts in roles(report, verdicts) for contrast in contrasts
        ],
        "scores": grids.scores(comparisons),
        "budget": audit.budget_rows([*comparisons.groups, *_others(comparisons.tables)]),
        "claims": claim_grids.rows(verdicts),
    }
    paths = [folder / f"{name}.csv" for name, entries in rows.items() if entries]
    for path in paths:
        frame = pd.DataFrame(rows[path.stem])
        if path.stem == "contrasts":
            frame = _contrasts(frame, sequential.rule(comparisons.tables) is not None)
        write_csv(frame, path)
    specification = _experiment(comparisons.tables["experiment"]).get("specification")
    if specification:
        write_text(folder / "experiment.json", specification)
        paths.append(folder / "experiment.json")
    return paths


def _contrasts(frame: pd.DataFrame, added: bool) -> pd.DataFrame:
    """The table of contrasts; only an experiment that adds seeds says after how many a contrast was decided."""
    return frame.astype({"decided_after": "Int64"}) if added else frame.drop(columns="decided_after")


def roles(report: Report, verdicts: Sequence[ClaimVerdict]) -> list[tuple[str, Sequence[Contrast]]]:
    """Everything that was tested, by the family of tests or the question that it belongs to."""
    claims = [(f"claim {entry.claim.name}", entry.contrasts) for entry in verdicts]
    return [*report.tested.by_family.items(), *claims]


def render(report: Report, drawn: Sequence[DrawnFigure], verdicts: Sequence[ClaimVerdict] | None = None) -> str:
    """The page as HTML; claims are judged here unless ``verdicts`` has them."""
    return html("page.html", drawn, **_context(report, claims.claim_verdicts(report) if verdicts is None else verdicts))


def html(template: str, drawn: Sequence[DrawnFigure], **context: Any) -> str:
    """A page of the template with the figures: one file without scripts, its one style sheet known by its hash."""
    picks = context.pop("picks", {})
    style = (TEMPLATES / "style.css").read_text(encoding="utf-8") + _hidden(picks)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_visible,
    )
    by_name, shared = dict[str, Shown](), dict[str, str]()
    for entry in drawn:
        elements = entry.inline
        by_name[entry.figure.name] = Shown(entry.figure, tuple(map(Markup, elements.panels)))
        shared |= elements.shared
    return environment.get_template(template).render(
        style=Markup(style),
        style_digest=digest,
        figures=by_name,
        shared=Markup("".join(shared.values())),
        picks={name: number for name, (number, _) in picks.items()},
        **context,
    )


def _context(report: Report, verdicts: Sequence[ClaimVerdict]) -> dict[str, Any]:
    tables = report.tables
    experiment = _experiment(tables["experiment"])
    return {
        "experiment": experiment,
        "title": experiment.get("name") or "archbench",
        "made_by": grids.made_by(tables),
        "status": " ".join(
            filter(None, [_status(tables["runs"]), _joined(experiment), merging.note(experiment), *left_out(tables)])
        ),
        "lede": lede.paragraph(tables),
        "compared": lede.line(tables),
        "bottom_line": bottom_line(report, verdicts),
        "limits": limits(report),
        "looks": _key(tables),
        "picks": _picks(tables),
        **_findings(report),
        **_tests(report, verdicts),
        **_claims(verdicts, experiment),
        "rules": _rules(experiment),
        **_methods(report),
    }


def _joined(experiment: Mapping[str, str]) -> str:
    """Whose rows are published ones; empty where all were trained for this report."""
    published = experiment.get("against")
    if not published:
        return ""
    return (
        f"The results of {published} are published; only the architecture that joins them was trained for this report, "
        "under the first condition of each data set. Its verdicts hold under that accounting alone."
    )


def _findings(report: Report) -> dict[str, Any]:
    """Who wins, the scores, and what conditions, budget, size and depth change."""
    first, tested, tables = report.first, report.tested, report.tables
    doubled, standings = tested["doubling"], matrix.matrix(report)
    return {
        "matrix": standings,
        "words": {cell.text.removesuffix(f" {NOT_ABOVE_BASELINE}") for row in standings.rows for cell in row[1:]},
        "untrained": any(contrast.untrained for contrast in tested.primary),
        "accounting": any(contrast.accounting for contrast in tested.primary),
        "baselines": any(behind_baseline(comparison, cell) for comparison in first for cell in comparison.cells),
        "variants_in_use": tuning_grids.variants_in_use(trials.chosen_variants(tables)),
        "verdicts": [
            verdict(comparison, tested.primary_on(comparison.group.dataset), changed(comparison.group.dataset, tested))
            for comparison in first
        ],
        "headline": grids.headline(grids.with_answers(report.comparisons, first)),
        "seeds": _seeds(first),
        "effects": tested_grids.contrasts(tested["effect"]),
        "sensitivity": tested_grids.sensitivity(tested),
        "conditions": [grids.title(comparison.group) for comparison in report.further],
        "doublings": [
            (name, [shares.sentence(contrast) for contrast in doubled if contrast.dataset == name])
            for name in dict.fromkeys(contrast.dataset for contrast in doubled)
        ],
        "distances": [(entry.dataset, entry.sentence) for entry in horizontal.distances(report)],
        "capacity": [(name, stored_bits.sentences(points)) for name, points in _stored(report).items()],
        "trends": [(trend.sweep.axis.name, trend.sweep.title, scaling.sentences(trend)) for trend in report.trends],
        "from_scratch": pretraining.is_first_from_scratch(report),
        "leads": _leads(report),
        "adapted": pretraining_grids.adapted(report),
        "other_sizes": pretraining_grids.other_sizes(report),
        "after_pretraining": tested_grids.contrasts(report.tested["after pretraining"]),
        "gain_differences": pretraining_grids.gain_differences(report),
        "elsewhere": pretraining_grids.elsewhere(tables),
        "pretrained": pretraining_grids.pretraining_runs(report.comparisons),
        "saved_labels": pretraining_grids.saved_labels(report),
        "amortised": pretraining_grids.amortised(report.comparisons),
        "cost": grids.cost(first),
        "samples": _samples(tables, first),
    }


def _leads(report: Report) -> list[str]:
    """The figures for the first screen, of which it shows the first that there is."""
    asks = {
        "pretraining_gains": len(pretraining.by_dataset(report)) == len(report.first),
        "causes": waterfall.asks_for_causes(report),
    }
    return [*(name for name, asked in asks.items() if asked), "summary", "in_short", "headline"]


def _tests(report: Report, verdicts: Sequence[ClaimVerdict]) -> dict[str, Any]:
    """The primary family, what else was tested, and what several families judge differently."""
    tested = report.tested
    statements = {f"claim {verdict.claim.name}": verdict.claim.statement for verdict in verdicts}
    families = [
        (_family(role, statements), contrasts) for role, contrasts in roles(report, verdicts) if role != "exploratory"
    ]
    gates = tested_grids.gates(report)
    return {
        "primary": tested_grids.contrasts(tested.primary),
        "declared": _declaration(report),
        "alternatives": tested_grids.alternatives(tested.primary),
        "added_seeds": tested_grids.added_seeds(sequential.rule(report.tables)),
        "exploratory": sum(contrast.outcome != "unknown" for contrast in tested.exploratory),
        "disagreements": [entry.sentence for entry in disagreements(families)],
        "gates": gates,
        "gates_shuffled": any(cell.text == tested_grids.SAVED for cell in gates.head),
        "gates_unknown": tested_grids.unchecked(report),
        "controls": tested_grids.controls(tested["control"]),
        "controls_known": any(is_as_expected(control) is not None for control in tested["control"]),
        "controls_right": all(is_as_expected(control) is not False for control in tested["control"]),
        "controls_on": _controlled(report),
        "factors": tested_grids.factors(tested["factor"]),
        "causes": [entry.sentence for entry in waterfall.waterfalls(report)],
    }


def _family(role: str, statements: Mapping[str, str]) -> str:
    """A role of contrasts in words; ``statements`` are those of the claims, by role."""
    if role in statements:
        return f"evidence for “{statements[role]}”"
    return FAMILIES[role].words if role in FAMILIES else "a primary contrast"


def _declaration(report: Report) -> str:
    """Where the primary contrasts come from: the experiment lists them, or none of those that it lists applies."""
    pairs = set(declared.contrasts_and_margins(report.tables)[0])
    chosen = {(contrast.first, contrast.second) for contrast in report.tested.primary}
    if chosen <= pairs:
        return "The experiment lists these pairs."
    rule = f"every pair of up to {FEW} architectures, or the first architecture and each other"
    if chosen & pairs:
        return f"The experiment lists these pairs; on data sets without a listed pair: {rule}."
    return f"The experiment lists no pair of these architectures; the default applies: {rule}."


def _rules(experiment: Mapping[str, str]) -> str:
    """Whether the rules of the tests are those under which the runs were planned; empty where that is not recorded."""
    recorded = str(experiment.get("rules") or "")
    if not recorded:
        return ""
    if recorded == str(RULES):
        return f"The rules of all tests (version {RULES}) were fixed before the first of these runs."
    return f"These runs were planned under version {recorded} of the test rules; this page uses version {RULES}."


def _claims(verdicts: Sequence[ClaimVerdict], experiment: dict[str, str]) -> dict[str, Any]:
    tested = [entry for entry in verdicts if entry.verdict not in claims.UNTESTED]
    return {
        "claims": claim_grids.tested(tested),
        "claims_elsewhere": claim_grids.untested([entry for entry in verdicts if entry not in tested]),
        "ledger_known": bool(experiment.get("ledger")),
        "ledger": ledger.standing(experiment.get("ledger") or "", {entry.claim.name for entry in tested}),
    }


def _methods(report: Report) -> dict[str, Any]:
    """What was measured and how: metrics, budgets, tuning, data, environment."""
    comparisons, first = report.comparisons, report.first
    tables, groups = comparisons.tables, comparisons.groups
    metrics = dict.fromkeys(name for group in groups for name in comparisons.metrics(group))
    chosen, variants = trials.settings(tables), trials.chosen_variants(tables)
    missed = [f"{name} on {grids.title(group)}" for group in groups for name in audit.off_budget(group)]
    return {
        "metrics": [
            TitledGrid(comparison.group.dataset, grids.every_metric(comparisons, comparison.group))
            for comparison in first
        ],
        "budget": audit.budget([comparison.group for comparison in first]),
        "budget_missed": formatting.listing(missed),
        "tuning": tuning_grids.tuning(chosen),
        "tuning_setup": tuning_grids.setup(tables),
        "tuning_without_improvement": tuning_grids.without_improvement(trials.without_improvement(tables)),
        "tuning_variants": tuning_grids.variants(variants),
        "changed_variants": tuning_grids.changed_variants(variants),
        "tuning_selection": tuning_grids.selection(chosen),
        "tuning_regret": tuning_grids.regrets(chosen),
        "tuning_undetermined": tuning_grids.undetermined(chosen),
        "tuning_cost": tuning_grids.costs(trials.costs(tables)),
        "failures": grids.failures(tables),
        "datasets": grids.datasets(tables),
        "environment": grids.environment(tables),
        "glossary": grids.glossary(tables, metrics),
        "architectures": _architectures(tables["runs"]),
        "checkpoints": bool(is_checkpoint_as_is(tables["runs"]).any()),
    }


def _seeds(comparisons: Sequence[Comparison]) -> str:
    """The usual number of seeds of a score, least to greatest over data sets."""
    counts = [grids.usual_seeds(comparison) for comparison in comparisons if comparison.scored]
    if not counts:
        return ""
    ends = dict.fromkeys((min(counts), max(counts)))
    return f"{' to '.join(map(str, ends))} seed{'s' * (max(counts) != 1)}"


def _others(tables: Tables) -> list[Group]:
    """The runs beside those that are compared, by data set and what they are for."""
    words = {"share": "parts of the budget", "control": "controls", "trial": "trials"}
    return [
        Group(str(dataset), "", {"condition": condition}, runs)
        for role, condition in words.items()
        for dataset, runs in placed(tables, role).groupby("dataset", sort=False)
    ]


def _stored(report: Report) -> dict[str, list[stored_bits.Stored]]:
    """What was stored of each data set that measures it."""
    stored = stored_bits.stored(report)
    datasets = dict.fromkeys(point.dataset for point in stored)
    return {name: [point for point in stored if point.dataset == name] for name in datasets}


def _controlled(report: Report) -> str:
    """On how many of the data sets there are controls, where not on all."""
    controlled = {control.dataset for control in report.tested["control"]}
    return f"{len(controlled)} of {len(report.first)}" if len(controlled) < len(report.first) else ""


def _status(runs: pd.DataFrame) -> str:
    counts = runs["status"].fillna("unfinished").value_counts()
    others = [f"{count} {status}" for status, count in sorted(counts.items()) if status != "done"]
    done = f"{counts.get('done', 0)} of {len(runs)} runs finished"
    return f"{done}; {formatting.listing(others)}." if others else f"{done}."


def _samples(tables: Tables, comparisons: Sequence[Comparison]) -> list[tuple[str, AnsweredExamples]]:
    scores, answered = tables["scores"], []
    labelled = set(scores.loc[(scores["metric"] == "accuracy").fillna(False), "run"])
    for group in (comparison.group for comparison in comparisons):
        one_answer = declared.one_answer(tables, group.dataset)
        labels = not labelled.isdisjoint(group.runs["run"])
        answered.append((group.dataset, samples(tables["predictions"], group, one_answer, labels)))
    return [(dataset, examples) for dataset, examples in answered if examples.examples]


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


def _architectures(runs: pd.DataFrame) -> list[tuple[str, str, str]]:
    """Name, family and description of each architecture; what an older record does not say is empty."""
    named = runs.dropna(subset=["architecture", "family"]).drop_duplicates("architecture")
    texts = named["description"].fillna("") if "description" in named else [""] * len(named)
    return list(zip(named["architecture"].astype(str), named["family"].astype(str), map(str, texts), strict=True))


def _experiment(rows: pd.DataFrame) -> dict[str, str]:
    present = rows.dropna(subset=["key", "value"])
    return dict(zip(present["key"].astype(str), present["value"].astype(str), strict=True))


def _visible(value: Any) -> Any:
    """What the template prints: text with its control characters shown, anything else as it is."""
    return formatting.visible(value) if type(value) is str else value
