"""Measuring sides in turn, and the form in which a measure is recorded. Knows no torch."""

import gc
import math
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

Work = Callable[[], float]  # does a piece of work -> how many units (tokens, examples) it did
Measurement = dict[str, Any]


class DisagreementError(Exception):
    """The two sides do not compute the same: a comparison of their speed would say nothing."""


@dataclass
class Samples:
    """Units per second of every side, a value for each round; ``first`` names the side that began each round."""

    values: dict[str, list[float]]
    first: list[str] = field(default_factory=list)
    repeats: int = 1


def alternate(
    sides: Mapping[str, Work], pairs: int, seconds: float = 0.0, settled: Callable[[], None] = lambda: None
) -> Samples:
    """Measure every side ``pairs`` times in rounds; the side that begins alternates.

    Each side works once before, unmeasured, and then long enough for ``seconds`` a sample (the same number of times on
    all sides). ``settled`` waits until the device has finished.
    """
    for work in sides.values():
        work()
    with _no_garbage_collection():
        fastest = min(timed(work, settled)[1] for work in sides.values())
        samples = Samples({name: [] for name in sides}, repeats=max(1, math.ceil(seconds / fastest)))
        for number in range(pairs):
            names = rotated(list(sides), number)
            samples.first.append(names[0])
            for name in names:
                units, spent = timed(sides[name], settled, samples.repeats)
                samples.values[name].append(units / spent)
    return samples


def rotated(names: Sequence[str], number: int) -> list[str]:
    """The order of round ``number``: of two sides every other round begins with the second."""
    start = number % len(names)
    return [*names[start:], *names[:start]]


def speeds(measure: str, model: str, unit: str, samples: Samples, **further: Any) -> Measurement:
    """The record of a measure in units per second, of which more are better."""
    rounds = {"first": samples.first, "repeats": samples.repeats}
    return recorded(measure, model, unit, samples.values, True) | rounds | further


def recorded(measure: str, model: str, unit: str, samples: dict[str, list[float]], more: bool) -> Measurement:
    """The record of a measure: ``more`` of it is better, or less, as of seconds and bytes."""
    head = {"measure": measure, "model": model, "unit": unit, "better": "more" if more else "less"}
    return {**head, "samples": samples, **compared(samples, more)}


def compared(samples: Mapping[str, Sequence[float]], more: bool) -> dict[str, Any]:
    """Summaries of every side, and of the ratios of each round between ours and any other: over 1 where ours is better.

    ``more``: larger samples are better (speeds); else smaller ones are (seconds, bytes).
    """
    mine = samples["ours"]
    ratios = {
        name: [a / b if more else b / a for a, b in zip(mine, values, strict=True)]
        for name, values in samples.items()
        if name != "ours"
    }
    return {
        "summary": {name: summary(values) for name, values in samples.items()},
        "ratios": {name: {**summary(values), "values": values} for name, values in ratios.items()},
    }


def summary(values: Sequence[float]) -> dict[str, float]:
    """Median and quartiles (``lower``, ``upper``), linear between the values."""
    if len(values) < 2:
        return dict.fromkeys(("median", "lower", "upper"), float(values[0]))
    lower, middle, upper = statistics.quantiles(values, n=4, method="inclusive")
    return {"median": middle, "lower": lower, "upper": upper}


def timed(work: Work, settled: Callable[[], None], repeats: int = 1) -> tuple[float, float]:
    """Units of work that ``work`` did in so many repetitions, and the seconds that the device took."""
    settled()
    begun, units = time.perf_counter(), 0.0
    for _ in range(repeats):
        units += work()
    settled()
    return units, time.perf_counter() - begun


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
