"""Answers of the architectures to the same inputs, side by side."""

from dataclasses import dataclass
from typing import Any, Final

import pandas as pd

from archbench.reports.analysis.comparison import Group
from archbench.reports.analysis.contributions import right

EXAMPLES: Final = 5
LONGEST: Final = 500


@dataclass(frozen=True)
class Answer:
    """What one architecture answered; `mark` says right or wrong where the task has one right answer."""

    architecture: str
    text: str
    mark: str


@dataclass(frozen=True)
class Sample:
    """One test example with the answers to it."""

    source: str
    reference: str
    answers: tuple[Answer, ...]


@dataclass(frozen=True)
class Samples:
    """The first answered test examples of a group; every architecture answers with its first finished seed."""

    seeds: str
    examples: tuple[Sample, ...]


def samples(predictions: pd.DataFrame, group: Group, one_answer: bool = False) -> Samples:
    """The first `EXAMPLES` test examples that every architecture has answered; not chosen for their content.

    `one_answer`: there is one right answer, so that each is marked right or wrong.
    """
    chosen = _first_runs(group, set(predictions["run"].unique()))
    rows = predictions[predictions["run"].isin(list(chosen.values())) & predictions["answer"].notna()]
    rows = rows.assign(right=right(rows) if one_answer else None)
    by_run = {
        run: part.drop_duplicates("example").set_index("example") for run, part in rows.groupby("run", sort=False)
    }
    shared = _shared(list(by_run.values()))
    examples = tuple(
        _sample(example, {name: by_run[run] for name, run in chosen.items() if run in by_run}) for example in shared
    )
    runs = group.runs.set_index("run")
    seeds = sorted({str(seed) for seed in runs.loc[list(chosen.values()), "seed"].dropna()})
    return Samples(", ".join(seeds), examples)


def _first_runs(group: Group, answered: set[str]) -> dict[str, str]:
    """Each architecture's finished run with the lowest seed."""
    done = group.runs[(group.runs["status"] == "done").fillna(False) & group.runs["run"].isin(answered)]
    ordered = done.sort_values("seed").drop_duplicates("architecture").set_index("architecture")["run"]
    return {name: str(ordered[name]) for name in group.architectures if name in ordered}


def _shared(parts: list[pd.DataFrame]) -> list[Any]:
    if not parts:
        return []
    index = parts[0].index
    for part in parts[1:]:
        index = index.intersection(part.index)
    return sorted(index)[:EXAMPLES]


def _sample(example: Any, by_architecture: dict[str, pd.DataFrame]) -> Sample:
    first = next(iter(by_architecture.values())).loc[example]
    answers = tuple(
        Answer(name, _cut(rows.loc[example, "answer"]), _mark(rows.loc[example, "right"]))
        for name, rows in by_architecture.items()
    )
    return Sample(_cut(first["source"]), _cut(first["reference"]), answers)


def _mark(found: Any) -> str:
    return "" if pd.isna(found) else "right" if found else "wrong"


def _cut(text: Any) -> str:
    shown = "" if pd.isna(text) else str(text)
    return shown if len(shown) <= LONGEST else shown[:LONGEST] + "…"
