"""What a change of the task does to an architecture: a condition against the first one, a task against its baseline.

Contrasts of architectures stay within one condition. Here the same architecture stands on both sides, under the
names "decoder with dropout 0.1" and "decoder", or "decoder on phrases-char" and "decoder on phrases-bpe".
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pandas as pd

from reports.comparison import Comparison, Comparisons, Group, baselines
from reports.contrasts import Contrast
from reports.metrics import metric
from reports.testing import Question, answered

EXACT = "bits_per_byte"  # where two tasks have no metric in common that other tokens leave alone


@dataclass(frozen=True)
class Change:
    """A comparison, and what is added to an architecture's name there."""

    found: Comparison
    said: str

    def named(self) -> pd.DataFrame:
        """Its runs, every architecture under its name with the change."""
        runs = self.found.group.runs
        return runs.assign(architecture=runs["architecture"].astype(str) + self.said)


def effects(comparisons: Comparisons, first: Sequence[Comparison], further: Sequence[Comparison]) -> list[Contrast]:
    """Every change against what it changes, by the primary metric; corrected for being so many (Holm)."""
    held = baselines(comparisons.tables)
    found: list[Question] = []
    for base in first:
        name = base.group.dataset
        own = [one for one in further if one.group.dataset == name]
        found += _asked(Change(base, ""), [each for one in own for each in _condition(base, one)])
        others = [one for one in first if held.get(one.group.dataset) == name]
        named = [Change(one, f" on {one.group.dataset}") for one in others]
        found += _asked(Change(base, f" on {name}"), named)
    return answered(comparisons, found)


def _condition(base: Comparison, other: Comparison) -> Iterator[Change]:
    """A further condition on the same axis, where it changes more than the axis."""
    said, axes = other.group.condition.get("condition", ""), (base.group.runs["match"], other.group.runs["match"])
    if said and not base.group.condition.get("condition") and len({axis.iloc[0] for axis in axes}) == 1:
        yield Change(other, f" with {said}")


def _asked(base: Change, changes: Sequence[Change]) -> Iterator[Question]:
    """A question for every architecture and change; none where its runs are the same as without it."""
    runs = pd.concat([base.named(), *(each.named() for each in changes)], ignore_index=True)
    group = Group(base.found.group.dataset, base.found.group.task, {}, runs)
    for each in changes:
        for name in base.found.group.architectures:
            if name in each.found.group.architectures and not _same(base.found, each.found, name):
                pair = (f"{name}{each.said}", f"{name}{base.said}")
                yield Question(group, _metric(base.found, each.found), pair)


def _same(base: Comparison, other: Comparison, name: str) -> bool:
    """Whether the change did nothing to an architecture: every seed that both have gave the same score."""
    one, two = ({cell.architecture: cell.values for cell in found.cells}[name] for found in (base, other))
    common = one.keys() & two.keys()
    return base.metric.name == other.metric.name and bool(common) and all(one[seed] == two[seed] for seed in common)


def _metric(base: Comparison, other: Comparison) -> str:
    name = base.metric.name
    return name if name == other.metric.name and metric(name).across_tokenizers else EXACT
