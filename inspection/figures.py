"""The figures of the inspection page, and the numbers behind them."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, Final

import pandas as pd
from matplotlib.axes import Axes

from archbench.inspection import drawing, words
from archbench.inspection.facts import Row
from archbench.reports.figures.canvas.drawing import Panel
from archbench.reports.figures.figure import Figure
from archbench.tasks.base.example import MASK, SPECIALS

MOST_POSITIONS: Final = 40
HIDDEN: Final = SPECIALS[MASK]


def figures(inspection: Row) -> Iterator[Figure]:
    drawn = [
        *_maps(inspection),
        _removed(inspection),
        _projected(inspection),
        *_schemes(inspection),
        _norms(inspection),
        _probed(inspection),
        _right(inspection),
        _training(inspection),
        _step(inspection),
    ]
    yield from (figure for figure in drawn if figure.panels)


def _figure(key: str, title: str, caption: str, panels: Sequence[Panel], numbers: Sequence[Row]) -> Figure:
    return Figure(
        name=key,
        title=title,
        caption=caption,
        panels=tuple(panels),
        architectures=(),
        numbers=pd.DataFrame(list(numbers)),
        keyed=False,
        coloured=False,
    )


def map_name(number: int, inspection: Row) -> str:
    return f"attention_{number:02d}_{inspection['part']}"


def _maps(inspection: Row) -> Iterator[Figure]:
    """A figure for each attention of each layer, a panel for each head."""
    roles = {(head["layer"], head["part"], head["head"]): head["role"] for head in inspection["heads"]}
    for number, attention in enumerate(inspection["maps"], 1):
        rows, columns = (
            slice(*(end - first for end in drawn))
            for drawn, first in zip(attention["drawn"], attention["first"], strict=True)
        )
        panels, numbers = [], []
        for head, weights in enumerate(attention["weights"]):
            role = roles[attention["layer"], attention["part"], head]
            draw = partial(
                drawing.attention,
                weights=[row[columns] for row in weights[rows]],
                queries=_numbered(attention["queries"])[rows],
                keys=_numbered(attention["keys"])[columns],
            )
            title = f"Attention of {attention['layer']}, {attention['part']}, head {head + 1}: {role}"
            panels.append(Panel(title=f"head {head + 1}", below=role, height=4.8, draw=draw, description=title))
            numbers += [
                {
                    "head": head + 1,
                    "query": q + attention["first"][0],
                    "key": k + attention["first"][1],
                    "query_token": query,
                    "key_token": key,
                    "weight": weights[q][k],
                }
                for q, query in enumerate(attention["queries"])
                for k, key in enumerate(attention["keys"])
            ]
        part = "cross-attention" if attention["part"] == "cross" else "self-attention"
        caption = (
            f"{attention['layer']}, {part}: queries (rows) attend to keys (columns); the area of a square is the "
            f"attention weight.{words.left_out(attention)}"
        )
        yield _figure(map_name(number, attention), f"{attention['layer']}, {part}", caption, panels, numbers)


def _numbered(tokens: Sequence[str]) -> list[str]:
    """The tokens; where several cells are hidden each has its number, so that they can be distinguished."""
    hidden = [index for index, token in enumerate(tokens) if token == HIDDEN]
    named = {index: f"{HIDDEN} {number}" for number, index in enumerate(hidden, 1) if len(hidden) > 1}
    return [named.get(index, token) for index, token in enumerate(tokens)]


def _removed(inspection: Row) -> Figure:
    heads = inspection["heads"]

    def draw(axes: Axes) -> None:
        drawing.heads(axes, heads)
        axes.set_xlabel(inspection["loss_name"])

    panel = Panel(
        title="Loss increase without each head",
        below="",
        height=0.9 + 0.26 * len(heads),
        draw=draw,
        description=words.heads_in_words(inspection),
    )
    caption = (
        "Increase of the loss on test examples when the head's output is removed (bars: two standard errors over "
        "examples). Green: cross-attention. At the right: the head's role, if it has one."
    )
    numbers = [
        {
            **{key: head[key] for key in ("layer", "part")},
            "head": head["head"] + 1,
            **{key: head[key] for key in ("role", "loss", "error")},
            **{f"share of {key}": value for key, value in head["shares"].items()},
            **{f"even {key}": value for key, value in head["even"].items()},
        }
        for head in heads
    ]
    return _figure("heads", "Heads", caption, [panel] if heads else [], numbers)


def _projected(inspection: Row) -> Figure:
    points, share = inspection["projection"]["points"], inspection["projection"]["share"]
    panel = Panel(
        title="The most frequent tokens",
        below=f"on the first two principal components: {100 * share:.0f}% of the variance",
        height=5.6,
        draw=partial(drawing.projection, points=points),
        description=f"Embeddings of {len(points)} tokens, projected",
    )
    caption = (
        "Principal components of the embeddings; colours: groups of tokens with similar use. Some dots "
        "have no label for lack of space; the CSV file names all."
    )
    return _figure("embeddings", "Embeddings", caption, [panel] if len(points) > 2 else [], points)


def _schemes(inspection: Row) -> Iterator[Figure]:
    for number, scheme in enumerate(inspection["schemes"], 1):
        title, kind = scheme["name"], scheme["kind"]
        key = f"positions_{number:02d}"
        if kind == "added":
            panels = [
                _squares("Vectors", scheme["values"], "channel", "position"),
                _squares("Similarity of positions", scheme["alike"], "position", "position"),
            ]
            caption = "The vector added at each position (first channels), and the cosine between positions."
            numbers = _cells(scheme["values"], "position", "channel", "value")
        elif kind == "rotation":
            panels = [_squares("Cosine of the angle", scheme["values"], "pair of channels", "distance")]
            caption = (
                "The rotation between a query and a key by distance, for each pair of channels. The first pairs "
                "distinguish neighbouring positions, the last ones distant positions."
            )
            numbers = _cells(scheme["values"], "distance", "pair", "cosine")
        elif kind == "bias":
            draw = partial(drawing.biases, values=scheme["values"], first=scheme["first"])
            panels = [
                Panel(
                    title="Bias by distance",
                    below="",
                    height=3.2,
                    draw=draw,
                    description=f"{title}: bias of each head by distance",
                )
            ]
            caption = "Bias that each head adds to attention scores, by distance. Negative: earlier tokens."
            numbers = _cells(scheme["values"], "head", "distance", "bias", 1, scheme["first"])
        else:
            continue
        yield _figure(key, title, caption, panels, numbers)


def _squares(title: str, values: Sequence[Sequence[float]], x_label: str, y_label: str) -> Panel:
    """A map of values, its longer side across."""
    rows, columns = len(values), len(values[0])
    if rows > columns:
        values, x_label, y_label = list(zip(*values, strict=True)), y_label, x_label
    height = 1.2 + 3.4 * min(rows, columns) / max(rows, columns)
    draw = partial(drawing.squares, values=values, x_label=x_label, y_label=y_label)
    return Panel(
        title=title,
        below="blue above zero, vermillion below",
        height=height,
        draw=draw,
        description=f"{title}, by {y_label} and {x_label}",
    )


def _cells(
    values: Sequence[Sequence[float]], rows: str, columns: str, cell: str, row: int = 0, column: int = 0
) -> list[Row]:
    return [
        {rows: i + row, columns: j + column, cell: value}
        for i, line in enumerate(values)
        for j, value in enumerate(line)
    ]


def _norms(inspection: Row) -> Figure:
    panels = []
    for axis in dict.fromkeys(row["axis"] for row in inspection["norms"]):
        rows = [row for row in inspection["norms"] if row["axis"] == axis]
        ticks = list(dict.fromkeys(row["layer"] for row in rows))
        lines = _by_layer(rows, ticks, "part", "norm")
        draw = partial(drawing.lines, values_by_name=lines, ticks=ticks, y_label="norm (mean over positions)")
        panels.append(
            Panel(
                title=_axis(axis),
                below="",
                height=3.6,
                draw=draw,
                description=f"Norm of the residual stream by layer, {_axis(axis)}",
            )
        )
    caption = "Norm of the residual stream after each layer, and of the outputs that its sublayers add."
    return _figure("stream", "Residual stream", caption, panels, inspection["norms"])


def _probed(inspection: Row) -> Figure:
    panels = []
    for axis in dict.fromkeys(row["axis"] for row in inspection["probes"]):
        rows = [row for row in inspection["probes"] if row["axis"] == axis]
        ticks = list(dict.fromkeys(row["layer"] for row in rows))
        lines, chance = (_by_layer(rows, ticks, "question", value) for value in ("accuracy", "chance"))

        def draw(axes: Axes, lines: Any = lines, chance: Any = chance, ticks: Any = ticks) -> None:
            drawing.lines(axes, lines, ticks, "accuracy on held-out examples")
            drawing.chances(axes, chance)
            axes.set_ylim(0, 1.03)

        panels.append(
            Panel(
                title=_axis(axis),
                below="",
                height=3.8,
                draw=draw,
                description=f"Accuracy of linear probes by layer, {_axis(axis)}",
            )
        )
    caption = (
        "One linear classifier per layer for the 20 most frequent answers, fitted on two thirds of the examples and "
        "tested on the rest. Dotted: always predicting the most frequent answer."
    )
    return _figure("probes", "Linear probes", caption, panels, inspection["probes"])


def _by_layer(rows: Sequence[Row], ticks: Sequence[str], key: str, value: str) -> dict[str, list[float]]:
    by_name = {str(row[key]): [float("nan")] * len(ticks) for row in rows}
    for row in rows:
        by_name[str(row[key])][ticks.index(row["layer"])] = row[value]
    return by_name


def _axis(axis: str) -> str:
    return {"both": "source and target", "source": "source", "target": "target"}[axis]


def _right(inspection: Row) -> Figure:
    rows, token = inspection["positions"][:MOST_POSITIONS], words.token_of(inspection["text"])
    draw = partial(drawing.right_tokens, rows=rows, token=token)
    panel = Panel(
        title=f"The {token}",
        below="",
        height=3.2,
        draw=draw,
        description=f"Probability of the {token} at each position",
    )
    numbers = [
        {key: row[key] for key in ("place", "token", "probability", "entropy")} for row in inspection["positions"]
    ]
    caption = (
        f"The probability of the {token} at every position of the target, given all previous tokens."
        f"{words.beyond(inspection['positions'], MOST_POSITIONS)}"
    )
    return _figure("next", "Next token", caption, [panel] if rows else [], numbers)


def _training(inspection: Row) -> Figure:
    rows = inspection["snapshots"]
    watched = [token["watched"] for token in rows]
    names = [token["token"] + " (correct)" * token["right"] for token in watched[0]] if rows else []
    lines = {name: [token[index]["probability"] for token in watched] for index, name in enumerate(names)}
    ticks = [row["when"].removeprefix("step ").replace("as scored", "as\nscored") for row in rows]

    def draw(axes: Axes) -> None:
        drawing.lines(axes, lines, ticks, "probability")
        top = max(value for values in lines.values() for value in values)
        axes.set_ylim(-0.04 * top, 1.04 * top)

    panel = Panel(
        title="The first token of the answer",
        below="by training step",
        height=3.8,
        draw=draw,
        description="Probability of the most likely tokens over training",
    )
    caption = (
        "Probability at each snapshot of the finally most likely tokens"
        + (" and of the correct token" if inspection["text"]["right"] else "")
        + ", at the first position of the target. The scored weights come last."
    )
    numbers = [{"when": row["when"], **token} for row in rows for token in row["watched"]]
    return _figure("training", "The answer over training", caption, [panel] if rows else [], numbers)


def _step(inspection: Row) -> Figure:
    every, token = inspection["step"]["positions"], words.token_of(inspection["text"])
    rows = every[:MOST_POSITIONS]
    draw = partial(drawing.before_and_after, rows=rows, token=token)
    panel = Panel(
        title="One gradient step",
        below="",
        height=3.4,
        draw=draw,
        description=f"Probability of the {token} before and after one step",
    )
    caption = (
        f"The probability of the {token} at every position, before and after one step on this example."
        f"{words.beyond(every, MOST_POSITIONS)}"
    )
    return _figure("step", "One gradient step", caption, [panel] if rows else [], every)
