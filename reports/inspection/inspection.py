"""The page that looks inside a trained run, from `inspection.json` alone: figures, their numbers, and the text."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import pandas as pd

from archbench.reports.base import formatting
from archbench.reports.base.tables import write_csv
from archbench.reports.figures import figures
from archbench.reports.inspection import inside_claims, inside_figures, inside_panels, inside_words
from archbench.reports.page.grids import Entry, Grid, name
from archbench.reports.page.page import html
from archbench.runs.base.store import Row, read_json, write_text

SCHEMA: Final = 3
FILE: Final = "inspection.json"
KINDS: Final = {
    "added": "added to the embeddings",
    "rotation": "rotates queries and keys",
    "bias": "added to attention scores",
    "none": "nothing is added: order is left to the mask alone",
}


def read(folder: Path) -> Row:
    """What was measured; raises ``InputError`` where it is missing, ``ValueError`` for another schema."""
    found = read_json(folder / FILE)
    if not isinstance(found, dict) or found.get("schema") != SCHEMA:
        raise ValueError(f"{folder / FILE}: not an inspection of this archbench; run archbench inspect again")
    return found


def write(found: Row, folder: Path) -> list[Path]:
    """Write the page and its figures into ``folder``; the paths, the page first."""
    drawn = list(inside_figures.figures(found))
    paths = [path for figure in drawn for path in figures.write(figure, folder)]
    for key, rows in numbers(found).items():
        paths.append(folder / f"{key}.csv")
        write_csv(pd.DataFrame(rows), paths[-1])
    page = folder / "index.html"
    write_text(page, html("inspection.html", drawn, **context(found)))
    return [page, *paths]


def numbers(found: Row) -> dict[str, list[Row]]:
    """What the page's tables say beyond its figures, a row for each number, by the name of the file; none empty."""
    tables = {
        "neighbours": [
            {"token": row["token"], "rank": rank, "neighbour": near, "cosine": cosine}
            for row in found["neighbours"]
            for rank, (near, cosine) in enumerate(row["neighbours"], 1)
        ],
        "similarity": [found["similarity"]] if found["similarity"] else [],
        "groups": [
            {"group": row["group"], "token": token, "times_of_group": row["times"], "cosine_of_group": row["cosine"]}
            for row in found["groups"]
            for token in row["tokens"]
        ],
        "rules": [
            {"place": row["place"], "token": row["token"], "rule": rule, **likely}
            for row in found["positions"]
            for rule, tokens in {"model": row["model"], **row["rules"]}.items()
            for likely in _ranked(tokens)
        ],
        "snapshots": [
            {"weights": row["when"], **{key: row[key] for key in ("loss", "mean_loss", "answer")}, **likely}
            for row in found["snapshots"]
            for likely in _ranked(row["first"])
        ],
        "parts": found["step"]["parts"],
        **{
            f"alike_{place:02d}": [
                {"position": i, "other": j, "cosine": cosine}
                for i, line in enumerate(each["alike"])
                for j, cosine in enumerate(line)
            ]
            for place, each in enumerate(found["schemes"], 1)
            if each["kind"] == "added"
        },
        "claims": [
            {"claim": one.saying.name, "verdict": one.verdict, "evidence": one.evidence}
            for one in inside_claims.findings(found)
        ],
    }
    return {key: rows for key, rows in tables.items() if rows}


def _ranked(tokens: Sequence[Sequence[Any]]) -> list[Row]:
    return [
        {"rank": rank, "likely": token, "probability": probability}
        for rank, (token, probability) in enumerate(tokens, 1)
    ]


def context(found: Row) -> dict[str, Any]:
    """What the template shows beside the figures."""
    token = inside_words.token_of(found["text"])
    return {
        "found": found,
        "tables": list(numbers(found)),
        "looks": {},
        "title": found["run"],
        "lede": inside_words.lede(found),
        "claims": _claims(inside_claims.findings(found)),
        "text": found["text"],
        "shown": inside_words.shown(found["text"], found["examples"]),
        "token": token,
        "neighbours": _neighbours(found["neighbours"]),
        "similarity": inside_words.similarity(found["similarity"]),
        "groups": _groups(found["groups"]),
        "schemes": [(each["name"], KINDS[each["kind"]]) for each in found["schemes"]],
        "maps": [inside_figures.map_name(place, each) for place, each in enumerate(found["maps"], 1)],
        "heads": _heads(found["heads"]),
        "head_words": inside_words.heads_in_words(found),
        "probe_words": inside_words.probes_in_words(found),
        "positions": _positions(found["positions"], token),
        "snapshots": _snapshots(found["snapshots"]),
        "step": found["step"],
        "step_words": inside_words.step_in_words(found["step"], token),
        "parts": _parts(found["step"]["parts"]),
        "steps": _step_rows(found["step"]["positions"], token),
    }


