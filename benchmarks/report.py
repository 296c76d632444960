"""The benchmark beside ``transformers``: its table, its figure and the numbers behind that, from ``bench.json`` alone.

A ratio over 1 means that ours is better: faster, or in less time or memory.
"""

import statistics
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

from archbench.reports.base.formatting import number
from archbench.reports.figures.canvas import drawing
from archbench.reports.figures.canvas.drawing import Panel
from archbench.reports.figures.canvas.palette import hue, ink, quiet, rule
from archbench.reports.figures.figure import DrawnFigure, Figure
from archbench.tasks.base.sealed import read_record

Row = Mapping[str, Any]

SCHEMA: Final = 1
FILE: Final = "bench.json"
LABELS: Final = {
    "training": "training, windows",
    "compiled": "training, both compiled",
    "labels": "training, one label",
    "real": "training, real task",
    "grouped": "real task, theirs by length",
    "scoring": "scoring",
    "generation-1": "generation, 1 row",
    "generation-32": "generation, 32 rows",
    "startup": "start to first step",
    "memory": "peak memory",
    "memory-rise": "memory of a step",
}
AGAINST: Final = {"theirs": "transformers", "compiled": "transformers, compiled"}
_TICKS: Final = (0.25, 0.5, 0.7, 1.0, 1.4, 2.0, 3.0, 4.0, 6.0, 8.0)
_ROW: Final = 0.24  # inches


def read(root: Path) -> Row:
    """The record of a benchmark; raises ``InputError`` where it is missing, ``ValueError`` for another schema."""
    return read_record(root / FILE, SCHEMA, "archbench bench")


def written(root: Path) -> tuple[list[list[list[str]]], list[str]]:
    """Draw the benchmark in ``root``; the tables for the terminal and the lines below them."""
    record = read(root)
    files = [root / FILE, *write(record, root)]
    tables = [rows for rows in (table(record), shares(record)) if len(rows) > 1]
    return tables, [*remarks(record), f"written: {', '.join(map(str, files))}"]


def numbers(record: Row) -> pd.DataFrame:
    """A row for every measure of every model and what it is compared against: medians, quartiles, ratios."""
    compared = (measure for measure in record["measures"] if "ratios" in measure)
    return pd.DataFrame([row for measure in compared for row in _numbers(measure)])


def table(record: Row) -> list[list[str]]:
    """Rows of text for the terminal, the head first: medians and, in brackets, quartiles."""
    head = ["model", "measure", "unit", "ours", "transformers", "ratio"]
    return [head, *(_line(row) for _, row in numbers(record).iterrows())]


def shares(record: Row) -> list[list[str]]:
    """Where the time of a step goes, in percent, the head first; empty where that was not measured."""
    measures = [measure for measure in record["measures"] if "shares" in measure]
    if not measures:
        return []
    kinds = list(measures[0]["shares"]["ours"])
    names = {"ours": "ours", "theirs": "transformers"}
    lines = [
        [measure["model"], names[side], *(f"{100 * measure['shares'][side][kind]:.0f}" for kind in kinds)]
        for measure in measures
        for side in names
    ]
    return [["% of a step", "side", *kinds], *lines]


def remarks(record: Row) -> list[str]:
    """Facts beside the table: machine, shape, peaks, compile times, and failures."""
    shape, facts = record["shape"], record["environment"]
    lines = [
        f"{_machine(record)}, {record['threads']} thread, {record['precision']} training, float32 inference, "
        f"torch {facts['torch']}, transformers {facts['transformers']}",
        f"shape {shape['name']}: width {shape['width']}, {shape['layers']} layers, {shape['heads']} heads, "
        f"context {shape['context']}, vocabulary {shape['vocabulary']:,}; "
        f"{record['pairs']} pair{'s' * (record['pairs'] != 1)} of samples",
    ]
    if facts.get("load") and float(facts["load"]) > float(facts["cores"]):
        lines.append(f"the machine was busy: a load of {facts['load']} on {facts['cores']} cores at the beginning")
    if record["peaks"]:
        peaks = ", ".join(f"{name} {_plain(number(peak))}FLOP/s" for name, peak in record["peaks"].items())
        lines.append(f"peak of matrix products: {peaks}")
    lines += [line for measure in record["measures"] for line in _remarks(measure)]
    lines.append("brackets: quartiles (if several samples); ratio: over 1 if archbench is faster or needs less")
    return [*lines, *record["notes"]]


def write(record: Row, root: Path) -> list[Path]:
    """Write ``bench.svg``, ``.png``, ``.pdf`` and ``.csv``; return the paths, none where nothing was compared."""
    rows = numbers(record)
    if rows.empty:
        return []
    data = [record["data"]["name"]] if record["data"] else []
    facts = [record["shape"]["name"], *data, _machine(record), record["precision"], f"{record['threads']} thread"]
    where = ", ".join(facts)
    shown = tuple(panels(rows, record["classes"], where))
    drawn = drawing.together(shown, columns=min(2, len(shown)))
    return DrawnFigure(Figure(name="bench", title="", caption="", panels=shown, numbers=rows), drawn).save(root)


