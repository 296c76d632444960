"""Budgets of the sides of contrasts, by their runs: parameters, tokens, tokens with a loss, FLOPs."""

import math
from collections.abc import Sequence
from typing import Final

import pandas as pd

from archbench.reports.base.formatting import listing, number
from archbench.reports.contrasts.contrast import Contrast

TOKENS: Final = "training tokens"
DISTINCT: Final = "distinct training tokens"
AMOUNTS: Final = {
    "parameters": "parameters outside embedding tables",
    "embedding_parameters": "parameters of embedding tables",
    "train_tokens": TOKENS,
    "distinct": DISTINCT,
    "train_loss_tokens": "tokens with a loss",
    "train_flops": "training FLOPs",
}
EQUAL: Final = 0.02  # amounts that differ by at most this part are called equal
EQUALLY: Final = f"equal within {EQUAL:.0%}: "


def amounts(contrast: Contrast, side: str) -> dict[str, float]:
    """The mean of each amount over the runs of a side; those that its runs record.

    Distinct tokens are those of the training data that were read: all of them from the first full pass on.
    """
    runs = contrast.group.by_architecture.get(side) if contrast.group else None
    if runs is None or not {"train_tokens", "epochs"} <= set(runs):
        return {}
    passes = runs["epochs"].astype(float).clip(lower=1)
    columns = runs.assign(distinct=runs["train_tokens"].astype(float) / passes)
    means = {words: columns[name].astype(float).mean() for name, words in AMOUNTS.items() if name in columns}
    return {words: float(mean) for words, mean in means.items() if pd.notna(mean) and mean > 0}


def scored_after(contrast: Contrast, side: str) -> float:
    """After what part of its steps a side has the weights that are scored, the mean over its runs; nan if not known."""
    runs = contrast.group.by_architecture.get(side) if contrast.group else None
    if runs is None or not {"best_step", "steps"} <= set(runs):
        return math.nan
    parts = runs["best_step"].astype(float) / runs["steps"].astype(float)
    return float(parts.where(runs["keep"] != "last", 1.0).mean() if "keep" in runs else parts.mean())


def ratios(contrasts: Sequence[Contrast]) -> dict[str, tuple[float, ...]]:
    """How many times the second side's amount the first has, in each contrast; amounts that all of them have."""
    pairs = [(amounts(contrast, contrast.first), amounts(contrast, contrast.second)) for contrast in contrasts]
    known = [words for words in AMOUNTS.values() if all(words in first and words in second for first, second in pairs)]
    return {words: tuple(first[words] / second[words] for first, second in pairs) for words in known if pairs}


def are_equal(values: Sequence[float]) -> bool:
    """True if ratios are all 1, within the part that is called equal."""
    return all(abs(value - 1) <= EQUAL for value in values)


def in_words(contrasts: Sequence[Contrast]) -> str:
    """Words for what the first sides have more or less of, and for what is equal; empty where nothing is recorded."""
    found = ratios(contrasts)
    equal = [words for words, values in found.items() if are_equal(values)]
    other = [f"{_times(values)} the {words}" for words, values in found.items() if words not in equal]
    sides = "the first side has" if len(contrasts) == 1 else "the first sides have"
    parts = (f"{sides} {listing(other)}" if other else "", f"{EQUALLY}{listing(equal)}" if equal else "")
    return "; ".join(filter(None, parts))


def _times(values: Sequence[float]) -> str:
    low, high = (f"{value:.3g}" if value < 10 else number(value) for value in (min(values), max(values)))
    return f"{low} times" if low == high else f"{low} to {high} times"
