"""Gates: whether a model has learned more than very little.

A model that predicts a text has to be better than an n-gram model of bytes, whatever its own tokens are, and has to
predict a target better from its own source than from another example's. Both are in exact bits per byte. A classifier
has to be right more often than the best answer that is the same for every test example. An architecture that is not is
below its gate: a label beside the outcome of its tests, which it does not change.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from archbench.reports.base import formatting
from archbench.reports.base.statistics import Interval, Sample, mean_interval, pool
from archbench.reports.base.tables import Tables
from archbench.reports.results.groups import placed
from archbench.tasks.metrics.builtin import BUILTIN

BITS_PER_BYTE: Final = "bits_per_byte"
BOUND: Final = "bits_per_byte_bound"
SHUFFLED: Final = "bits_per_byte_shuffled"
NGRAM: Final = "ngram"
NLL_PER_TOKEN: Final = "nll_per_token"  # the metric of likelihoods that are no estimate
BAR: Final = "byte 5-gram"  # the same for every tokenizer
ACCURACY: Final = "accuracy"
MACRO_F1: Final = "macro_f1"
MAJORITY: Final = "majority"
BELOW_GATE: Final = "below its gate"
_UNKNOWN: Final = Interval(math.nan)


@dataclass(frozen=True)
class Gate:
    """Measures of what one architecture has learned on a data set; nan where not measured.

    ``bits`` is its mean in bits per byte, ``ngram`` that of the baseline, ``bound`` the mean any-order bound of an
    encoder, which is only shown. ``source`` is what its own sources save, compared with shuffled ones on the same
    examples: mean and interval over seeds. ``accuracy`` is its mean, ``constant`` that of the best label for all test
    examples (where the test labels are not recorded: the majority class of the training labels). ``one_label``: each
    of its runs gives one label to all.
    """

    architecture: str
    bits: float = math.nan
    ngram: float = math.nan
    source: Interval = _UNKNOWN
    accuracy: float = math.nan
    constant: float = math.nan
    bound: float = math.nan
    one_label: bool = False

    @property
    def behind_constant(self) -> bool:
        return self.accuracy <= self.constant

    @property
    def behind_ngram(self) -> bool:
        return self.bits >= self.ngram

    @property
    def source_blind(self) -> bool:
        """True if shuffled sources do as well: by the interval over seeds, with one seed by the mean."""
        return (self.source.lower if self.source.known else self.source.mean) <= 0

    @property
    def passed(self) -> bool:
        """True if it passes every gate that was measured."""
        return not (self.behind_ngram or self.source_blind or self.behind_constant or self.one_label)

    @property
    def measured(self) -> bool:
        known = (self.bits - self.ngram, self.source.mean, self.accuracy - self.constant)
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
        bits, share = (partial(formatting.value, places=BUILTIN[name].decimals) for name in (BITS_PER_BYTE, ACCURACY))
        if self.behind_ngram:
            bound = "" if math.isnan(self.bound) else f"; any-order bound {bits(self.bound)}"
            yield f"no better than a {BAR}", f"{bits(self.bits)} vs. {bits(self.ngram)} bits per byte{bound}"
        if self.source_blind:
            yield "no better with the right sources than with shuffled ones", f"{bits(self.source.mean)} bits per byte"
        if self.one_label or self.behind_constant:
            words = "giving one label to everything" if self.one_label else "no better than one label for everything"
            yield words, f"{share(self.accuracy)} vs. {share(self.constant)} accuracy"


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
        self._accuracy, self._bound = scores.get(ACCURACY, empty), scores.get(BOUND, empty)
        self._ngrams = _baselines(tables, NGRAM, BITS_PER_BYTE)
        self._majorities = _baselines(tables, MAJORITY, ACCURACY)
        self._saved = _saved(tables, self._shuffled)
        self._macro_f1 = scores.get(MACRO_F1, empty)
        self._constant = _commonest(tables, self._macro_f1)
        f1 = _baselines(tables, MAJORITY, MACRO_F1)
        self._label_counts = {name: _labels(self._majorities[name], value) for name, value in f1.items()}

    def of(self, dataset: str, architecture: str, runs: pd.DataFrame) -> Gate:
        """The gate of an architecture on a data set, by the runs that were trained for it."""

        def mean(scores: "pd.Series[Any]") -> float:
            return float(scores.reindex(runs["run"]).mean())

        saved = self._saved.reindex(runs["run"]).dropna().to_numpy(dtype=float)
        majority, constant = self._majorities.get(dataset, math.nan), mean(self._constant)
        return Gate(
            architecture,
            mean(self._exact),
            self._ngrams.get(dataset, math.nan),
            _interval(saved),
            mean(self._accuracy),
            majority if math.isnan(constant) else constant,
            mean(self._bound),
            self._gives_one_label(dataset, list(runs["run"])),
        )

    def _gives_one_label(self, dataset: str, runs: Sequence[str]) -> bool:
        """True if each of these runs gives one label to everything, by its scores, as the majority row does."""
        scored = [run for run in runs if run in self._macro_f1 and run in self._accuracy]
        counts = [_labels(float(self._accuracy[run]), float(self._macro_f1[run])) for run in scored]
        label_count = self._label_counts.get(dataset, math.nan)
        return bool(counts) and all(math.isclose(count, label_count, rel_tol=1e-9) for count in counts)


def _baselines(tables: Mapping[str, pd.DataFrame], name: str, measured: str) -> dict[str, float]:
    """The test score of a baseline, by data set."""
    rows = tables["references"]
    rows = rows[(rows["name"] == name) & (rows["metric"] == measured) & (rows["split"] == "test")]
    return {str(row["dataset"]): float(row["value"]) for _, row in rows.iterrows()}


def bars_per_token(tables: Tables) -> dict[str, tuple[float, str]]:
    """The bar of each data set's gate in nats per token, as trials count, and the name of the baseline that it is of.

    Nats follow from the bits per byte of the same runs.
    """
    scores = tables["scores"]
    scores = scores[(scores["split"] == "test") & scores["metric"].isin([BITS_PER_BYTE, NLL_PER_TOKEN])]
    wide = scores.pivot_table(index="run", columns="metric", values="value")
    wide = wide.reindex(columns=[BITS_PER_BYTE, NLL_PER_TOKEN]).dropna()
    datasets = placed(tables, "compared").drop_duplicates("run").set_index("run")["dataset"]
    bits_per_nat = (wide[BITS_PER_BYTE] / wide[NLL_PER_TOKEN]).groupby(datasets.reindex(wide.index)).mean()
    bits = _baselines(tables, NGRAM, BITS_PER_BYTE)
    in_nats = {name: (value / float(bits_per_nat[name]), NGRAM) for name, value in bits.items() if name in bits_per_nat}
    labels = {name: (value, MAJORITY) for name, value in _baselines(tables, MAJORITY, NLL_PER_TOKEN).items()}
    return in_nats | labels


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


def _commonest(tables: Mapping[str, pd.DataFrame], classified: "pd.Series[Any]") -> "pd.Series[Any]":
    """The share of the commonest test label, by classifier whose texts are recorded."""
    answers = tables["predictions"]
    known = answers[answers["run"].isin(classified.index)].dropna(subset=["reference"])
    by_run = known.groupby("run", sort=False)["reference"]
    return by_run.agg(lambda texts: float(texts.value_counts(normalize=True).max())).astype(float)


def _labels(accuracy: float, macro_f1: float) -> float:
    """The number of labels in the test split, if one label was given to all examples.

    Its precision is the accuracy and its recall 1, so that its F1 is 2a / (1 + a); that of every other label is 0.
    """
    return 2 * accuracy / (1 + accuracy) / macro_f1 if macro_f1 > 0 else math.nan
