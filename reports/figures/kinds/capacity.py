"""Stored bits against size: what a parameter holds of random strings, and whether that is one piece of information."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import EngFormatter, MaxNLocator

from archbench.reports.analysis.comparison import Comparison
from archbench.reports.analysis.conditions import condition
from archbench.reports.analysis.judgement import Judged
from archbench.reports.base import formatting
from archbench.reports.base.statistics import Interval
from archbench.reports.base.tables import Tables
from archbench.reports.figures.canvas.drawing import Panel
from archbench.reports.figures.canvas.palette import Look, label, paper, quiet, rule
from archbench.reports.figures.figure import Figure, View

METRIC: Final = "stored_bits"
RATES: Final = (0.5, 1.0, 2.0, 4.0)  # bits per parameter, drawn as lines
EXHAUSTED: Final = 0.9  # of all bits, beyond which it is the strings that ran out
PIECE: Final = "Each parameter stores one piece of information"
CAPTION: Final = (
    "Memorized bits of random strings against trainable parameters, embeddings and output matrix included: means over "
    "seeds; bars: 95% intervals. Grey lines: bits per parameter; dashed: all bits of the strings. The bits stored "
    "after this training are a lower bound on the capacity."
)


@dataclass(frozen=True)
class Stored:
    """What an architecture of one size stores: ``bits`` over seeds, of ``strings`` bits in all (nan where unknown).

    ``embedding_parameters`` are those of the token table and the output matrix; ``passes`` are over the strings.
    """

    dataset: str
    condition: str
    architecture: str
    parameters: int
    embedding_parameters: int
    bits: Interval
    strings: float
    passes: float
    seeds: int

    @property
    def trainable(self) -> int:
        """All trainable scalars: any of them can store."""
        return self.parameters + self.embedding_parameters

    @property
    def per_parameter(self) -> Interval:
        """Bits for each trainable parameter."""
        mean, lower, upper = (end / self.trainable for end in (self.bits.mean, self.bits.lower, self.bits.upper))
        return Interval(mean, lower, upper)

    @property
    def exhausted(self) -> bool:
        return self.bits.mean > EXHAUSTED * self.strings

    def above(self, bits: float) -> str:
        """``above`` or ``below`` so many bits a parameter as far as the interval decides it, else ``open``.

        An architecture that has exhausted the strings is never below.
        """
        if self.per_parameter.lower > bits:
            return "above"
        return "below" if self.per_parameter.upper < bits and not self.exhausted else "open"

    @property
    def word(self) -> str:
        return self.above(1)


def stored(judged: Judged) -> list[Stored]:
    """Every architecture and size that was scored by stored bits, by data set and architecture, the smallest first."""
    bits = _bits(judged.comparisons.tables)
    stored_points = [
        point for comparison in judged.headlines if comparison.metric.name == METRIC for point in _of(comparison, bits)
    ]
    names = list(dict.fromkeys((point.dataset, point.architecture) for point in stored_points))
    return sorted(stored_points, key=lambda point: (names.index((point.dataset, point.architecture)), point.trainable))


def sentences(stored: Sequence[Stored]) -> list[str]:
    """For each architecture of a data set its bits a parameter at every size, then what that makes of the saying."""
    if not stored:
        return []
    names = dict.fromkeys(point.architecture for point in stored)
    series = ([point for point in stored if point.architecture == name] for name in names)
    return [*map(_sentence, series), _piece(stored)]


def numbers(stored: Sequence[Stored]) -> list[dict[str, object]]:
    """The points as rows of a table."""
    return [
        {
            "dataset": point.dataset,
            "condition": point.condition,
            "architecture": point.architecture,
            "parameters": point.parameters,
            "embedding_parameters": point.embedding_parameters,
            "stored_bits": point.bits.mean,
            "lower": point.bits.lower,
            "upper": point.bits.upper,
            "bits_per_parameter": point.per_parameter.mean,
            "bits_per_parameter_lower": point.per_parameter.lower,
            "bits_per_parameter_upper": point.per_parameter.upper,
            "bits_in_all_strings": point.strings,
            "exhausted": point.exhausted,
            "passes": point.passes,
            "seeds": point.seeds,
        }
        for point in stored
    ]


def capacity(view: View) -> Figure:
    """A panel for each data set that measures what is stored."""
    shown = [point for point in stored(view.judged) if view.shows(point.dataset, point.architecture)]
    named = tuple(dict.fromkeys(point.architecture for point in shown))
    panels = tuple(
        Panel(
            label(dataset, 40),
            "",
            3.4,
            partial(draw, stored=[point for point in shown if point.dataset == dataset], looks=view.looks),
            f"Stored bits against trainable parameters, {dataset}, with lines of equal bits per parameter",
        )
        for dataset in dict.fromkeys(point.dataset for point in shown)
    )
    takeaway = _takeaway(shown)
    return Figure(
        "capacity", "Stored bits against size", CAPTION, panels, named, pd.DataFrame(numbers(shown)), takeaway=takeaway
    )


def draw(axes: Axes, stored: Sequence[Stored], looks: Mapping[str, Look]) -> None:
    """Stored bits against trainable parameters, both from 0, so that a rate is a line through the corner."""
    right = 1.15 * max(point.trainable for point in stored)
    ends = [end for point in stored for end in (point.bits.mean, point.bits.lower, point.bits.upper) if end == end]
    top, bottom = 1.25 * max(max(ends), right / 2), min(0.0, 1.1 * min(ends))
    for rate in RATES:
        _rate(axes, rate, right, top)
    axes.axhline(stored[0].strings, color=quiet(), linewidth=0.9, linestyle=(0, (3, 2)), zorder=0)
    for name in dict.fromkeys(point.architecture for point in stored):
        series, look = [point for point in stored if point.architecture == name], looks[name]
        axes.plot(
            [point.trainable for point in series],
            [point.bits.mean for point in series],
            color=look.colour,
            linewidth=1.4,
        )
        for point in series:
            if point.bits.known:
                axes.plot([point.trainable] * 2, [point.bits.lower, point.bits.upper], color=look.colour, linewidth=2)
            axes.plot(
                [point.trainable],
                [point.bits.mean],
                look.marker,
                color=look.colour,
                markersize=8,
                markeredgecolor=paper(),
            )
    axes.set_xlim(0, right)
    axes.set_ylim(bottom, top)
    axes.set_xlabel("trainable parameters, embeddings included")
    axes.set_ylabel("stored bits ↑")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(EngFormatter(sep="\N{NO-BREAK SPACE}"))
        axis.set_major_locator(MaxNLocator(5))
    axes.grid(color=rule(), linewidth=0.6)


def _rate(axes: Axes, rate: float, right: float, top: float) -> None:
    """The line of ``rate`` bits a parameter, named where it leaves the panel (below a title, inside)."""
    x = min(right, top / rate)
    axes.plot([0, x], [0, rate * x], color=quiet(), linewidth=0.7, zorder=0)
    at, va = ((4, 0), "center") if x == right else ((5, -2), "top")
    axes.annotate(
        f"{rate:g}",
        (x, rate * x),
        at,
        textcoords="offset points",
        ha="left",
        va=va,
        color=quiet(),
        annotation_clip=False,
    )


def _of(comparison: Comparison, bits: Mapping[str, float]) -> Iterator[Stored]:
    group = comparison.group
    rows = group.runs.groupby("architecture", sort=False)
    for cell in comparison.scored:
        runs = rows.get_group(cell.architecture)
        yield Stored(
            dataset=group.dataset,
            condition=condition(group),
            architecture=cell.architecture,
            parameters=int(runs["parameters"].iloc[0]),
            embedding_parameters=int(runs["embedding_parameters"].iloc[0]),
            bits=cell.interval,
            strings=bits.get(group.dataset, math.nan),
            passes=float(runs["epochs"].astype(float).mean()) if "epochs" in runs else math.nan,
            seeds=len(cell.values),
        )


def _bits(tables: Tables) -> dict[str, float]:
    """The bits in all strings of each data set, which its notes state."""
    rows = tables["datasets"]
    notes = rows["notes"] if "notes" in rows else [None] * len(rows)
    return {str(name): _counted(note, "bits_in_all_strings") for name, note in zip(rows["dataset"], notes, strict=True)}


def _counted(notes: object, name: str) -> float:
    """A count among a data set's notes, nan where it is not there."""
    try:
        return float(json.loads(str(notes))[name])
    except (ValueError, TypeError, KeyError):
        return math.nan


