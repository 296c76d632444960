"""Few training examples: how many draws of them results are over, and how many more were for validation.

Intervals over seeds cover the draw of the examples where each seed draws its own. Where one draw serves every seed, the
results are of these examples.
"""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from archbench.reports.base import formatting
from archbench.reports.base.declared import entered
from archbench.reports.base.tables import Tables
from archbench.reports.results.gates import MAJORITY
from archbench.reports.results.groups import placed

Few = Mapping[tuple[str, int], bool]


def few(tables: Tables) -> Few:
    """Each data set and number of training examples that are a part of all; whether every seed draws its own."""
    entries = [*entered(tables, "tasks"), *entered(tables, "conditions")]
    return {(str(e["name"]), int(e["examples"])): e.get("draw") == "seed" for e in entries if e.get("examples")}


def limited(tables: Tables) -> set[str]:
    """The data sets whose data are so many examples by name (``phrases-en-de:2000``): the same for every seed."""
    data = {str(task.get("name")): str(task.get("data")) for task in entered(tables, "tasks")}
    return {name for name, source in data.items() if source.rpartition(":")[2].replace("_", "").isdigit()}


def draws(known: Few, runs: pd.DataFrame) -> int:
    """How many draws of few training examples runs of one place have; 0 where they read all, or are prompted."""
    if runs.empty or "examples" not in runs or pd.isna(runs["examples"].iloc[0]):
        return 0
    is_by_seed = known.get((str(runs["dataset"].iloc[0]), int(runs["examples"].iloc[0])))
    return 0 if is_by_seed is None else int(runs["seed"].nunique()) if is_by_seed else 1


def in_words(count: int, noun: str) -> str:
    """ "over 5 draws of the labels", "one draw of the labels"; empty where nothing is drawn."""
    return f"over {count} draws of the {noun}" if count > 1 else f"one draw of the {noun}" * count


def noun(tables: Tables, dataset: str) -> str:
    """Word for what is counted on a data set: labels, which a majority class tells, or examples."""
    rows = tables["references"]
    known = (rows["name"] == MAJORITY) & (rows["dataset"] == dataset)
    return "labels" if known.fillna(False).any() else "examples"


def over(tables: Tables) -> str:
    """Over how many draws the results on few examples are: "one draw of the labels on phrase-kinds"."""
    counts = _counts(tables)
    return formatting.grouped((in_words(count, noun(tables, name)), name) for name, count in counts.items())


def sentence(tables: Tables) -> str:
    """How many examples were for training and for validation, over how many draws; empty where all are read."""
    known, runs = few(tables), placed(tables, "compared")
    texts = []
    for dataset, count in _counts(tables).items():
        what = noun(tables, dataset)
        numbers = sorted(number for name, number in known if name == dataset)
        sizes = [
            f"{n:,} {what} + {_validation(tables, _on(runs, dataset, n), dataset)} for validation" for n in numbers
        ]
        caution = f" (other {what} may give another result)" * (count == 1)
        texts.append(f"{dataset}: {formatting.listing(sizes)}, {in_words(count, what)}{caution}.")
    return " ".join(texts)


def _counts(tables: Tables) -> dict[str, int]:
    """The draws of few examples by data set, the fewest of them."""
    known, runs = few(tables), placed(tables, "compared")
    counts: dict[str, int] = {}
    for dataset, number in known:
        if count := draws(known, _on(runs, dataset, number)):
            counts[dataset] = min(count, counts.get(dataset, count))
    return counts


def _on(runs: pd.DataFrame, dataset: str, number: int) -> pd.DataFrame:
    """The runs on so many training examples of a data set."""
    return runs[((runs["dataset"] == dataset) & (runs.get("examples", 0) == number)).fillna(False)]


def _validation(tables: Tables, runs: pd.DataFrame, dataset: str) -> str:
    """The number of validation examples; older runs did not record it and had all of the split."""
    data = tables["datasets"]
    found: Any = runs["validation_examples"].dropna() if "validation_examples" in runs else runs.iloc[:0, 0]
    if found.empty and "validation_examples" in data:
        found = data.loc[(data["dataset"] == dataset).fillna(False), "validation_examples"].dropna()
    return f"{int(found.iloc[0]):,}" if len(found) else "all"
