"""Draws one panel of the inspection page."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike, NDArray

from archbench.inspection.facts import Row
from archbench.reports.figures.canvas.palette import hue, ink, label, paper, quiet, rule

LINES: Final = ("blue", "vermillion", "green", "purple", "orange", "sky")
_FAINT: Final = 0.02  # attention weights below are not drawn
_SMALL, _NAME = 7.5, 8.0
PLANE: Final = (250.0, 270.0)  # points across the dots of a projection, in the narrowest drawing of it


def attention(axes: Axes, weights: Sequence[Sequence[float]], queries: Sequence[str], keys: Sequence[str]) -> None:
    """A square for each weight, its area the weight; queries are rows, keys columns."""
    at = np.asarray(weights)
    squares(axes, np.where(at >= _FAINT, at, 0.0), "attended to", "attends", top=1.0)
    _name_columns(axes, [label(key, 12) for key in keys])
    axes.set_yticks(range(len(queries)), [label(query, 12) for query in queries], fontsize=_SMALL)
    axes.tick_params(length=0, pad=2)
    axes.grid(color=rule(), linewidth=0.3)


def heads(axes: Axes, rows: Sequence[Row], x_label: str) -> None:
    """A row for each head: the loss increase without it with two standard errors, and its role at the right."""
    for y, row in enumerate(rows):
        colour = hue("blue") if row["part"] == "self" else hue("green")
        axes.plot([row["loss"] - 2 * row["error"], row["loss"] + 2 * row["error"]], [y] * 2, color=colour, linewidth=2)
        axes.plot(row["loss"], y, marker="o", color=colour, markeredgecolor=paper(), markersize=6.5)
        axes.annotate(
            row["role"], (1, y), (6, 0), ("axes fraction", "data"), "offset points", va="center", color=quiet()
        )
    axes.axvline(0, color=quiet(), linewidth=0.9)
    axes.set_yticks(range(len(rows)), [head_name(row) for row in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color=rule(), linewidth=0.6)
    axes.set_xlabel(x_label)


def head_name(row: Row) -> str:
    """``decoder layer 2, cross, head 1``: heads count from 1."""
    cross = ", cross" if row["part"] == "cross" else ""
    return f"{row['layer']}{cross}, head {row['head'] + 1}"


def lines(axes: Axes, values_by_name: Mapping[str, Sequence[float]], ticks: Sequence[str], y_label: str) -> None:
    """A line for each name over the same ticks; the legend is below and covers no line."""
    for index, (name, values) in enumerate(values_by_name.items()):
        colour, x = hue(LINES[index % len(LINES)]), np.flatnonzero(np.isfinite(values))
        y = np.asarray(values)[x]
        axes.plot(x, y, color=colour, linewidth=1.6, marker="o", markersize=5, markeredgecolor=paper(), label=name)
    axes.set_xticks(range(len(ticks)), [tick.replace(" layer", "\nlayer") for tick in ticks])
    axes.set(xlim=(-0.3, len(ticks) - 0.7), ylabel=y_label)
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.grid(color=rule(), linewidth=0.6)
    if len(values_by_name) > 1:
        _legend_below(axes, -0.2)


def chances(axes: Axes, values_by_name: Mapping[str, Sequence[float]]) -> None:
    """The dotted line of chance below each line of ``lines``, in its colour."""
    for index, values in enumerate(values_by_name.values()):
        axes.plot(range(len(values)), values, color=hue(LINES[index % len(LINES)]), linewidth=1, linestyle=":")


def training(axes: Axes, values_by_name: Mapping[str, Sequence[float]], ticks: Sequence[str]) -> None:
    """A line for each token over training, from zero to the greatest probability."""
    lines(axes, values_by_name, ticks, "probability")
    top = max(value for values in values_by_name.values() for value in values)
    axes.set_ylim(-0.04 * top, 1.04 * top)


def _legend_below(axes: Axes, height: float) -> None:
    axes.legend(frameon=False, fontsize=8.5, loc="upper center", bbox_to_anchor=(0.5, height), ncols=3)


def projection(axes: Axes, points: Sequence[Row]) -> None:
    """Tokens where two axes put them; those of the groups with most tokens in the colour of their group."""
    sizes = Counter(point["group"] for point in points if point["group"])
    visible = [name for name, _ in sizes.most_common(len(LINES))]
    looks = [_group_look(point["group"], visible) for point in points]
    xs, ys = (np.array([point[axis] for point in points]) for axis in ("x", "y"))
    for x, y, (colour, _) in zip(xs, ys, looks, strict=True):
        axes.plot(x, y, "o", color=colour, markersize=3)
    names = [label(point["token"], 12) for point in points]
    for index, (shift, side) in named(_points(xs, PLANE[0]), _points(ys, PLANE[1]), names).items():
        colour, weight = looks[index]
        look: dict[str, Any] = {"fontsize": _NAME, "color": colour, "fontweight": weight, "textcoords": "offset points"}
        axes.annotate(names[index], (xs[index], ys[index]), (shift, side), ha="center", va="center", **look)
    for index, name in enumerate(visible):
        axes.plot([], [], marker="s", linestyle="none", color=hue(LINES[index]), label=label(name))
    axes.set(xlim=_around(xs), ylim=_around(ys))
    axes.set(xlabel="first principal component", ylabel="second principal component")
    axes.grid(color=rule(), linewidth=0.6)
    if visible:
        _legend_below(axes, -0.12)


def _around(values: NDArray[Any]) -> tuple[float, float]:
    room = 0.08 * np.ptp(values) + 1e-6
    return min(values) - room, max(values) + room


def _group_look(group: str, visible: Sequence[str]) -> tuple[str, str]:
    return (hue(LINES[visible.index(group)]), "bold") if group in visible else (quiet(), "normal")


def _points(values: NDArray[Any], width: float) -> NDArray[Any]:
    """Values spread over so many points."""
    sizes: NDArray[Any] = (values - values.min()) / (np.ptp(values) or 1.0) * width
    return sizes


def named(x: NDArray[Any], y: NDArray[Any], names: Sequence[str]) -> dict[int, tuple[float, float]]:
    """How far from its place (in points) the middle of each name stands; names that no side has room for are left out.

    Earlier names come first. No name covers another one or the dot of another.
    """
    taken = [(a - 2, b - 2, a + 2, b + 2) for a, b in zip(x, y, strict=True)]
    positions = {}
    for index, name in enumerate(names):
        half, high = 0.36 * _NAME * len(name), 0.6 * _NAME
        for right, up in ((half + 4, 0.0), (-half - 4, 0.0), (0.0, high + 3), (0.0, -high - 3)):
            at, level = x[index] + right, y[index] + up
            box = (at - half, level - high, at + half, level + high)
            if not any(_meet(box, other) for i, other in enumerate(taken) if i != index):
                taken.append(box)
                positions[index] = (float(right), float(up))
                break
    return positions


def _meet(box: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return box[0] < other[2] and other[0] < box[2] and box[1] < other[3] and other[1] < box[3]


def squares(axes: Axes, values: ArrayLike, x_label: str, y_label: str, top: float | None = None) -> None:
    """A square for each value: its area the size, blue above zero, vermillion below; one of size ``top`` fills a cell.

    Without ``top`` the largest does.
    """
    at = np.asarray(values)
    top = top or np.abs(at).max() or 1.0
    side = 72 * 3.2 / max(at.shape)  # points across a cell
    for sign, colour in ((1, "blue"), (-1, "vermillion")):
        rows, columns = np.nonzero(np.sign(at) == sign)
        sizes = np.abs(at[rows, columns]) / top * side**2
        axes.scatter(columns, rows, s=sizes, marker="s", color=hue(colour), linewidths=0)
    axes.set(xlim=(-0.7, at.shape[1] - 0.3), ylim=(at.shape[0] - 0.3, -0.7), aspect="equal")
    axes.set(xlabel=x_label, ylabel=y_label)


def biases(axes: Axes, values: Sequence[Sequence[float]], first: int) -> None:
    """Draw what each head adds to a score, by distance."""
    for head, row in enumerate(values):
        distances = range(first, first + len(row))
        axes.plot(distances, row, color=hue(LINES[head % len(LINES)]), linewidth=1.6, label=f"head {head + 1}")
    axes.set(xlabel="distance: key minus query", ylabel="added to the attention score")
    axes.grid(color=rule(), linewidth=0.6)
    axes.legend(frameon=False, fontsize=8.5)


def right_tokens(axes: Axes, rows: Sequence[Row], token: str) -> None:
    """The probability of the target's token at every position; ``token`` says what it is called."""
    axes.bar(range(len(rows)), [row["probability"] for row in rows], color=hue("blue"), width=0.7)
    _tokens(axes, rows, token)


