"""Puts the pairs of a report to the test: the declared ones, all others, the controls, what a change does."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final

import pandas as pd

from archbench.reports.analysis.comparison import Comparison, Comparisons, Group, by_condition, parts
from archbench.reports.analysis.conditions import condition
from archbench.reports.analysis.contrasts import Contrast, Contrasts, Control, corrected_for_family, marked
from archbench.reports.analysis.effects import effects
from archbench.reports.analysis.factors import factors
from archbench.reports.analysis.scaling import Climb, climbs
from archbench.reports.analysis.sweeps import ladders
from archbench.reports.analysis.testing import Question, alone, answered, contrast
from archbench.reports.base.declared import Pair, stated
from archbench.reports.base.metrics import metric
from archbench.reports.base.statistics import Sample, pool
from archbench.reports.base.tables import Tables
from archbench.runs.experiment.spec import DEFAULT_CONTRASTS

FEW: Final = 4  # architectures of which every pair is a contrast where none is declared


@dataclass(frozen=True)
class Judged:
    """A report's comparisons by their primary metrics, the best architectures marked, and all that was tested.

    ``first`` has each data set under its first condition, ``further`` the others. ``climbs`` has what size and depth
    do where conditions differ in them; these conditions are no effects.
    """

    comparisons: Comparisons
    first: tuple[Comparison, ...]
    further: tuple[Comparison, ...]
    tested: Contrasts
    climbs: tuple[Climb, ...] = ()

    @property
    def headlines(self) -> tuple[Comparison, ...]:
        return (*self.first, *self.further)


def judge(tables: Tables) -> Judged:
    """Compare and test everything that the tables hold."""
    comparisons = Comparisons(tables)
    headlines = comparisons.headlines()
    first, further = by_condition(headlines)
    climbed = climbs(comparisons, ladders(comparisons, first, further))
    tested = contrasts(comparisons, headlines, climbed)
    return Judged(
        comparisons,
        tuple(marked(one, tested.of(one.group.dataset)) for one in first),
        tuple(further),
        tested,
        tuple(climbed),
    )


def contrasts(comparisons: Comparisons, headlines: Sequence[Comparison], climbed: Sequence[Climb] = ()) -> Contrasts:
    """Test every pair of every group by its primary metric, the controls, and what a change does.

    The rungs of what was ``climbed`` are tested there, as steps, and not once more as changes.
    """
    declared, margins = stated(comparisons.tables)
    first, further = by_condition(headlines)
    tester = _Tester(comparisons, declared, margins)
    family = tester.family(first)
    primary = [one for found in first for one in tester.primary(found, family)]
    budgets = [part for found in first for part in parts(comparisons, found)]
    exploratory = [one for found in (*first, *further, *budgets) for one in tester.others(found, found in first)]
    asked = [one for found in first for one in tester.controls(found)]
    tested = answered(comparisons, [question for question, _ in asked])
    controls = [Control(one, expected) for one, (_, expected) in zip(tested, asked, strict=True)]
    rungs = [rung.found for one in climbed for rung in one.ladder.rungs]
    changes = effects(comparisons, first, [one for one in further if not any(one is rung for rung in rungs)])
    return Contrasts(
        tuple(corrected_for_family(primary)),
        tuple(exploratory),
        tuple(controls),
        tuple(changes),
        tuple(factors(comparisons, first)),
    )


class _Tester:
    """Tests pairs within a group."""

    def __init__(self, comparisons: Comparisons, declared: Sequence[Pair], margins: dict[str, float]) -> None:
        self.comparisons, self.declared, self.margins = comparisons, declared, margins

    def family(self, first: Sequence[Comparison]) -> int:
        """The number of primary contrasts."""
        return sum(len(self._declared(found.group)) for found in first)

    def primary(self, found: Comparison, family: int) -> Iterator[Contrast]:
        samples = self._samples(found.group, found.metric.name)
        declared = self._declared(found.group)
        within = {name for pair in declared for name in pair}
        named = {name: sample for name, sample in samples.items() if name in within}
        for pair in declared:
            margin = self.margins.get(found.metric.name, math.nan)
            question = Question(found.group, found.metric.name, pair)
            yield contrast(question, named, pool(list(named.values())), margin, family)

    def others(self, found: Comparison, first: bool) -> Iterator[Contrast]:
        """The pairs that are not primary here; only those that have scores."""
        declared = {frozenset(pair) for pair in self._declared(found.group)} if first else set()
        samples = self._samples(found.group, found.metric.name)
        for pair in combinations(samples, 2):
            if frozenset(pair) not in declared:
                said = "" if first else condition(found.group)
                yield alone(self.comparisons, Question(found.group, found.metric.name, pair, said))

    def controls(self, found: Comparison) -> Iterator[tuple[Question, str]]:
        """What to ask of each control, and how it has to come out."""
        rows = self.comparisons.placed("control")
        rows = rows[(rows["dataset"] == found.group.dataset).fillna(False)]
        for name, control in rows.groupby("architecture", sort=False):
            reference = _reference(found.group, control)
            if reference is None:
                continue
            own = found.group.runs
            runs = pd.concat([own[own["architecture"] == reference], control], ignore_index=True)
            group = Group(found.group.dataset, found.group.task, {}, runs)
            expected = "same" if (control["share"] == 1).all() else "ahead"
            yield Question(group, found.metric.name, (reference, str(name))), expected

    def _declared(self, group: Group) -> list[Pair]:
        """The declared pairs that the group has; where the usual ones are declared and it has none, its own.

        These are every pair of a few architectures, and the first against each of many.
        """
        there = group.architectures
        found = [pair for pair in self.declared if set(there).issuperset(pair)]
        if found or tuple(self.declared) != DEFAULT_CONTRASTS:
            return found
        pairs = list(combinations(there, 2))
        return pairs if len(there) <= FEW else pairs[: len(there) - 1]

    def _samples(self, group: Group, name: str) -> dict[str, Sample]:
        return self.comparisons.samples(group, name)[1] if name and metric(name).better else {}


def _reference(group: Group, control: pd.DataFrame) -> str | None:
    """The architecture of the group that a control repeats: the one of the same variant, which its name begins with."""
    name = str(control["architecture"].iloc[0])
    return next((one for one in group.architectures if name.startswith(f"{one}, ")), None)
