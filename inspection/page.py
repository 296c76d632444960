"""The page about the inside of a trained run, from `inspection.json` alone: figures, their numbers, and the text."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import pandas as pd

from archbench.inspection import claims, drawing, figures, words
from archbench.inspection.facts import FILE, SCHEMA, Row
from archbench.reports.base import formatting, provenance
from archbench.reports.base.tables import write_csv
from archbench.reports.figures.figure import drawn
from archbench.reports.page.grids import Grid, GridCell, text_cell
from archbench.reports.page.page import html
from archbench.tasks.base.files import write_text
from archbench.tasks.base.sealed import read_json

TEMPLATES: Final = Path(__file__).parent / "templates"
KINDS: Final = {
    "added": "added to the embeddings",
    "rotation": "rotates queries and keys",
    "bias": "added to attention scores",
    "none": "none; only the mask encodes order",
}


def read(folder: Path) -> Row:
    """What was measured; raises ``InputError`` where it is missing, ``ValueError`` for another schema."""
    inspection = read_json(folder / FILE)
    if not isinstance(inspection, dict) or inspection.get("schema") != SCHEMA:
        raise ValueError(f"{folder / FILE}: written by another version of archbench; run archbench inspect again")
    return inspection


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
    """What the page's tables say beyond its figures, a row for each number, by the name of the file; none empty."""
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
            f"alike_{number:02d}": [
                {"position": i, "other": j, "cosine": cosine}
                for i, line in enumerate(scheme["alike"])
                for j, cosine in enumerate(line)
            ]
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
    """What the template shows beside the figures."""
    token = words.token_of(inspection["text"])
    return {
        "inspection": inspection,
        "tables": list(numbers(inspection)),
        "looks": {},
        "title": inspection["run"],
        "made_by": provenance.made_by(inspection.get("archbench", ""), [inspection.get("archbench_commit") or ""]),
        "lede": words.lede(inspection),
        "untrained": words.untrained(inspection),
        "claims": _claims(claims.findings(inspection)),
        "text": inspection["text"],
        "text_words": words.text_in_words(inspection["text"], inspection["examples"]),
        "token": token,
        "neighbours": _neighbours(inspection["neighbours"]),
        "similarity": words.similarity(inspection["similarity"]),
        "groups": _groups(inspection["groups"]),
        "schemes": [(entry["name"], KINDS[entry["kind"]]) for entry in inspection["schemes"]],
        "maps": [figures.map_name(number, entry) for number, entry in enumerate(inspection["maps"], 1)],
        "heads": _heads(inspection["heads"]),
        "head_words": words.heads_in_words(inspection),
        "probe_words": words.probes_in_words(inspection),
        "positions": _positions(inspection["positions"], token),
        "snapshots": _snapshots(inspection["snapshots"]),
        "step": inspection["step"],
        "step_words": words.step_in_words(inspection["step"], token),
        "parts": _parts(inspection["step"]["parts"]),
        "steps": _step_rows(inspection["step"]["positions"], token),
    }


def _claims(findings: Sequence[claims.Finding]) -> Grid:
    head = (text_cell("claim"), text_cell("in this run"), text_cell("evidence"), text_cell("tested as"))
    cells = [
        (
            GridCell(f"“{finding.saying.statement}”", kind="text"),
            text_cell(finding.verdict),
            GridCell(finding.evidence, kind="text"),
            GridCell(finding.saying.reading, kind="text"),
        )
        for finding in findings
    ]
    return Grid(head, tuple(cells))


def _neighbours(rows: Sequence[Row]) -> Grid:
    head = (text_cell("token"), text_cell("nearest, by cosine"))
    listed = (
        "  ".join(f"{token} {formatting.value(cosine, 2)}" for token, cosine in row["neighbours"]) for row in rows
    )
    return Grid(head, tuple((text_cell(row["token"]), text_cell(near)) for row, near in zip(rows, listed, strict=True)))