def before_and_after(axes: Axes, rows: Sequence[Row], token: str) -> None:
    """The probability of the target's token before and after one step, at every position."""
    for position, row in enumerate(rows):
        axes.plot([position] * 2, [row["before"], row["after"]], color=quiet(), linewidth=1.2, zorder=1)
    at = range(len(rows))
    axes.plot(at, [row["before"] for row in rows], "o", color=paper(), markeredgecolor=ink(), label="before")
    axes.plot(at, [row["after"] for row in rows], "o", color=hue("blue"), markeredgecolor=paper(), label="after")
    _tokens(axes, rows, token)
    axes.legend(frameon=False, fontsize=8.5, loc="lower right", bbox_to_anchor=(1, 1), ncols=2, borderaxespad=0)


def _tokens(axes: Axes, rows: Sequence[Row], token: str) -> None:
    _name_columns(axes, [label(row["token"], 10) for row in rows])
    axes.set(xlim=(-0.7, max(len(rows) - 0.3, 0.7)), ylim=(0, 1.03), ylabel=f"probability of the {token}")
    axes.grid(axis="y", color=rule(), linewidth=0.6)


def _name_columns(axes: Axes, names: Sequence[str]) -> None:
    """Names below columns, on end unless they are one letter."""
    axes.set_xticks(range(len(names)), names, fontsize=_SMALL)
    for name, tick in zip(names, axes.get_xticklabels(), strict=True):
        tick.set_rotation(0 if len(name) == 1 else 90)
