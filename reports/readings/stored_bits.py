"""The bits of random strings that a model stores for each parameter, and whether that is one piece of information."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from archbench.reports.base import formatting
from archbench.reports.base.statistics import Interval
from archbench.reports.base.tables import Tables
from archbench.reports.contrasts.words import OUTCOMES
from archbench.reports.report import Report
from archbench.reports.results.comparison import Comparison

METRIC: Final = "stored_bits"
EXHAUSTED: Final = 0.9  # of all bits, beyond which it is the strings that ran out
PIECE: Final = "Each parameter stores one piece of information"


@dataclass(frozen=True)
class Stored:
    """Bits that an architecture of one size stores: ``bits`` over seeds, of ``strings`` in all (nan where unknown).

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


def stored(report: Report) -> list[Stored]:
    """Every architecture and size that was scored by stored bits, by data set and architecture, the smallest first."""
    bits = _bits(report.tables)
    stored_points = [
        point for comparison in report.headlines if comparison.metric.name == METRIC for point in _of(comparison, bits)
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


def _of(comparison: Comparison, bits: Mapping[str, float]) -> Iterator[Stored]:
    group = comparison.group
    rows = group.runs.groupby("architecture", sort=False)
    for cell in comparison.scored:
        runs = rows.get_group(cell.architecture)
        yield Stored(
            dataset=group.dataset,
            condition=group.condition,
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


def _piece(stored: Sequence[Stored]) -> str:
    """Sentence that compares the numbers with the saying, a piece of information being a bit."""
    by_word = {word: [point for point in stored if point.word == word] for word in ("above", "below", "open")}
    words = {"above": "at least one bit", "below": "less than one bit", "open": OUTCOMES["open"]}
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