def _groups(rows: Sequence[Row]) -> Grid:
    head = (text_cell("group"), text_cell("tokens"), GridCell("times"), GridCell("mean cosine"))
    cells = [
        (
            *(text_cell(row["group"]), text_cell("  ".join(row["tokens"]))),
            *(GridCell(formatting.count(row["times"])), GridCell(formatting.value(row["cosine"]))),
        )
        for row in rows
    ]
    return Grid(head, tuple(cells))


def _heads(rows: Sequence[Row]) -> Grid:
    patterns = list(dict.fromkeys(pattern for row in rows for pattern in row["shares"]))
    head = (
        text_cell("head"),
        text_cell("role"),
        GridCell("loss without it"),
        *(GridCell(pattern, "evenly") for pattern in patterns),
    )
    cells = [
        (
            text_cell(drawing.head_name(row)),
            text_cell(row["role"]),
            GridCell(f"{formatting.value(row['loss'])} ± {formatting.value(2 * row['error'])}"),
            *(_share(row, pattern) for pattern in patterns),
        )
        for row in rows
    ]
    return Grid(head, tuple(cells))


def _share(row: Row, pattern: str) -> GridCell:
    if pattern not in row["shares"]:
        return GridCell(formatting.MISSING)
    kind = "strong" if row["role"] == pattern else ""
    return GridCell(formatting.value(row["shares"][pattern], 2), formatting.value(row["even"][pattern], 2), kind)


def _positions(rows: Sequence[Row], token: str) -> Grid:
    rules = list(rows[0]["rules"]) if rows else []
    head = (
        GridCell(""),
        text_cell(token),
        GridCell("its probability"),
        text_cell("model"),
        *(text_cell(rule) for rule in rules),
    )
    cells = [
        (
            GridCell(str(row["place"])),
            text_cell(row["token"]),
            GridCell(formatting.value(row["probability"])),
            text_cell(_likeliest(row["model"])),
            *(text_cell(_likeliest(row["rules"][rule])) for rule in rules),
        )
        for row in rows
    ]
    return Grid(head, tuple(cells))


def _snapshots(rows: Sequence[Row]) -> Grid:
    head = (
        *(text_cell("weights"), GridCell("loss"), GridCell("of test examples")),
        *(text_cell("likeliest first tokens"), text_cell("answer")),
    )
    cells = [
        (
            text_cell(row["when"]),
            GridCell(formatting.value(row["loss"])),
            GridCell(formatting.value(row["mean_loss"])),
            text_cell(_likeliest(row["first"])),
            text_cell(row["answer"]),
        )
        for row in rows
    ]
    return Grid(head, tuple(cells))


def _parts(rows: Sequence[Row]) -> Grid:
    head = (text_cell("part"), GridCell("weights"), GridCell("weight norm"), GridCell("gradient norm"))
    cells = [
        (
            text_cell(row["part"]),
            GridCell(formatting.count(row["parameters"])),
            GridCell(formatting.number(row["weights"])),
            GridCell(formatting.number(row["gradient"])),
        )
        for row in rows
    ]
    return Grid(head, tuple(cells))


def _step_rows(rows: Sequence[Row], token: str) -> Grid:
    head = (
        GridCell(""),
        text_cell(token),
        text_cell("prediction"),
        GridCell("before"),
        GridCell("after"),
        text_cell("prediction after"),
    )
    cells = [
        (
            GridCell(str(row["place"])),
            text_cell(row["token"]),
            text_cell(row["guess"]),
            GridCell(formatting.value(row["before"])),
            GridCell(formatting.value(row["after"]), kind="strong" if row["after"] > row["before"] else ""),
            text_cell(row["guess_after"]),
        )
        for row in rows
    ]
    return Grid(head, tuple(cells))


def _likeliest(tokens: Sequence[Sequence[Any]]) -> str:
    return "  ".join(f"{token} {_probability(value)}" for token, value in tokens if value >= 0.0005)


def _probability(value: float) -> str:
    return f"{value:.2f}" if value >= 0.01 else f"{value:.3f}"
