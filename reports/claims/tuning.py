"""Whether the sides of a test were tuned, and whether any trial of theirs passes the gate."""

import math
from collections.abc import Sequence
from typing import Final, NamedTuple

import pandas as pd

from archbench.reports.base.formatting import grouped
from archbench.reports.base.tables import Tables
from archbench.reports.contrasts.contrast import Contrast
from archbench.reports.results import trials
from archbench.reports.results.gates import BITS_PER_BYTE, MAJORITY, NGRAM
from archbench.reports.results.groups import Group, placed
from archbench.reports.results.trials import NLL_PER_TOKEN


class Tuning(NamedTuple):
    """How good the tuning of a test's sides is (2: tuned, 1: some below the gate, 0: some not at all), and in words."""

    level: int
    words: str


NOT_TUNED: Final = Tuning(0, "not tuned")


class Tried(NamedTuple):
    """An architecture that was tuned on a data set; ``below``: no trial is better than the bar of the gate."""

    dataset: str
    architecture: str
    below: bool


def settings(tables: Tables) -> list[Tried]:
    """What was tuned, under the names of what is compared; every form of an architecture counts."""
    found = trials.settings(tables)
    if not found:
        return []
    bars = _bars(tables)
    names = {(one.dataset, one.variant): one.architecture for one in trials.chosen_variants(tables)}
    return [
        Tried(
            one.dataset,
            names.get((one.dataset, one.architecture), one.architecture),
            not one.lowest < bars.get(one.dataset, math.inf),
        )
        for one in found
    ]


def of(tried: Sequence[Tried], groups: Sequence[Group], counted: Sequence[Contrast]) -> Tuning:
    """The tuning of the sides of contrasts; of all architectures on the data sets where there are no contrasts."""
    sides = {(entry.dataset, name.split()[0]) for entry in counted for name in (entry.first, entry.second)}
    sides = sides or {(group.dataset, name) for group in groups for name in group.architectures}
    by_side: dict[tuple[str, str], list[bool]] = {}
    for one in tried:
        by_side.setdefault((one.dataset, one.architecture), []).append(one.below)
    without = sorted(side for side in sides if side not in by_side)
    if len(without) == len(sides):
        return NOT_TUNED
    below = sorted(side for side in sides if all(by_side.get(side, [False])))
    parts = [f"{_words(some)} {what}" for some, what in ((below, "below the gate"), (without, "not tuned")) if some]
    return Tuning(0 if without else 1 if below else 2, "; ".join(["tuned", *parts]))


def _words(sides: Sequence[tuple[str, str]]) -> str:
    return grouped((name, dataset) for dataset, name in sides)


def _bars(tables: Tables) -> dict[str, float]:
    """The bar of each data set's gate in nats per token, by what a token of its test answers is in bytes."""
    rows = tables["references"]
    rows = rows[(rows["split"] == "test").fillna(False)]
    named = rows.groupby(["dataset", "name", "metric"])["value"].mean()
    tokens = _bits_per_nat(tables)
    bars = {}
    for dataset in rows["dataset"].unique():
        bits = named.get((dataset, NGRAM, BITS_PER_BYTE))
        majority = named.get((dataset, MAJORITY, NLL_PER_TOKEN))
        if majority is not None:
            bars[str(dataset)] = float(majority)
        elif bits is not None and dataset in tokens:
            bars[str(dataset)] = float(bits) / float(tokens[dataset])
    return bars


def _bits_per_nat(tables: Tables) -> "pd.Series[float]":
    """Bits per byte for each nat per token, by data set: the ratio of two test scores of the same runs."""
    scores = tables["scores"]
    scores = scores[(scores["split"] == "test") & scores["metric"].isin([BITS_PER_BYTE, NLL_PER_TOKEN])]
    wide = scores.pivot_table(index="run", columns="metric", values="value").reindex(
        columns=[BITS_PER_BYTE, NLL_PER_TOKEN]
    )
    ratio = (wide[BITS_PER_BYTE] / wide[NLL_PER_TOKEN]).dropna()
    datasets = placed(tables, "compared").drop_duplicates("run").set_index("run")["dataset"]
    return ratio.groupby(datasets.reindex(ratio.index)).mean()
