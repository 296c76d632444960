"""The figures of the page that looks inside a run, and the numbers behind them."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, Final

import pandas as pd
from matplotlib.axes import Axes

from archbench.reports.figures.drawing import Panel
from archbench.reports.figures.figures import Figure
from archbench.reports.inspection import inside_panels, inside_words
from archbench.runs.base.store import Row

MOST_POSITIONS: Final = 40
HIDDEN: Final = "<mask>"  # how a hidden cell is spelled


def figures(found: Row) -> Iterator[Figure]:
    drawn = [
        *_maps(found),
        _removed(found),
        _projected(found),
        *_schemes(found),
        _norms(found),
        _probed(found),
        _right(found),
        _training(found),
        _step(found),
    ]
    yield from (figure for figure in drawn if figure.panels)


def _figure(key: str, title: str, caption: str, panels: Sequence[Panel], numbers: Sequence[Row]) -> Figure:
    return Figure(key, title, caption, tuple(panels), (), pd.DataFrame(list(numbers)), keyed=False)


def map_name(place: int, found: Row) -> str:
    return f"attention_{place:02d}_{found['part']}"


def _maps(found: Row) -> Iterator[Figure]:
    """A figure for each attention of each layer, a panel for each head."""
    roles = {(head["layer"], head["part"], head["head"]): head["role"] for head in found["heads"]}
    for place, each in enumerate(found["maps"], 1):
        rows, columns = (
            slice(*(end - first for end in drawn)) for drawn, first in zip(each["drawn"], each["first"], strict=True)
        )
        panels, numbers = [], []
        for head, weights in enumerate(each["weights"]):
            role = roles[each["layer"], each["part"], head]
            draw = partial(
                inside_panels.attention,
                weights=[row[columns] for row in weights[rows]],
                queries=_numbered(each["queries"])[rows],
                keys=_numbered(each["keys"])[columns],
            )
            said = f"Attention of {each['layer']}, {each['part']}, head {head + 1}: {role}"
            panels.append(Panel(f"head {head + 1}", role, 4.8, draw, said))
            numbers += [
                {
                    "head": head + 1,
                    "query": q + each["first"][0],
                    "key": k + each["first"][1],
                    "query_token": query,
                    "key_token": key,
                    "weight": weights[q][k],
                }
                for q, query in enumerate(each["queries"])
                for k, key in enumerate(each["keys"])
            ]
        part = "cross-attention" if each["part"] == "cross" else "self-attention"
        caption = (
            f"{each['layer']}, {part}: rows attend to columns; the area of a square is the weight."
            f"{inside_words.left_out(each)}"
        )
        yield _figure(map_name(place, each), f"{each['layer']}, {part}", caption, panels, numbers)


def _numbered(tokens: Sequence[str]) -> list[str]:
    """The tokens, with its number behind each cell that is hidden where there are several: they look alike else."""
    places = [place for place, token in enumerate(tokens) if token == HIDDEN]
    named = {place: f"{HIDDEN} {number}" for number, place in enumerate(places, 1) if len(places) > 1}
    return [named.get(place, token) for place, token in enumerate(tokens)]


def _removed(found: Row) -> Figure:
    heads = found["heads"]

    def draw(axes: Axes) -> None:
        inside_panels.heads(axes, heads)
        axes.set_xlabel(found["loss_name"])

    panel = Panel(
        "Rise of the loss without each head", "", 0.9 + 0.26 * len(heads), draw, inside_words.heads_in_words(found)
    )
    caption = (
        "How much the loss on test examples rises when the head adds nothing (bars: two standard errors over "
        "examples). Green: cross-attention. At the right the head's role, if it has one."
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


def _projected(found: Row) -> Figure:
    points, share = found["projection"]["points"], found["projection"]["share"]
    panel = Panel(
        "The most frequent tokens",
        f"on the two main axes: {100 * share:.0f}% of the variance",
        5.6,
        partial(inside_panels.projection, points=points),
        f"Embeddings of {len(points)} tokens, projected",
    )
    caption = (
        "Principal components of the embeddings; colours are groups of tokens that are used alike. Dots without a name "
        "had no room for one; the numbers name all."
    )
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
        panels.append(Panel(_axis(axis), "", 3.6, draw, f"Length of the residual stream by layer, {_axis(axis)}"))
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

        panels.append(Panel(_axis(axis), "", 3.8, draw, f"What a linear probe reads by layer, {_axis(axis)}"))
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
    rows, token = found["positions"][:MOST_POSITIONS], inside_words.token_of(found["text"])
    draw = partial(inside_panels.right_tokens, rows=rows, token=token)
    panel = Panel(f"The {token}", "", 3.2, draw, f"Probability of the {token} at each position")
    numbers = [{key: row[key] for key in ("place", "token", "probability", "entropy")} for row in found["positions"]]
    caption = (
        f"The probability of the {token} at every position of the target, all tokens before it given."
        f"{inside_words.beyond(found['positions'], MOST_POSITIONS)}"
    )
    return _figure("next", "Next token", caption, [panel] if rows else [], numbers)


def _training(found: Row) -> Figure:
    rows = found["snapshots"]
    watched = [each["watched"] for each in rows]
    names = [each["token"] + " (right)" * each["right"] for each in watched[0]] if rows else []
    lines = {name: [each[place]["probability"] for each in watched] for place, name in enumerate(names)}
    ticks = [row["when"].removeprefix("step ").replace("as scored", "as\nscored") for row in rows]

    def draw(axes: Axes) -> None:
        inside_panels.lines(axes, lines, ticks, "probability")
        top = max(value for values in lines.values() for value in values)
        axes.set_ylim(-0.04 * top, 1.04 * top)

    panel = Panel(
        "The first token of the answer",
        "by training step",
        3.8,
        draw,
        "Probability of the likeliest tokens over training",
    )
    caption = (
        "What the model gave, at each kept step of training, to the tokens that it finds likeliest in the end"
        + (" and to the right one" if found["text"]["right"] else "")
        + ", at the first position of the target. The weights that were scored come last."
    )
    numbers = [{"when": row["when"], **each} for row in rows for each in row["watched"]]
    return _figure("training", "The answer over training", caption, [panel] if rows else [], numbers)


def _step(found: Row) -> Figure:
    every, token = found["step"]["positions"], inside_words.token_of(found["text"])
    rows = every[:MOST_POSITIONS]
    draw = partial(inside_panels.before_and_after, rows=rows, token=token)
    panel = Panel("One gradient step", "", 3.4, draw, f"Probability of the {token} before and after one step")
    caption = (
        f"The probability of the {token} at every position, before and after one step on this very example."
        f"{inside_words.beyond(every, MOST_POSITIONS)}"
    )
    return _figure("step", "One gradient step", caption, [panel] if rows else [], every)
