"""Draws `docs/families.svg`: how the three families are put together and who reads whom: `python -P docs/schematic.py`.

Everything is read off built models: the parts of a layer from its modules, shared weights from tensors that are the
same, and who reads whom by changing one token and looking which states change.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Rectangle

from archbench.architectures import Limits, Size
from archbench.architectures.catalogue import catalogue
from archbench.architectures.components.embedding import Embedding
from archbench.architectures.components.stack import Stack
from archbench.architectures.families.family import Family
from archbench.reports.figures.canvas import drawing
from archbench.reports.figures.canvas.palette import hue, ink, paper, quiet, rule
from archbench.reports.figures.canvas.styles import styled

OUT = Path(__file__).parent / "families.svg"
NAMES = ("decoder", "encoder", "encoder-decoder")
LAYERS = {"decoder": 6, "encoder": 6, "encoder-decoder": 3}  # of each stack, for about the same size
WIDE, TALL, BOX, MASK = 10.6, 3.7, 1.55, 1.1  # inches: the picture, a stack, a matrix
TOKENS = 4  # of the source and of the target
HUES = {"self-attention": "blue", "cross-attention": "purple", "feed-forward": "green", "embedding": "orange"}


@dataclass(frozen=True)
class Column:
    """A stack of a model: what it reads, its layers and the parts of one."""

    name: str
    layers: int
    parts: tuple[str, ...]


def build(name: str) -> Family:
    torch.manual_seed(0)
    size = Size(32, 4, LAYERS[name], 64)
    model = catalogue.find(name).build(size, Limits(50, TOKENS, TOKENS))
    assert isinstance(model, Family)
    with torch.no_grad():
        for weights in model.parameters():  # some start at 0, where nobody reads anybody
            weights.normal_(0, 0.3)
    return model.eval()


def columns(model: Family) -> list[Column]:
    """The stacks in the order in which the model has them."""
    stacks = {name: stack for name, stack in model.named_children() if isinstance(stack, Stack)}
    stack_columns = []
    for name, stack in stacks.items():
        parts = ["self-attention"]
        parts += ["cross-attention"] if getattr(stack.blocks[0], "cross", None) is not None else []
        stack_columns.append(Column("" if len(stacks) == 1 else name, len(stack.blocks), (*parts, "feed-forward")))
    return stack_columns


def tables(model: Family) -> set[int]:
    """The embedding tables of a model, by identity."""
    return {id(module.weight) for module in model.modules() if isinstance(module, Embedding)}


def visible(model: Family) -> torch.Tensor:
    """(2 n, 2 n): whether the state of a row's token changes with a column's token; source first, then target."""
    source, target = torch.arange(10, 10 + TOKENS)[None], torch.arange(20, 20 + TOKENS)[None]
    before = _states(model, source, target)
    changes = []
    for place in range(2 * TOKENS):
        changed = [source.clone(), target.clone()]
        changed[place // TOKENS][0, place % TOKENS] = 40
        after = _states(model, *changed)
        changes.append((after - before).abs().amax(-1) > 1e-6)
    return torch.stack(changes, 1)


def _states(model: Family, source: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        states = model.hidden(source, target)
    parts = [states.source, states.target]
    if parts[0] is None:  # an encoder's states stay inside: those that cross-attention reads
        parts[0] = model.encode(source)[0]
    return torch.cat([part[0] for part in parts if part is not None])


def main() -> None:
    with styled("light"):
        canvas = Figure(figsize=(WIDE, TALL))
        FigureCanvasAgg(canvas)
        left = 0.15
        for name in NAMES:
            model = build(name)
            wide = BOX * len(columns(model)) ** 0.6
            parts = canvas.add_axes((left / WIDE, 0.02, wide / WIDE, 0.88))
            mask = canvas.add_axes(((left + wide + 0.3) / WIDE, 0.33, MASK / WIDE, MASK / TALL))
            canvas.text((left + 0.05) / WIDE, 0.94, name, weight="bold", fontsize=11)
            draw_model(parts, model)
            draw_mask(mask, visible(model))
            left += wide + MASK + 0.55
        OUT.write_bytes(drawing.encoded(canvas, "svg"))


def draw_model(axes: Axes, model: Family) -> None:
    """Boxes from the bottom up, side by side for two stacks."""
    stack_columns = columns(model)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.axis("off")
    between = 0.08
    wide = (0.96 + between) / len(stack_columns) - between
    for number, column in enumerate(stack_columns):
        left = 0.02 + number * (wide + between)
        reads = {"encoder": "source", "decoder": "target"}.get(column.name, "source, target")
        axes.text(left + wide / 2, 0.005, reads, ha="center", va="bottom", color=quiet())
        bottom = 0.3
        for part in column.parts:
            _box(axes, left + 0.02, bottom, wide - 0.04, 0.11, part, HUES[part])
            bottom += 0.125
        frame = Rectangle(
            (left, 0.28), wide, bottom - 0.3 + 0.015, fill=False, edgecolor=quiet(), linestyle=(0, (3, 2))
        )
        axes.add_patch(frame)
        title = f"{column.name}\n{column.layers} layers".strip()
        axes.text(left + wide / 2, bottom + 0.03, title, ha="center", va="bottom", fontsize=8.5)
        last = number == len(stack_columns) - 1
        if last:
            _box(axes, left + 0.02, 0.87, wide - 0.04, 0.11, "output matrix", "orange")
            _arrow(axes, left + wide / 2, bottom + 0.03 + 0.06 * (1 + bool(column.name)), 0.86)
        _arrow(axes, left + wide / 2, 0.2, 0.28)
        if "cross-attention" in column.parts:  # it reads what the stack beside it gives
            style = {"arrowstyle": "-|>", "color": quiet(), "linewidth": 1.0, "shrinkA": 0, "shrinkB": 0}
            axes.annotate("", (left, 0.48), (left - between, 0.48), arrowprops=style)
    _box(
        axes,
        0.04,
        0.09,
        0.92,
        0.11,
        "embedding (shared)" if len(stack_columns) > 1 and len(tables(model)) == 1 else "embedding",
        "embedding",
    )


def draw_mask(axes: Axes, mask: torch.Tensor) -> None:
    """A cell for each pair of tokens, filled where the row's token reads the column's."""
    count = len(mask)
    for row in range(count):
        for column in range(count):
            colour = hue("blue") if mask[row, column] else rule()
            axes.add_patch(Rectangle((column, row), 1, 1, facecolor=colour, edgecolor=paper(), linewidth=1.2))
    axes.plot([count / 2] * 2, [0, count], color=ink(), linewidth=1)
    axes.plot([0, count], [count / 2] * 2, color=ink(), linewidth=1)
    axes.set_xlim(0, count)
    axes.set_ylim(count, 0)
    axes.set_aspect("equal")
    axes.set_xticks([count / 4, 3 * count / 4], ["source", "target"])
    axes.set_yticks([count / 4, 3 * count / 4], ["source", "target"], rotation=90, va="center")
    axes.tick_params(length=0)
    axes.set_title("a row reads a column", fontsize=9, loc="center")
    for spine in axes.spines.values():
        spine.set_visible(False)


def _box(axes: Axes, left: float, bottom: float, wide: float, tall: float, text: str, colour: str) -> None:
    colour = hue(HUES.get(colour, colour))
    shape = FancyBboxPatch(
        (left, bottom),
        wide,
        tall,
        boxstyle="round,pad=0,rounding_size=0.02",
        alpha=0.25,
        facecolor=colour,
        edgecolor=colour,
    )
    axes.add_patch(shape)
    axes.text(left + wide / 2, bottom + tall / 2, text, ha="center", va="center", fontsize=8)


def _arrow(axes: Axes, x: float, begin: float, end: float) -> None:
    style = {"arrowstyle": "-|>", "color": quiet(), "linewidth": 1.0, "shrinkA": 0, "shrinkB": 0}
    axes.annotate("", (x, end), (x, begin), arrowprops=style)


if __name__ == "__main__":
    main()