def _sentence(stored: Sequence[Stored]) -> str:
    """``decoder stores 1.02 bits per parameter at 22,432 parameters (95% interval 0.98 to 1.06), ...``"""
    amounts = formatting.listing(map(_amount, stored))
    epochs = " to ".join(dict.fromkeys(formatting.number(end(point.passes for point in stored)) for end in (min, max)))
    return f"{stored[0].architecture} stores {amounts} ({epochs} epochs)."


def _amount(point: Stored) -> str:
    least = "at least " if point.exhausted else ""
    span = (
        f"95% interval {formatting.limits(point.per_parameter)}"
        if point.per_parameter.known
        else "no interval with one seed"
    )
    ran_out = (
        f"; {point.bits.mean / point.strings:.0%} of all bits: the strings are exhausted" if point.exhausted else ""
    )
    mean = formatting.value(point.per_parameter.mean, formatting.decimals(point.per_parameter))
    return f"{least}{mean} bits per parameter at {point.trainable:,} parameters ({span}{ran_out})"


def _takeaway(stored: Sequence[Stored]) -> str:
    """Which architectures store at least one bit for each parameter at every size, and which less."""
    names = dict.fromkeys(point.architecture for point in stored)
    words = {name: {point.word for point in stored if point.architecture == name} for name in names}
    said = {"at least one bit per parameter at every size": {"above"}, "less than one bit at every size": {"below"}}
    parts = [
        f"{text}: {listing}"
        for text, word in said.items()
        if (listing := formatting.listing(name for name in names if words[name] == word))
    ]
    mixed = formatting.listing(name for name in names if words[name] not in said.values())
    parts += [f"mixed or not decided: {mixed}"] if mixed else []
    return f"Stored {'; '.join(parts)}." if parts else ""


def _piece(stored: Sequence[Stored]) -> str:
    """What the numbers make of the saying, a piece of information being a bit."""
    by_word = {word: [point for point in stored if point.word == word] for word in ("above", "below", "open")}
    words = {"above": "at least one bit", "below": "less than one bit", "open": "not decided"}
    full = [word for word, points in by_word.items() if len(points) == len(stored)]
    verdict = f"{words[full[0]]} at every size in every architecture" if full else _parts(by_word, words)
    more = "" if full == ["above"] else "; more training may store more"
    return f'"{PIECE}", taken as one bit: {verdict}{more}.'


def _parts(by_word: Mapping[str, Sequence[Stored]], words: Mapping[str, str]) -> str:
    return "; ".join(
        f"{words[word]}: {formatting.listing(f'{point.architecture} of {point.trainable:,}' for point in points)}"
        for word, points in by_word.items()
        if points
    )
