"""The figures of the inspection page, and the numbers behind them."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Final

import pandas as pd
from matplotlib.axes import Axes

from archbench.inspection.facts import Row, together
from archbench.inspection.pages import drawing, words
from archbench.reports.figures.canvas.drawing import Panel
from archbench.reports.figures.figure import Figure
from archbench.tasks.base.example import MASK, SPECIALS

MOST_POSITIONS: Final = 40
HIDDEN: Final = SPECIALS[MASK]
AXES: Final = {"both": "source and target", "source": "source", "target": "target"}


def figures(inspection: Row) -> Iterator[Figure]:
    kinds = (_maps, _removed, _projected, _schemes, _norms, _probed, _right, _training, _step)
    yield from (figure for kind in kinds for figure in kind(inspection) if figure.panels)


def _figure(key: str, title: str, caption: str, panels: Sequence[Panel], numbers: Sequence[Row]) -> Figure:
    """A figure with these panels; without ``numbers`` there is nothing to draw."""
    return Figure(
        name=key,
        title=title,
        caption=caption,
        panels=tuple(panels) if numbers else (),
        numbers=pd.DataFrame(list(numbers)),
        keyed=False,
        coloured=False,
    )


def _panel(title: str, height: float, description: str, draw: Callable[[Axes], None], below: str = "") -> Panel:
    return Panel(title=title, below=below, height=height, draw=draw, description=description)


def map_name(number: int, inspection: Row) -> str:
    return f"attention_{number:02d}_{inspection['part']}"


def most_important_map(inspection: Row) -> str:
    """The name of the figure with the head that the score needs most; empty without attention heads."""
    most: Row = max(inspection["heads"], key=lambda head: float(head["loss"]), default={})
    site = most.get("layer"), most.get("part")
    numbered = enumerate(inspection["maps"], 1)
    return next((map_name(number, entry) for number, entry in numbered if (entry["layer"], entry["part"]) == site), "")


def _maps(inspection: Row) -> Iterator[Figure]:
    """A figure for each attention of each layer, a panel for each head."""
    roles = {(head["layer"], head["part"], head["head"]): head["role"] for head in inspection["heads"]}
    for number, attention in enumerate(inspection["maps"], 1):
        layer, part = attention["layer"], attention["part"]
        named = [roles[layer, part, head] for head in range(len(attention["weights"]))]
        title = f"{layer}, {'cross-attention' if part == 'cross' else 'self-attention'}"
        caption = (
            f"{title}: queries (rows) attend to keys (columns); the area of a square is the "
            f"attention weight.{words.left_out(attention)}"
        )
        panels = [_map(attention, head, role) for head, role in enumerate(named)]
        yield _figure(map_name(number, attention), title, caption, panels, _weights(attention))


def _map(attention: Row, head: int, role: str) -> Panel:
    rows, columns = (
        slice(*(end - first for end in drawn))
        for drawn, first in zip(attention["drawn"], attention["first"], strict=True)
    )
    weights = [row[columns] for row in attention["weights"][head][rows]]
    queries, keys = _numbered(attention["queries"])[rows], _numbered(attention["keys"])[columns]
    description = f"Attention of {attention['layer']}, {attention['part']}, head {head + 1}: {role}"
    draw = partial(drawing.attention, weights=weights, queries=queries, keys=keys)
    return _panel(f"head {head + 1}", 4.8, description, draw, role)


def _weights(attention: Row) -> list[Row]:
    first_query, first_key = attention["first"]
    return [
        {"head": head, "query": q, "key": k, "query_token": query, "key_token": key, "weight": weight}
        for head, weights in enumerate(attention["weights"], 1)
        for (q, query), row in zip(enumerate(attention["queries"], first_query), weights, strict=True)
        for (k, key), weight in zip(enumerate(attention["keys"], first_key), row, strict=True)
    ]


def _numbered(tokens: Sequence[str]) -> list[str]:
    """The tokens; where several cells are hidden each has its number, so that they can be distinguished."""
    hidden = [index for index, token in enumerate(tokens) if token == HIDDEN]
    named = {index: f"{HIDDEN} {number}" for number, index in enumerate(hidden, 1) if len(hidden) > 1}
    return [named.get(index, token) for index, token in enumerate(tokens)]


def _removed(inspection: Row) -> Iterator[Figure]:
    heads = inspection["heads"]
    draw = partial(drawing.heads, rows=heads, x_label=inspection["loss_name"])
    height, description = 0.9 + 0.26 * len(heads), words.heads_in_words(inspection)
    panel = _panel("Loss increase without each head", height, description, draw)
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
    yield _figure("heads", "Heads", caption, [panel], numbers)


def _projected(inspection: Row) -> Iterator[Figure]:
    points, share = inspection["projection"]["points"], inspection["projection"]["share"]
    below = f"on the first two principal components: {100 * share:.0f}% of the variance"
    description, draw = f"Embeddings of {len(points)} tokens, projected", partial(drawing.projection, points=points)
    panel = _panel("The most frequent tokens", 5.6, description, draw, below)
    caption = (
        "Principal components of the embeddings; colours: groups of tokens with similar use. Some dots "
        "have no label for lack of space; the CSV file names all."
    )
    yield _figure("embeddings", "Embeddings", caption, [panel] if len(points) > 2 else [], points)


def _schemes(inspection: Row) -> Iterator[Figure]:
    known = {"added": _added, "rotation": _rotated, "bias": _biased}
    for number, scheme in enumerate(inspection["schemes"], 1):
        if scheme["kind"] in known:
            yield _figure(f"positions_{number:02d}", scheme["name"], *known[scheme["kind"]](scheme))


Content = tuple[str, Sequence[Panel], Sequence[Row]]  # caption, panels and numbers


def _added(scheme: Row) -> Content:
    panels = [
        _squares("Vectors", scheme["values"], "channel", "position"),
        _squares("Similarity of positions", scheme["alike"], "position", "position"),
    ]
    caption = "The vector added at each position (first channels), and the cosine between positions."
    return caption, panels, cells(scheme["values"], "position", "channel", "value")


def _rotated(scheme: Row) -> Content:
    panels = [_squares("Cosine of the angle", scheme["values"], "pair of channels", "distance")]
    caption = (
        "The rotation between a query and a key by distance, for each pair of channels. The first pairs "
        "distinguish neighbouring positions, the last ones distant positions."
    )
    return caption, panels, cells(scheme["values"], "distance", "pair", "cosine")


def _biased(scheme: Row) -> Content:
    values, first = scheme["values"], scheme["first"]
    description = f"{scheme['name']}: bias of each head by distance"
    panels = [_panel("Bias by distance", 3.2, description, partial(drawing.biases, values=values, first=first))]
    caption = "Bias that each head adds to attention scores, by distance. Negative: earlier tokens."
    return caption, panels, cells(values, "head", "distance", "bias", 1, first)


def _squares(title: str, values: Sequence[Sequence[float]], x_label: str, y_label: str) -> Panel:
    """A map of values, its longer side across."""
    rows, columns = len(values), len(values[0])
    if rows > columns:
        values, x_label, y_label = list(zip(*values, strict=True)), y_label, x_label
    height = 1.2 + 3.4 * min(rows, columns) / max(rows, columns)
    draw = partial(drawing.squares, values=values, x_label=x_label, y_label=y_label)
    return _panel(title, height, f"{title}, by {y_label} and {x_label}", draw, "blue above zero, vermillion below")


def cells(
    values: Sequence[Sequence[float]], rows: str, columns: str, cell: str, row: int = 0, column: int = 0
) -> list[Row]:
    """A row for each cell of a matrix: its row and column, counted from ``row`` and ``column``, and its value."""
    return [
        {rows: i + row, columns: j + column, cell: value}
        for i, line in enumerate(values)
        for j, value in enumerate(line)
    ]


def _norms(inspection: Row) -> Iterator[Figure]:
    caption = "Norm of the residual stream after each layer, and of the outputs that its sublayers add."
    panels = _by_layer(inspection["norms"], "Norm of the residual stream", 3.6, _draw_norms)
    yield _figure("stream", "Residual stream", caption, panels, inspection["norms"])


def _probed(inspection: Row) -> Iterator[Figure]:
    caption = (
        "One linear classifier per layer for the 20 most frequent answers, fitted on two thirds of the examples and "
        "tested on the rest. Dotted: always predicting the most frequent answer."
    )
    panels = _by_layer(inspection["probes"], "Accuracy of linear probes", 3.8, _draw_probes)
    yield _figure("probes", "Linear probes", caption, panels, inspection["probes"])


def _by_layer(rows: Sequence[Row], what: str, height: float, draw: Callable[..., None]) -> list[Panel]:
    """A panel for each axis, drawn from its rows and the layers, which are its ticks."""
    panels = []
    for (axis,), of_axis in together(rows, "axis").items():
        layers = list(dict.fromkeys(row["layer"] for row in of_axis))
        drawn = partial(draw, rows=of_axis, ticks=layers)
        panels.append(_panel(AXES[axis], height, f"{what} by layer, {AXES[axis]}", drawn))
    return panels


def _draw_norms(axes: Axes, rows: Sequence[Row], ticks: Sequence[str]) -> None:
    drawing.lines(axes, _lines(rows, ticks, "part", "norm"), ticks, "norm (mean over positions)")


def _draw_probes(axes: Axes, rows: Sequence[Row], ticks: Sequence[str]) -> None:
    drawing.lines(axes, _lines(rows, ticks, "question", "accuracy"), ticks, "accuracy on held-out examples")
    drawing.chances(axes, _lines(rows, ticks, "question", "chance"))
    axes.set_ylim(0, 1.03)


def _lines(rows: Sequence[Row], ticks: Sequence[str], key: str, value: str) -> dict[str, list[float]]:
    """For each ``key`` its values by layer, nan where it has none."""
    by_layer = {name: {row["layer"]: row[value] for row in own} for (name,), own in together(rows, key).items()}
    return {name: [values.get(tick, float("nan")) for tick in ticks] for name, values in by_layer.items()}


def _right(inspection: Row) -> Iterator[Figure]:
    rows, token = inspection["positions"], words.token_of(inspection["text"])
    draw = partial(drawing.right_tokens, rows=rows[:MOST_POSITIONS], token=token)
    panel = _panel(f"The {token}", 3.2, f"Probability of the {token} at each position", draw)
    numbers = [{key: row[key] for key in ("place", "token", "probability", "entropy")} for row in rows]
    caption = f"The probability of the {token} at every position of the target, given all previous tokens."
    yield _figure("next", "Next token", caption + words.beyond(rows, MOST_POSITIONS), [panel], numbers)


def _training(inspection: Row) -> Iterator[Figure]:
    rows = inspection["snapshots"]
    if not rows:
        return
    watched = list(zip(*(row["watched"] for row in rows), strict=True))  # of each token its probability in each row
    lines = {at[0]["token"] + " (correct)" * at[0]["right"]: [row["probability"] for row in at] for at in watched}
    ticks = [row["when"].removeprefix("step ").replace("as scored", "as\nscored") for row in rows]
    draw = partial(drawing.training, values_by_name=lines, ticks=ticks)
    description = "Probability of the most likely tokens over training"
    panel = _panel("The first token of the answer", 3.8, description, draw, "by training step")
    caption = (
        "Probability at each snapshot of the finally most likely tokens"
        + (" and of the correct token" if inspection["text"]["right"] else "")
        + ", at the first position of the target. The scored weights come last."
    )
    numbers = [{"when": row["when"], **token} for row in rows for token in row["watched"]]
    yield _figure("training", "The answer over training", caption, [panel], numbers)


def _step(inspection: Row) -> Iterator[Figure]:
    rows, token = inspection["step"]["positions"], words.token_of(inspection["text"])
    draw = partial(drawing.before_and_after, rows=rows[:MOST_POSITIONS], token=token)
    panel = _panel("One gradient step", 3.4, f"Probability of the {token} before and after one step", draw)
    caption = f"The probability of the {token} at every position, before and after one step on this example."
    yield _figure("step", "One gradient step", caption + words.beyond(rows, MOST_POSITIONS), [panel], rows)
