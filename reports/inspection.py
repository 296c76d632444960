"""The page that looks inside a trained run, from `inspection.json` alone: figures, their numbers, and the text."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import pandas as pd
from matplotlib.axes import Axes

from reports import figures, formatting, inside_panels
from reports.drawing import Panel
from reports.figures import Figure
from reports.grids import Entry, Grid, name
from reports.page import html
from runs.store import Row, read_json, write_text

SCHEMA: Final = 1
FILE: Final = "inspection.json"
MOST_POSITIONS: Final = 40
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
    drawn = list(_figures(found))
    paths = [path for figure in drawn for path in figures.write(figure, folder)]
    page = folder / "index.html"
    write_text(page, html("inspection.html", drawn, **context(found)))
    return [page, *paths]


def context(found: Row) -> dict[str, Any]:
    """What the template shows beside the figures."""
    return {
        "found": found,
        "looks": {},
        "title": found["run"],
        "lede": lede(found),
        "text": found["text"],
        "neighbours": _neighbours(found["neighbours"]),
        "similarity": similarity(found["similarity"]),
        "groups": _groups(found["groups"]),
        "schemes": [(each["name"], KINDS[each["kind"]]) for each in found["schemes"]],
        "maps": [_map_name(place, each) for place, each in enumerate(found["maps"], 1)],
        "heads": _heads(found["heads"]),
        "head_words": heads_in_words(found),
        "probe_words": probes_in_words(found),
        "positions": _positions(found["positions"]),
        "snapshots": _snapshots(found["snapshots"]),
        "step": found["step"],
        "step_words": step_in_words(found["step"]),
        "parts": _parts(found["step"]["parts"]),
        "steps": _step_rows(found["step"]["positions"]),
    }


def lede(found: Row) -> str:
    """What was looked at, in two sentences."""
    tokens = found["train_tokens"]
    trained = f", trained on {formatting.count(tokens)} tokens" if tokens else ", not trained here"
    return (
        f"{found['architecture']} with {formatting.count(found['parameters'])} parameters on {found['dataset']} "
        f"({found['kind']}){trained}. Measured on {found['examples']} test examples that the run recorded, and on one "
        "text that is shown in full."
    )


def similarity(found: Row | None) -> str:
    """Whether similar tokens have similar embeddings, as a sentence."""
    if found is None:
        return "Too few of this vocabulary's tokens are known to be used alike for a test."
    inside = f"{found['lower']:.3f} to {found['upper']:.3f}".replace("-", "\N{MINUS SIGN}")
    close = found["p"] < 0.05
    verdict = (
        "Tokens that are used alike do have more similar embeddings" if close else "That is within what chance gives"
    )
    return (
        f"{found['pairs']:,} pairs of tokens that are used alike have a mean cosine of "
        f"{formatting.value(found['within'])}. Dealt out anew among tokens of like frequency, 95% of the time it is "
        f"{inside}. {verdict} (p {'< 0.001' if found['p'] < 0.001 else '= ' + format(found['p'], '.3f')}, one-sided)."
    )


def heads_in_words(found: Row) -> str:
    """How many heads have a role, and which one the score needs most."""
    heads = found["heads"]
    roles = [head["role"] for head in heads if head["role"] != "mixed"]
    listed = formatting.listing(f"{roles.count(role)} {role}" for role in dict.fromkeys(roles))
    most = max(heads, key=lambda head: head["loss"])
    spare = sum(head["loss"] - 2 * head["error"] <= 0 for head in heads)
    return (
        f"{len(heads)} heads: {listed + '; ' if listed else ''}{len(heads) - len(roles)} mixed. The loss needs "
        f"{inside_panels.head_name(most)} most: without it, it rises by {formatting.value(most['loss'])} "
        f"{found['loss_name']}." + f" Without {spare} of the others it does not rise for sure." * bool(spare)
    )


def probes_in_words(found: Row) -> list[str]:
    """For each question where along the layers it is best answered."""
    sentences = []
    for axis, question in dict.fromkeys((row["axis"], row["question"]) for row in found["probes"]):
        rows = [row for row in found["probes"] if (row["axis"], row["question"]) == (axis, question)]
        best = max(rows, key=lambda row: row["accuracy"])
        where = {"both": "", "source": " of the source", "target": " of the target"}[axis]
        sentences.append(
            f"{question}{where}: best read from the {best['layer']} ({formatting.value(best['accuracy'], 2)}; at the "
            f"embedding {formatting.value(rows[0]['accuracy'], 2)}, chance {formatting.value(best['chance'], 2)})"
        )
    return sentences


def step_in_words(step: Row) -> str:
    """What one step of gradient descent did to the shown example."""
    rows = step["positions"]
    better = sum(row["after"] > row["before"] for row in rows)
    return (
        f"The loss of the example was {formatting.value(step['loss'])} nats per token. The gradient is as long as "
        f"{formatting.number(step['gradient'])}, the weights as long as {formatting.number(step['weights'])}. All of "
        f"them moved against the gradient by {100 * step['share']:.0f}% of their length (a learning rate of "
        f"{formatting.number(step['rate'])}). Afterwards the loss is {formatting.value(step['loss_after'])}, and the "
        f"right token is likelier than before at {better} of {len(rows)} positions."
    )


def _figures(found: Row) -> Iterator[Figure]:
    drawn = [
        *_maps(found),
        _removed(found),
        _projected(found),
        *_schemes(found),
        _norms(found),
        _probed(found),
        _right(found),
        _step(found),
    ]
    yield from (figure for figure in drawn if figure.panels)


def _figure(key: str, title: str, caption: str, panels: Sequence[Panel], numbers: Sequence[Row]) -> Figure:
    return Figure(key, title, caption, tuple(panels), (), pd.DataFrame(list(numbers)), keyed=False)


def _map_name(place: int, found: Row) -> str:
    return f"attention_{place:02d}_{found['part']}"


def _maps(found: Row) -> Iterator[Figure]:
    """A figure for each attention of each layer, a panel for each head."""
    roles = {(head["layer"], head["part"], head["head"]): head for head in found["heads"]}
    for place, each in enumerate(found["maps"], 1):
        panels, numbers = [], []
        for head, weights in enumerate(each["weights"]):
            role = roles[each["layer"], each["part"], head]["role"]
            panels.append(
                Panel(
                    f"head {head + 1}",
                    role,
                    4.4,
                    partial(inside_panels.attention, weights=weights, queries=each["queries"], keys=each["keys"]),
                    f"Attention of {each['layer']}, {each['part']}, head {head + 1}: {role}",
                )
            )
            numbers += [
                {
                    "head": head + 1,
                    "query": q,
                    "key": k,
                    "query_token": query,
                    "key_token": key,
                    "weight": weights[q][k],
                }
                for q, query in enumerate(each["queries"])
                for k, key in enumerate(each["keys"])
            ]
        part = "cross-attention" if each["part"] == "cross" else "self-attention"
        caption = f"{each['layer']}, {part}: rows attend to columns; the area of a square is the weight."
        yield _figure(_map_name(place, each), f"{each['layer']}, {part}", caption, panels, numbers)


def _removed(found: Row) -> Figure:
    heads = found["heads"]

    def draw(axes: Axes) -> None:
        inside_panels.heads(axes, heads)
        axes.set_xlabel(found["loss_name"])

    panel = Panel("Rise of the loss without each head", "", 0.9 + 0.26 * len(heads), draw, heads_in_words(found))
    caption = (
        "How much the loss on test examples rises when the head adds nothing (bars: two standard errors over "
        "examples). Green: cross-attention. At the right the head's role, if it has one."
    )
    numbers = [
        {
            **{key: head[key] for key in ("layer", "part", "head", "role", "loss", "error")},
            **{f"share of {key}": value for key, value in head["shares"].items()},
            **{f"even {key}": value for key, value in head["even"].items()},
        }
        for head in heads
    ]
    return _figure("heads", "Heads", caption, [panel] if heads else [], numbers)


def _projected(found: Row) -> Figure:
    points, share = found["projection"]["points"], found["projection"]["share"]
    panel = Panel(
        "The most frequent tokens",
        f"on the two main axes: {100 * share:.0f}% of the variance",
        5.6,
        partial(inside_panels.projection, points=points),
        f"Embeddings of {len(points)} tokens, projected",
    )
    caption = "Principal components of the embeddings; colours are groups of tokens that are used alike."
    return _figure("embeddings", "Embeddings", caption, [panel] if len(points) > 2 else [], points)


def _schemes(found: Row) -> Iterator[Figure]:
    for place, each in enumerate(found["schemes"], 1):
        title, kind = each["name"], each["kind"]
        key = f"positions_{place:02d}"
        if kind == "added":
            panels = [
                _squares("Vectors", each["values"], "channel", "position"),
                _squares("How alike positions are", each["alike"], "position", "position"),
            ]
            caption = "What is added at each position (first channels), and the cosine between positions."
            numbers = _cells(each["values"], "position", "channel", "value")
        elif kind == "rotation":
            panels = [_squares("Cosine of the angle", each["values"], "pair of channels", "distance")]
            caption = (
                "By how much the product of a query and a key is turned at a distance, for each pair of channels: the "
                "first pairs tell neighbours apart, the last ones far places."
            )
            numbers = _cells(each["values"], "distance", "pair", "cosine")
        elif kind == "bias":
            draw = partial(inside_panels.biases, values=each["values"], first=each["first"])
            panels = [Panel("Bias by distance", "", 3.2, draw, f"{title}: bias of each head by distance")]
            caption = "What each head adds to its scores by distance; negative distances are earlier tokens."
            numbers = _cells(each["values"], "head", "distance", "bias", 1, each["first"])
        else:
            continue
        yield _figure(key, title, caption, panels, numbers)


def _squares(title: str, values: Sequence[Sequence[float]], x_label: str, y_label: str) -> Panel:
    draw = partial(inside_panels.squares, values=values, x_label=x_label, y_label=y_label)
    return Panel(title, "blue above zero, vermillion below", 4.6, draw, f"{title}, by {y_label} and {x_label}")


def _cells(
    values: Sequence[Sequence[float]], rows: str, columns: str, cell: str, row: int = 0, column: int = 0
) -> list[Row]:
    return [
        {rows: i + row, columns: j + column, cell: value}
        for i, line in enumerate(values)
        for j, value in enumerate(line)
    ]


def _norms(found: Row) -> Figure:
    panels = []
    for axis in dict.fromkeys(row["axis"] for row in found["norms"]):
        rows = [row for row in found["norms"] if row["axis"] == axis]
        ticks = list(dict.fromkeys(row["layer"] for row in rows))
        lines = _by_layer(rows, ticks, "part", "norm")
        draw = partial(inside_panels.lines, found=lines, ticks=ticks, y_label="length (mean over positions)")
        panels.append(Panel(_axis(axis), "", 3.2, draw, f"Length of the residual stream by layer, {_axis(axis)}"))
    caption = "The residual stream after each layer, and what its sublayers add to it."
    return _figure("stream", "Residual stream", caption, panels, found["norms"])


def _probed(found: Row) -> Figure:
    panels = []
    for axis in dict.fromkeys(row["axis"] for row in found["probes"]):
        rows = [row for row in found["probes"] if row["axis"] == axis]
        ticks = list(dict.fromkeys(row["layer"] for row in rows))
        lines, chance = (_by_layer(rows, ticks, "question", value) for value in ("accuracy", "chance"))

        def draw(axes: Axes, lines: Any = lines, chance: Any = chance, ticks: Any = ticks) -> None:
            inside_panels.lines(axes, lines, ticks, "accuracy on other examples")
            inside_panels.chances(axes, chance)
            axes.set_ylim(0, 1.03)

        panels.append(Panel(_axis(axis), "", 3.4, draw, f"What a linear probe reads by layer, {_axis(axis)}"))
    caption = (
        "A linear classifier for each layer, fitted on two thirds of the examples and judged on the others, of the "
        "20 most frequent answers. Dotted: always naming the most frequent one."
    )
    return _figure("probes", "Linear probes", caption, panels, found["probes"])


def _by_layer(rows: Sequence[Row], ticks: Sequence[str], key: str, value: str) -> dict[str, list[float]]:
    found = {str(row[key]): [float("nan")] * len(ticks) for row in rows}
    for row in rows:
        found[str(row[key])][ticks.index(row["layer"])] = row[value]
    return found


def _axis(axis: str) -> str:
    return {"both": "source and target", "source": "source", "target": "target"}[axis]


def _right(found: Row) -> Figure:
    rows = found["positions"][:MOST_POSITIONS]
    draw = partial(inside_panels.right_tokens, rows=rows)
    panel = Panel("The right token", "", 3.2, draw, "Probability of the right token at each position")
    numbers = [{key: row[key] for key in ("place", "token", "probability", "entropy")} for row in found["positions"]]
    caption = "The probability of the right token at every position of the target, all tokens before it given."
    return _figure("next", "Next token", caption, [panel] if rows else [], numbers)


def _step(found: Row) -> Figure:
    rows = found["step"]["positions"][:MOST_POSITIONS]
    draw = partial(inside_panels.before_and_after, rows=rows)
    panel = Panel("One gradient step", "", 3.2, draw, "Probability of the right token before and after one step")
    caption = "The probability of the right token at every position, before and after one step on this very example."
    return _figure("step", "One gradient step", caption, [panel] if rows else [], found["step"]["positions"])


def _neighbours(rows: Sequence[Row]) -> Grid:
    head = (name("token"), name("nearest, by cosine"))
    listed = (
        "  ".join(f"{token} {formatting.value(cosine, 2)}" for token, cosine in row["neighbours"]) for row in rows
    )
    return Grid(head, tuple((name(row["token"]), name(near)) for row, near in zip(rows, listed, strict=True)))


def _groups(rows: Sequence[Row]) -> Grid:
    head = (name("group"), name("tokens"), Entry("times"))
    times = (Entry(formatting.count(row["times"])) for row in rows)
    cells = ((name(row["group"]), name("  ".join(row["tokens"]))) for row in rows)
    return Grid(head, tuple((*cell, time) for cell, time in zip(cells, times, strict=True)))


def _heads(rows: Sequence[Row]) -> Grid:
    patterns = list(dict.fromkeys(pattern for row in rows for pattern in row["shares"]))
    head = (name("head"), name("role"), *(Entry(pattern, "evenly") for pattern in patterns), Entry("loss without it"))
    cells = [
        (
            name(inside_panels.head_name(row)),
            name(row["role"]),
            *(_share(row, pattern) for pattern in patterns),
            Entry(f"{formatting.value(row['loss'])} ± {formatting.value(2 * row['error'])}"),
        )
        for row in rows
    ]
    return Grid(head, tuple(cells))


def _share(row: Row, pattern: str) -> Entry:
    if pattern not in row["shares"]:
        return Entry(formatting.MISSING)
    kind = "strong" if row["role"] == pattern else ""
    return Entry(formatting.value(row["shares"][pattern], 2), formatting.value(row["even"][pattern], 2), kind)


def _positions(rows: Sequence[Row]) -> Grid:
    rules = list(rows[0]["rules"]) if rows else []
    head = (Entry(""), name("right token"), Entry("its probability"), name("model"), *(name(rule) for rule in rules))
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
    head = (name("weights"), Entry("loss"), name("likeliest first tokens"), name("answer"))
    cells = [
        (name(row["when"]), Entry(formatting.value(row["loss"])), name(_likeliest(row["first"])), name(row["answer"]))
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


def _step_rows(rows: Sequence[Row]) -> Grid:
    head = (Entry(""), name("right token"), name("guess"), Entry("before"), Entry("after"), name("guess after"))
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