def _claims(found: Sequence[inside_claims.Finding]) -> Grid:
    head = (name("claim"), name("in this run"), name("evidence"), name("tested as"))
    cells = [
        (
            Entry(f"“{one.saying.statement}”", kind="text"),
            name(one.verdict),
            Entry(one.evidence, kind="text"),
            Entry(one.saying.reading, kind="text"),
        )
        for one in found
    ]
    return Grid(head, tuple(cells))


def _neighbours(rows: Sequence[Row]) -> Grid:
    head = (name("token"), name("nearest, by cosine"))
    listed = (
        "  ".join(f"{token} {formatting.value(cosine, 2)}" for token, cosine in row["neighbours"]) for row in rows
    )
    return Grid(head, tuple((name(row["token"]), name(near)) for row, near in zip(rows, listed, strict=True)))


def _groups(rows: Sequence[Row]) -> Grid:
    head = (name("group"), name("tokens"), Entry("times"), Entry("mean cosine"))
    cells = [
        (
            *(name(row["group"]), name("  ".join(row["tokens"]))),
            *(Entry(formatting.count(row["times"])), Entry(formatting.value(row["cosine"]))),
        )
        for row in rows
    ]
    return Grid(head, tuple(cells))


def _heads(rows: Sequence[Row]) -> Grid:
    patterns = list(dict.fromkeys(pattern for row in rows for pattern in row["shares"]))
    head = (name("head"), name("role"), Entry("loss without it"), *(Entry(pattern, "evenly") for pattern in patterns))
    cells = [
        (
            name(inside_panels.head_name(row)),
            name(row["role"]),
            Entry(f"{formatting.value(row['loss'])} ± {formatting.value(2 * row['error'])}"),
            *(_share(row, pattern) for pattern in patterns),
        )
        for row in rows
    ]
    return Grid(head, tuple(cells))


def _share(row: Row, pattern: str) -> Entry:
    if pattern not in row["shares"]:
        return Entry(formatting.MISSING)
    kind = "strong" if row["role"] == pattern else ""
    return Entry(formatting.value(row["shares"][pattern], 2), formatting.value(row["even"][pattern], 2), kind)


def _positions(rows: Sequence[Row], token: str) -> Grid:
    rules = list(rows[0]["rules"]) if rows else []
    head = (Entry(""), name(token), Entry("its probability"), name("model"), *(name(rule) for rule in rules))
    cells = [
        (
            Entry(str(row["place"])),
            name(row["token"]),
            Entry(formatting.value(row["probability"])),
            name(_likeliest(row["model"])),
            *(name(_likeliest(row["rules"][rule])) for rule in rules),
        )
        for row in rows
    ]
    return Grid(head, tuple(cells))


def _snapshots(rows: Sequence[Row]) -> Grid:
    head = (
        *(name("weights"), Entry("loss"), Entry("of test examples")),
        *(name("likeliest first tokens"), name("answer")),
    )
    cells = [
        (
            name(row["when"]),
            Entry(formatting.value(row["loss"])),
            Entry(formatting.value(row["mean_loss"])),
            name(_likeliest(row["first"])),
            name(row["answer"]),
        )
        for row in rows
    ]
    return Grid(head, tuple(cells))


def _parts(rows: Sequence[Row]) -> Grid:
    head = (name("part"), Entry("weights"), Entry("their length"), Entry("length of the gradient"))
    cells = [
        (
            name(row["part"]),
            Entry(formatting.count(row["parameters"])),
            Entry(formatting.number(row["weights"])),
            Entry(formatting.number(row["gradient"])),
        )
        for row in rows
    ]
    return Grid(head, tuple(cells))


def _step_rows(rows: Sequence[Row], token: str) -> Grid:
    head = (Entry(""), name(token), name("guess"), Entry("before"), Entry("after"), name("guess after"))
    cells = [
        (
            Entry(str(row["place"])),
            name(row["token"]),
            name(row["guess"]),
            Entry(formatting.value(row["before"])),
            Entry(formatting.value(row["after"]), kind="strong" if row["after"] > row["before"] else ""),
            name(row["guess_after"]),
        )
        for row in rows
    ]
    return Grid(head, tuple(cells))


def _likeliest(tokens: Sequence[Sequence[Any]]) -> str:
    return "  ".join(f"{token} {_probability(value)}" for token, value in tokens if value >= 0.0005)


def _probability(value: float) -> str:
    return f"{value:.2f}" if value >= 0.01 else f"{value:.3f}"
