"""The page about the inside of a trained run, from `inspection.json` alone: figures, their numbers, and the text."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import pandas as pd

from archbench.inspection.facts import FILE, SCHEMA, Row
from archbench.inspection.pages import claims, drawing, figures, words
from archbench.reports.base import formatting, provenance
from archbench.reports.base.tables import write_csv
from archbench.reports.figures.figure import drawn
from archbench.reports.page.elements.grids import Column, Grid, GridCell, grid
from archbench.reports.page.page import html
from archbench.tasks.base.files import write_text
from archbench.tasks.base.sealed import read_record

TEMPLATES: Final = Path(__file__).parent / "templates"
KINDS: Final = {
    "added": "added to the embeddings",
    "rotation": "rotates queries and keys",
    "bias": "added to attention scores",
    "none": "none; only the mask encodes order",
}


def read(folder: Path) -> Row:
    """Measurements of an inspection; raises ``InputError`` where missing, ``ValueError`` for another schema."""
    return read_record(folder / FILE, SCHEMA, "archbench inspect")


def write(inspection: Row, folder: Path) -> list[Path]:
    """Write the page and its figures into ``folder``; the paths, the page first."""
    drawn_figures = list(map(drawn, figures.figures(inspection)))
    paths = [path for figure in drawn_figures for path in figure.save(folder)]
    for key, rows in numbers(inspection).items():
        paths.append(folder / f"{key}.csv")
        write_csv(pd.DataFrame(rows), paths[-1])
    page = folder / "index.html"
    write_text(page, html("inspection.html", drawn_figures, TEMPLATES, **context(inspection)))
    return [page, *paths]


def numbers(inspection: Row) -> dict[str, list[Row]]:
    """Tables of the page beyond its figures, a row for each number, by the name of the file; none empty."""
    tables = {
        "neighbours": [
            {"token": row["token"], "rank": rank, "neighbour": near, "cosine": cosine}
            for row in inspection["neighbours"]
            for rank, (near, cosine) in enumerate(row["neighbours"], 1)
        ],
        "similarity": [inspection["similarity"]] if inspection["similarity"] else [],
        "groups": [
            {"group": row["group"], "token": token, "times_of_group": row["times"], "cosine_of_group": row["cosine"]}
            for row in inspection["groups"]
            for token in row["tokens"]
        ],
        "rules": [
            {"place": row["place"], "token": row["token"], "rule": rule, **likely}
            for row in inspection["positions"]
            for rule, tokens in {"model": row["model"], **row["rules"]}.items()
            for likely in _ranked(tokens)
        ],
        "snapshots": [
            {"weights": row["when"], **{key: row[key] for key in ("loss", "mean_loss", "answer")}, **likely}
            for row in inspection["snapshots"]
            for likely in _ranked(row["first"])
        ],
        "parts": inspection["step"]["parts"],
        **{
            f"alike_{number:02d}": figures.cells(scheme["alike"], "position", "other", "cosine")
            for number, scheme in enumerate(inspection["schemes"], 1)
            if scheme["kind"] == "added"
        },
        "claims": [
            {"claim": finding.saying.name, "verdict": finding.verdict, "evidence": finding.evidence}
            for finding in claims.findings(inspection)
        ],
    }
    return {key: rows for key, rows in tables.items() if rows}


def _ranked(tokens: Sequence[Sequence[Any]]) -> list[Row]:
    return [
        {"rank": rank, "likely": token, "probability": probability}
        for rank, (token, probability) in enumerate(tokens, 1)
    ]


def context(inspection: Row) -> dict[str, Any]:
    """Values for the template beside the figures."""
    token = words.token_of(inspection["text"])
    return {
        "inspection": inspection,
        "tables": list(numbers(inspection)),
        "looks": {},
        "title": inspection["run"],
        "made_by": provenance.made_by(inspection.get("archbench", ""), [inspection.get("archbench_commit") or ""]),
        "lede": words.lede(inspection),
        "gate": words.below_gate(inspection),
        "text": inspection["text"],
        "text_words": words.text_in_words(inspection["text"], inspection["examples"]),
        "token": token,
        "similarity": words.similarity(inspection["similarity"]),
        "schemes": [(entry["name"], KINDS[entry["kind"]]) for entry in inspection["schemes"]],
        "maps": [figures.map_name(number, entry) for number, entry in enumerate(inspection["maps"], 1)],
        "open_map": figures.most_important_map(inspection),
        "head_words": words.heads_in_words(inspection),
        "probe_words": words.probes_in_words(inspection),
        "step": inspection["step"],
        "step_words": words.step_in_words(inspection["step"], token),
        **grids(inspection, token),
    }


def grids(inspection: Row, token: str) -> dict[str, Grid]:
    """The tables of the page; ``token`` says what a token of the target is called."""
    patterns = dict.fromkeys(pattern for row in inspection["heads"] for pattern in row["shares"])
    rules = inspection["positions"][0]["rules"] if inspection["positions"] else ()
    shares = [Column[Row](GridCell(pattern, "evenly"), partial(_share, pattern)) for pattern in patterns]
    under = [Column[Row](rule, partial(_under, rule), text=True) for rule in rules]
    place = (_number("", "place", str), _text(token, "token"))
    return {
        "claims": grid(claims.findings(inspection), CLAIMS),
        "neighbours": grid(inspection["neighbours"], NEIGHBOURS),
        "groups": grid(inspection["groups"], GROUPS),
        "heads": grid(inspection["heads"], [*HEADS, *shares]),
        "positions": grid(inspection["positions"], [*place, *POSITIONS, *under]),
        "snapshots": grid(inspection["snapshots"], SNAPSHOTS),
        "parts": grid(inspection["step"]["parts"], PARTS),
        "steps": grid(inspection["step"]["positions"], [*place, *STEPS]),
    }


def _number(head: str, key: str, form: Callable[[Any], str] = formatting.value) -> Column[Row]:
    return Column(head, lambda row: form(row[key]))


def _text(head: str, key: str, form: Callable[[Any], str] = str) -> Column[Row]:
    return Column(head, lambda row: form(row[key]), text=True)


def _share(pattern: str, row: Row) -> GridCell:
    if pattern not in row["shares"]:
        return GridCell(formatting.MISSING)
    kind = "strong" if row["role"] == pattern else ""
    return GridCell(formatting.value(row["shares"][pattern], 2), formatting.value(row["even"][pattern], 2), kind)


def _under(rule: str, row: Row) -> str:
    return _likeliest(row["rules"][rule])


def _removed(head: Row) -> str:
    return f"{formatting.value(head['loss'])} ± {formatting.value(2 * head['error'])}"


def _after(row: Row) -> GridCell:
    return GridCell(formatting.value(row["after"]), kind="strong" if row["after"] > row["before"] else "")


def _nearest(tokens: Sequence[Sequence[Any]]) -> str:
    return "  ".join(f"{token} {formatting.value(cosine, 2)}" for token, cosine in tokens)


def _likeliest(tokens: Sequence[Sequence[Any]]) -> str:
    return "  ".join(f"{token} {value:.{2 if value >= 0.01 else 3}f}" for token, value in tokens if value >= 0.0005)


CLAIMS: Final = (
    Column[claims.Finding]("claim", lambda finding: f"“{finding.saying.statement}”", text=True),
    Column[claims.Finding]("in this run", lambda finding: finding.verdict, text=True),
    Column[claims.Finding]("evidence", lambda finding: finding.evidence, text=True),
    Column[claims.Finding]("tested as", lambda finding: finding.saying.reading, text=True),
)
NEIGHBOURS: Final = (_text("token", "token"), _text("nearest, by cosine", "neighbours", _nearest))
GROUPS: Final = (
    _text("group", "group"),
    _text("tokens", "tokens", "  ".join),
    _number("times", "times", formatting.count),
    _number("mean cosine", "cosine"),
)
HEADS: Final = (
    Column[Row]("head", drawing.head_name, text=True),
    _text("role", "role"),
    Column[Row]("loss without it", _removed),
)
POSITIONS: Final = (_number("its probability", "probability"), _text("model", "model", _likeliest))
SNAPSHOTS: Final = (
    _text("weights", "when"),
    _number("loss", "loss"),
    _number("of test examples", "mean_loss"),
    _text("likeliest first tokens", "first", _likeliest),
    _text("answer", "answer"),
)
PARTS: Final = (
    _text("part", "part"),
    _number("weights", "parameters", formatting.count),
    _number("weight norm", "weights", formatting.number),
    _number("gradient norm", "gradient", formatting.number),
)
STEPS: Final = (
    _text("prediction", "guess"),
    _number("before", "before"),
    Column[Row]("after", _after),
    _text("prediction after", "guess_after"),
)