def panels(frame: pd.DataFrame, classes: Mapping[str, str], where: str) -> list[Panel]:
    """A panel for each model, with the ``classes`` of transformers and ``where`` it was measured below its name.

    All have the same axis.
    """
    lower, upper = min(0.9, frame["ratio_lower"].min()), max(1.1, frame["ratio_upper"].max())
    limits = (lower / 1.08, upper * 1.08)
    return [
        Panel(
            title=str(model),
            below=f"beside {classes[str(model)]}, {where}",
            height=1.0 + _ROW * len(rows),
            draw=partial(_draw, rows=rows, limits=limits),
            description=f"How many times better ours is than transformers, {model}: {_spoken(rows)}",
        )
        for model, rows in frame.groupby("model", sort=False)
    ]


def _machine(record: Row) -> str:
    facts = record["environment"]
    return str(facts["processor"] if record["device"] == "cpu" else facts["device"])


def _numbers(measure: Row) -> Iterable[Row]:
    mine = measure["summary"]["ours"]
    for against, ratio in measure["ratios"].items():
        other = measure["summary"][against]
        values = {"ours": mine, "theirs": other, "ratio": ratio}
        yield {
            **{"model": measure["model"], "measure": measure["measure"]},
            **{"against": AGAINST[against], "unit": measure["unit"]},
            **{f"{side}_{key}": of[key] for side, of in values.items() for key in ("median", "lower", "upper")},
            "samples": len(ratio["values"]),
        }


def _line(row: Any) -> list[str]:
    sides = (_quartiles(row, side, row["unit"]) for side in ("ours", "theirs"))
    unit = "MiB" if row["unit"] == "bytes" else str(row["unit"])
    return [str(row["model"]), _label(row), unit, *sides, _quartiles(row, "ratio", "")]


def _label(row: Any) -> str:
    if row["against"] == AGAINST["compiled"]:  # ours as it is
        return "training, theirs compiled"
    return LABELS.get(row["measure"], str(row["measure"]))


def _quartiles(row: Any, side: str, unit: str) -> str:
    middle, lower, upper = (_value(row[f"{side}_{key}"], unit) for key in ("median", "lower", "upper"))
    return f"{middle} [{lower} to {upper}]" if row["samples"] > 1 else middle


def _value(value: float, unit: str) -> str:
    """Three digits: 12345 tokens/s -> '12.3k'; bytes in MiB; two decimals of seconds and of what has no unit."""
    if unit == "bytes":
        return f"{value / 2**20:,.0f}"
    return f"{value:.2f}" if unit in ("s", "") else _plain(number(value)).replace(" ", "")


def _plain(text: str) -> str:
    return text.replace("\N{NO-BREAK SPACE}", " ")


def _remarks(measure: Row) -> Iterable[str]:
    model, fractions, seconds = measure["model"], measure.get("peak_fraction"), measure.get("compile_seconds")
    if "error" in measure:
        yield f"{model}: {measure['measure']} failed: {measure['error']}"
    if fractions:
        parts = (f"{AGAINST.get(side, side)} {statistics.median(values):.0%}" for side, values in fractions.items())
        yield f"{model}: training on windows, as a share of the peak: {', '.join(parts)}"
    if seconds:
        yield f"{model}: compile time: archbench {seconds['ours']:.0f} s, transformers {seconds['theirs']:.0f} s"


def _spoken(rows: pd.DataFrame) -> str:
    return ", ".join(f"{_label(row)} {row['ratio_median']:.2f}" for _, row in rows.iterrows())


def _draw(axes: Axes, rows: pd.DataFrame, limits: tuple[float, float]) -> None:
    axes.set_xscale("log")
    axes.set_xlim(*limits)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.axvline(1.0, color=ink(), linewidth=1.0)
    for y, (_, row) in enumerate(rows.iterrows()):
        colour = hue("blue") if row["ratio_median"] >= 1 else hue("vermillion")
        axes.plot([row["ratio_lower"], row["ratio_upper"]], [y, y], color=colour, linewidth=2.2)
        axes.plot([row["ratio_median"]], [y], "o" if row["ratio_median"] >= 1 else "s", color=colour, markersize=6)
        text = f"{row['ratio_median']:.2f}"
        axes.annotate(text, (1.0, y), (4, 0), ("axes fraction", "data"), "offset points", va="center", fontsize=9)
    ticks = [tick for tick in _TICKS if limits[0] <= tick <= limits[1]]
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_major_formatter(FixedFormatter([f"{tick:g}" for tick in ticks]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.grid(axis="x", color=rule(), linewidth=0.8)
    axes.set_yticks(range(len(rows)), [_label(row) for _, row in rows.iterrows()])
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.spines["bottom"].set_color(quiet())
    axes.set_xlabel("ratio; over 1: archbench is better", fontsize=9)
