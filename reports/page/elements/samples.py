"""Answers of the architectures to the same inputs, side by side."""

from dataclasses import dataclass
from typing import Any, Final

import pandas as pd

from archbench.reports.results.groups import Group
from archbench.tasks.metrics.builtin import TEXTS

EXAMPLES: Final = 5
LONGEST: Final = 500
EXACT_MATCH: Final = "exact match"


@dataclass(frozen=True)
class MarkedAnswer:
    """Answer of one architecture; `mark` is how good it is, in a word or by a metric, and `good` how to show it.

    A label is right or wrong. A translation is an exact match of its reference, or has a chrF: another translation than
    the reference may be correct.
    """

    architecture: str
    text: str
    mark: str = ""
    good: bool | None = None


@dataclass(frozen=True)
class AnsweredExample:
    """One test example with the answers to it."""

    source: str
    reference: str
    answers: tuple[MarkedAnswer, ...]


@dataclass(frozen=True)
class AnsweredExamples:
    """The first answered test examples of a group; every architecture answers with its first finished seed."""

    seeds: str
    examples: tuple[AnsweredExample, ...]


def samples(
    predictions: pd.DataFrame, group: Group, one_answer: bool = False, labels: bool = False, most: int = EXAMPLES
) -> AnsweredExamples:
    """The first `most` test examples that every architecture has answered; not chosen for their content.

    `one_answer`: there is one right answer, so that each is marked; `labels`: an answer is a label.
    """
    chosen = _first_runs(group, set(predictions["run"].unique()))
    rows = predictions[predictions["run"].isin(list(chosen.values())) & predictions["answer"].notna()]
    rows = rows.assign(right=rows["correct"] if one_answer else None)
    by_run = {
        run: part.drop_duplicates("example").set_index("example") for run, part in rows.groupby("run", sort=False)
    }
    examples = tuple(
        _example(example, {name: by_run[run] for name, run in chosen.items() if run in by_run}, labels)
        for example in _shared(list(by_run.values()))[:most]
    )
    runs = group.runs.set_index("run")
    seeds = sorted({str(seed) for seed in runs.loc[list(chosen.values()), "seed"].dropna()})
    return AnsweredExamples(", ".join(seeds), examples)


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
    return sorted(index)


def _example(example: Any, by_architecture: dict[str, pd.DataFrame], labels: bool) -> AnsweredExample:
    first = next(iter(by_architecture.values())).loc[example]
    answers = tuple(_marked(name, rows.loc[example], labels) for name, rows in by_architecture.items())
    return AnsweredExample(_cut(first["source"]), _cut(first["reference"]), answers)


def _marked(architecture: str, row: "pd.Series[Any]", labels: bool) -> MarkedAnswer:
    text, matches = _cut(row["answer"]), row["right"]
    if pd.isna(matches):
        return MarkedAnswer(architecture, text)
    if labels:
        return MarkedAnswer(architecture, text, "right" if matches else "wrong", bool(matches))
    if matches:
        return MarkedAnswer(architecture, text, EXACT_MATCH, True)
    chrf = TEXTS["chrf"].value([str(row["reference"])], [str(row["answer"])])  # of this sentence, not its contribution
    return MarkedAnswer(architecture, text, f"chrF {chrf:.0f}")


def _cut(text: Any) -> str:
    visible = "" if pd.isna(text) else str(text)
    return visible if len(visible) <= LONGEST else visible[:LONGEST] + "…"
