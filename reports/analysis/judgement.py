"""Tests the pairs of a report: the declared ones, all others, controls and changes."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from pathlib import PurePath
from typing import Final

import pandas as pd

from archbench.reports.analysis import sequential
from archbench.reports.analysis.accounting import accounted
from archbench.reports.analysis.comparison import Comparison, by_condition
from archbench.reports.analysis.comparisons import Comparisons, parts
from archbench.reports.analysis.conditions import condition
from archbench.reports.analysis.contrasts import Contrast, Contrasts, Control, holm_corrected, marked
from archbench.reports.analysis.effects import effects
from archbench.reports.analysis.factors import factors
from archbench.reports.analysis.groups import Group
from archbench.reports.analysis.scaling import Trend, trends
from archbench.reports.analysis.sequential import Rule
from archbench.reports.analysis.sweeps import sweeps
from archbench.reports.analysis.testing import (
    Question,
    answered,
    contrast,
    exploratory_contrast,
    failed_gates,
    with_alternatives,
)
from archbench.reports.base.declared import Pair, contrasts_and_margins, entered
from archbench.reports.base.statistics import Sample, pool
from archbench.reports.base.tables import Tables
from archbench.runs.experiment.spec import DEFAULT_CONTRASTS
from archbench.tasks.metrics.metric import Metric

FEW: Final = 4  # architectures of which every pair is a contrast where none is declared
once_per_report = lru_cache(maxsize=1)  # for functions of one `Judged`: keeps what they return for the latest report


@dataclass(frozen=True, eq=False)
class Judged:
    """A report's comparisons by their primary metrics, the best architectures marked, and all that was tested.

    ``first`` has each data set under its first condition, ``further`` the others. ``trends`` has what size and depth
    do where conditions differ in them; these conditions are no effects.
    """

    comparisons: Comparisons
    first: tuple[Comparison, ...]
    further: tuple[Comparison, ...]
    tested: Contrasts
    trends: tuple[Trend, ...] = ()

    @property
    def headlines(self) -> tuple[Comparison, ...]:
        return (*self.first, *self.further)


def judge(tables: Tables) -> Judged:
    """Compare and test everything that the tables hold."""
    comparisons = Comparisons(tables)
    headlines = comparisons.headlines()
    first, further = by_condition(headlines)
    tested_sweeps = trends(comparisons, sweeps(comparisons, first, further))
    tested = contrasts(comparisons, headlines, tested_sweeps)
    return Judged(
        comparisons,
        tuple(marked(comparison, tested.primary_on(comparison.group.dataset)) for comparison in first),
        tuple(further),
        tested,
        tuple(tested_sweeps),
    )


def contrasts(comparisons: Comparisons, headlines: Sequence[Comparison], trends: Sequence[Trend] = ()) -> Contrasts:
    """Test every pair of every group by its primary metric, the controls, and what a change does.

    The points of the sweeps of ``trends`` are tested there, as steps, and not once more as changes.
    """
    declared, margins = contrasts_and_margins(comparisons.tables)
    first, further = by_condition(headlines)
    tester = _Tester(comparisons, declared, margins)
    rule = sequential.rule(comparisons.tables)
    primary = tester.primary(first) if rule is None else sequentially(comparisons.tables, rule)
    budgets = [part for comparison in first for part in parts(comparisons, comparison)]
    exploratory = [
        entry for comparison in (*first, *further, *budgets) for entry in tester.others(comparison, comparison in first)
    ]
    asked = [entry for comparison in first for entry in tester.controls(comparison)]
    answers = answered(comparisons, [question for question, _ in asked])
    controls = [Control(entry, expected) for entry, (_, expected) in zip(answers, asked, strict=True)]
    points = [point.comparison for trend in trends for point in trend.sweep.points]
    changes = effects(
        comparisons, first, [comparison for comparison in further if not any(comparison is point for point in points)]
    )
    tested = Contrasts(
        tuple(primary),
        tuple(exploratory),
        tuple(controls),
        tuple(changes),
        tuple(factors(comparisons, first)),
    )
    return accounted(comparisons.tables, first, further, tested)


def sequentially(tables: Tables, rule: Rule) -> list[Contrast]:
    """The primary contrasts of an experiment that adds seeds, from what was known at each look."""
    family = sequential.HypothesisFamily(rule)
    contrasts: list[Contrast] = []
    for look in range(sequential.looks(tables, rule)):
        contrasts = family.look(*_at_look(tables, rule, look))
    return contrasts


def _at_look(tables: Tables, rule: Rule, look: int) -> tuple[dict[int, Contrast], int]:
    """The primary contrasts that are tested at a look, by their place in the family; how many have no runs yet."""
    comparisons = Comparisons(sequential.at_look(tables, rule, look))
    first: dict[str, Comparison] = {}
    for group in comparisons.groups:
        if group.dataset not in first:
            first[group.dataset] = comparisons.compare(group, comparisons.primary(group))
    tester = _Tester(comparisons, *contrasts_and_margins(tables))
    tested = tester.tested(list(first.values()), {name: rule.alpha_share(name, look) for name in first})
    complete = {
        index: entry
        for index, entry in enumerate(tested)
        if sequential.complete(
            first[entry.dataset].group.runs, (entry.first, entry.second), rule.last.get(entry.dataset, 0), look
        )
    }
    return complete, tester.planned(list(first.values()))


def still_open(tables: Tables) -> dict[str, list[str]]:
    """The architectures of the primary contrasts that are open, by data set."""
    rule = sequential.rule(tables)
    names: dict[str, list[str]] = {}
    for entry in sequentially(tables, rule) if rule is not None else ():
        if entry.outcome == "open":
            names[entry.dataset] = list(dict.fromkeys((*names.get(entry.dataset, ()), entry.first, entry.second)))
    return names


class _Tester:
    """Tests pairs within a group."""

    def __init__(self, comparisons: Comparisons, declared: Sequence[Pair], margins: dict[str, float]) -> None:
        self.comparisons, self.declared, self.margins = comparisons, declared, margins

    def primary(self, first: Sequence[Comparison]) -> list[Contrast]:
        """The primary contrasts; those that are declared on data sets without runs yet count as tests."""
        return holm_corrected(self.tested(first), planned=self.planned(first))

    def tested(self, first: Sequence[Comparison], alpha_shares: Mapping[str, float] | None = None) -> list[Contrast]:
        """The primary contrasts, not yet corrected; ``alpha_shares`` is the part of the error to spend, by data set."""
        size = sum(len(self._declared(comparison.group)) for comparison in first) + self.planned(first)
        alpha_shares = alpha_shares or {}
        return [
            entry
            for comparison in first
            for entry in self._primary(comparison, size, alpha_shares.get(comparison.group.dataset, 1.0))
        ]

    def _primary(self, comparison: Comparison, tests: int, alpha_share: float) -> Iterator[Contrast]:
        samples = self._samples(comparison.group, comparison.metric)
        declared = self._declared(comparison.group)
        # Only these are pooled, so that a variant that is added later changes no primary p value.
        within = {name for pair in declared for name in pair}
        named = {name: sample for name, sample in samples.items() if name in within}
        for pair in declared:
            margin = self.margins.get(comparison.metric.name, math.nan)
            question = Question(comparison.group, comparison.metric, pair)
            gates = failed_gates(self.comparisons, question)
            tested = contrast(question, named, pool(list(named.values())), margin, tests, gates, alpha_share)
            yield with_alternatives(tested, question, named, alpha_share)

    def others(self, comparison: Comparison, first: bool) -> Iterator[Contrast]:
        """The pairs that are not primary here; only those that have scores."""
        declared = {frozenset(pair) for pair in self._declared(comparison.group)} if first else set()
        samples = self._samples(comparison.group, comparison.metric)
        for pair in combinations(samples, 2):
            if frozenset(pair) not in declared:
                condition_text = "" if first else condition(comparison.group)
                yield exploratory_contrast(
                    self.comparisons, Question(comparison.group, comparison.metric, pair, condition_text)
                )

    def controls(self, comparison: Comparison) -> Iterator[tuple[Question, str]]:
        """What to ask of each control, and how it has to come out."""
        rows = self.comparisons.placed("control")
        rows = rows[(rows["dataset"] == comparison.group.dataset).fillna(False)]
        for name, control in rows.groupby("architecture", sort=False):
            reference = _reference(comparison.group, control)
            if reference is None:
                continue
            runs_of_group = comparison.group.runs
            runs = pd.concat([runs_of_group[runs_of_group["architecture"] == reference], control], ignore_index=True)
            group = Group(comparison.group.dataset, comparison.group.task, {}, runs)
            expected = "same" if (control["share"] == 1).all() else "ahead"
            yield Question(group, comparison.metric, (reference, str(name))), expected

    def _declared(self, group: Group) -> list[Pair]:
        """The declared pairs that the group has; where the usual ones are declared and it has none, its own.

        These are every pair of a few architectures, and the first against each of many.
        """
        return self._pairs(group.architectures)

    def planned(self, first: Sequence[Comparison]) -> int:
        """How many primary contrasts are declared on data sets that have no run yet, because trials come first."""
        known = {comparison.group.dataset for comparison in first}
        waiting = [task for task in entered(self.comparisons.tables, "tasks") if task.get("name") not in known]
        named = [[PurePath(str(name)).stem for name in task.get("architectures") or ()] for task in waiting]
        return sum(len(self._pairs(names)) for names in named)

    def _pairs(self, architectures: Sequence[str]) -> list[Pair]:
        declared_pairs = [pair for pair in self.declared if set(architectures).issuperset(pair)]
        if declared_pairs or tuple(self.declared) != DEFAULT_CONTRASTS:
            return declared_pairs
        pairs = list(combinations(architectures, 2))
        return pairs if len(architectures) <= FEW else pairs[: len(architectures) - 1]

    def _samples(self, group: Group, metric: Metric) -> dict[str, Sample]:
        return self.comparisons.samples(group, metric.name) if metric.better else {}


def _reference(group: Group, control: pd.DataFrame) -> str | None:
    """The architecture of the group that a control repeats: the one of the same variant, which its name begins with."""
    name = str(control["architecture"].iloc[0])
    return next((architecture for architecture in group.architectures if name.startswith(f"{architecture}, ")), None)
