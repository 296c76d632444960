"""Gates: whether a model has learned enough for its comparison with another to mean something.

A model that predicts a text has to be better than a bigram over the same tokens, which never sees a source, and has to
predict a target better from its own source than from another example's. Both are in exact bits per byte. A classifier
has to be right more often than one that always answers the most frequent label. An architecture that fails a gate is
not trained enough, and a contrast that names it is no verdict.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from archbench.reports.base import formatting
from archbench.reports.base.statistics import Interval, Sample, mean_interval, pool
from archbench.tasks.metrics.builtin import BUILTIN

BITS_PER_BYTE: Final = "bits_per_byte"
SHUFFLED: Final = "bits_per_byte_shuffled"
BIGRAM: Final = "bigram"
ACCURACY: Final = "accuracy"
MAJORITY: Final = "majority"
_UNKNOWN: Final = Interval(math.nan)


@dataclass(frozen=True)
class Gate:
    """What one architecture has learned on a data set; nan where it was not measured.

    ``bits`` is its mean in bits per byte, ``bigram`` that of the baseline. ``source`` is what its own sources
    save, compared with shuffled ones on the same examples: mean and interval over seeds. ``accuracy`` is its mean,
    ``majority`` that of always answering the most frequent label.
    """

    architecture: str
    bits: float = math.nan
    bigram: float = math.nan
    source: Interval = _UNKNOWN
    accuracy: float = math.nan
    majority: float = math.nan

    @property
    def behind_majority(self) -> bool:
        return self.accuracy <= self.majority

    @property
    def behind_bigram(self) -> bool:
        return self.bits >= self.bigram

    @property
    def source_blind(self) -> bool:
        """Whether shuffled sources do as well: by the interval over seeds, with one seed by the mean."""
        return (self.source.lower if self.source.known else self.source.mean) <= 0

    @property
    def passed(self) -> bool:
        """Whether it passes every gate that was measured."""
        return not (self.behind_bigram or self.source_blind or self.behind_majority)

    @property
    def measured(self) -> bool:
        known = (self.bits - self.bigram, self.source.mean, self.accuracy - self.majority)
        return not all(map(math.isnan, known))

    @property
    def failures(self) -> tuple[str, ...]:
        """Which gates it fails, in words; empty where it passes."""
        return tuple(words for words, _ in self._failed())

    @property
    def reason(self) -> str:
        """Which gates it fails, with the numbers; empty where it passes."""
        return " and ".join(f"{words} ({numbers})" for words, numbers in self._failed())

    def _failed(self) -> Iterator[tuple[str, str]]:
        bit_decimals = BUILTIN[BITS_PER_BYTE].decimals
        if self.behind_bigram:
            bits, bigram = formatting.value(self.bits, bit_decimals), formatting.value(self.bigram, bit_decimals)
            yield "no better than a bigram model", f"{bits} vs. {bigram} bits per byte"
        if self.source_blind:
            saved = formatting.value(self.source.mean, bit_decimals)
            yield "no better with the right sources than with shuffled ones", f"{saved} bits per byte"
        if self.behind_majority:
            decimals = BUILTIN[ACCURACY].decimals
            right, most = formatting.value(self.accuracy, decimals), formatting.value(self.majority, decimals)
            yield "no better than the majority class", f"{right} vs. {most} accuracy"


def failing(gates: Iterable[tuple[str, Gate]]) -> str:
    """Which gates fail, by data set, in words: each failure once, with the numbers where one architecture has it."""
    by_failures: dict[tuple[str, ...], dict[str, dict[str, Gate]]] = {}
    for dataset, gate in gates:
        if not gate.passed:
            by_failures.setdefault(gate.failures, {}).setdefault(dataset, {})[gate.architecture] = gate
    parts = []
    for failures, by_dataset in by_failures.items():
        failed = [gate for by_name in by_dataset.values() for gate in by_name.values()]
        where = formatting.listing(f"{formatting.listing(names)} on {dataset}" for dataset, names in by_dataset.items())
        one = f"which is {failed[0].reason}"
        parts.append(f"{where}, {one if len(failed) == 1 else f'which are {formatting.listing(failures)}'}")
    return "; ".join(parts)


class Gates:
    """The gates of all runs, from the tables and the test scores by metric and run."""

    def __init__(self, tables: Mapping[str, pd.DataFrame], scores: "Mapping[str, pd.Series[Any]]") -> None:
        empty = pd.Series(dtype=float)
        self._exact, self._shuffled = scores.get(BITS_PER_BYTE, empty), scores.get(SHUFFLED, empty)
        self._accuracy = scores.get(ACCURACY, empty)
        self._bigrams = _baselines(tables, BIGRAM, BITS_PER_BYTE)
        self._majorities = _baselines(tables, MAJORITY, ACCURACY)
        self._saved = _saved(tables, self._shuffled)

    def of(self, dataset: str, architecture: str, runs: pd.DataFrame) -> Gate:
        """The gate of an architecture on a data set, by the runs that were trained for it."""
        saved = self._saved.reindex(runs["run"]).dropna().to_numpy(dtype=float)
        return Gate(
            architecture,
            float(self._exact.reindex(runs["run"]).mean()),
            self._bigrams.get(dataset, math.nan),
            _interval(saved),
            float(self._accuracy.reindex(runs["run"]).mean()),
            self._majorities.get(dataset, math.nan),
        )


def _baselines(tables: Mapping[str, pd.DataFrame], name: str, measured: str) -> dict[str, float]:
    """The test score of a baseline, by data set."""
    rows = tables["references"]
    rows = rows[(rows["name"] == name) & (rows["metric"] == measured) & (rows["split"] == "test")]
    return {str(row["dataset"]): float(row["value"]) for _, row in rows.iterrows()}


def _interval(values: NDArray[np.float64]) -> Interval:
    if len(values) < 2:
        return Interval(float(values[0]) if len(values) else math.nan)
    sample = Sample(values)
    return mean_interval(sample, pool([sample]))


def _saved(tables: Mapping[str, pd.DataFrame], shuffled: "pd.Series[Any]") -> "pd.Series[Any]":
    """Bits per byte that each run's own sources save, on the examples whose sources were shuffled: the first ones."""
    scores, answers = tables["scores"], tables["predictions"]
    counts = scores[(scores["metric"] == SHUFFLED) & (scores["split"] == "test")].set_index("run")["n"]
    saved = {}
    for run, rows in answers[answers["run"].isin(shuffled.index)].groupby("run", sort=False):
        rows = rows[rows["example"] < int(counts[run])]
        sizes = rows["bytes"] if "bytes" in rows else pd.Series([math.nan])
        if sizes.isna().any():
            sizes = rows["reference"].map(lambda text: len(str(text).encode()))
        if len(rows) == int(counts[run]) and sizes.sum() > 0:
            bits_per_byte = -float(rows["log_likelihood"].sum()) / math.log(2) / float(sizes.sum())
            saved[str(run)] = float(shuffled[run]) - bits_per_byte
    return pd.Series(saved, dtype=float)
