"""Pairs of architectures on one data set: the primary contrasts, which the experiment declares, and all others."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from pathlib import PurePath
from typing import TYPE_CHECKING, Final

from archbench.reports.base.declared import Pair, contrasts_and_margins, entered
from archbench.reports.base.statistics import Sample
from archbench.reports.base.tables import Tables
from archbench.reports.contrasts import sequential
from archbench.reports.contrasts.contrast import Contrast, holm_corrected
from archbench.reports.contrasts.sequential import Rule
from archbench.reports.contrasts.testing import Question, answer, with_alternatives
from archbench.reports.results.comparison import Comparison
from archbench.reports.results.comparisons import Comparisons, parts
from archbench.reports.results.groups import Group
from archbench.runs.experiment.spec import DEFAULT_CONTRASTS

if TYPE_CHECKING:
    from archbench.reports.report import Report

FEW: Final = 4  # up to this many architectures, all pairs are contrasts if none is declared


def primary(comparisons: Comparisons, first: Sequence[Comparison]) -> list[Contrast]:
    """The primary contrasts, corrected also for those that are declared on data sets without runs yet."""
    rule = sequential.rule(comparisons.tables)
    if rule is not None:
        return sequentially(comparisons.tables, rule)
    return holm_corrected(_tested(comparisons, first), planned=_planned(comparisons, first))


def exploratory(report: "Report") -> Iterator[Question]:
    """A question for each pair that is not primary and has scores."""
    first, further = report.judged_by_condition
    budgets = [part for comparison in first for part in parts(report.comparisons, comparison)]
    for comparison in (*first, *further, *budgets):
        is_first = comparison in first
        declared = set(map(frozenset, _declared(report.comparisons, comparison.group))) if is_first else set()
        condition_text = "" if is_first else comparison.group.condition
        for pair in combinations(_samples(report.comparisons, comparison), 2):
            if frozenset(pair) not in declared:
                yield Question(comparison.group, comparison.metric, pair, condition_text)


def sequentially(tables: Tables, rule: Rule) -> list[Contrast]:
    """The primary contrasts of an experiment that adds seeds, from what was known at each look."""
    family = sequential.HypothesisFamily(rule)
    contrasts: list[Contrast] = []
    for look in range(sequential.looks(tables, rule)):
        contrasts = family.look(*_at_look(tables, rule, look))
    return contrasts


def still_open(tables: Tables) -> dict[str, list[str]]:
    """The architectures of the primary contrasts that are open, by data set."""
    rule = sequential.rule(tables)
    names: dict[str, list[str]] = {}
    for entry in sequentially(tables, rule) if rule is not None else ():
        if entry.outcome == "open":
            names[entry.dataset] = list(dict.fromkeys((*names.get(entry.dataset, ()), entry.first, entry.second)))
    return names


def _at_look(tables: Tables, rule: Rule, look: int) -> tuple[dict[int, Contrast], int]:
    """The primary contrasts that are tested at a look, by their place in the family; how many have no runs yet."""
    comparisons = Comparisons(sequential.at_look(tables, rule, look))
    first: dict[str, Comparison] = {}
    for group in comparisons.groups:
        if group.dataset not in first:
            first[group.dataset] = comparisons.compare(group, comparisons.primary(group)[0])
    tested = _tested(comparisons, list(first.values()), {name: rule.alpha_share(name, look) for name in first})
    complete = {
        index: entry
        for index, entry in enumerate(tested)
        if sequential.complete(
            first[entry.dataset].group.runs, (entry.first, entry.second), rule.last.get(entry.dataset, 0), look
        )
    }
    return complete, _planned(comparisons, list(first.values()))


def _tested(
    comparisons: Comparisons, first: Sequence[Comparison], alpha_shares: Mapping[str, float] | None = None
) -> list[Contrast]:
    """The primary contrasts by each measure, not yet corrected.

    ``alpha_shares`` is the part of the error to spend, by data set.
    """
    judged = [entry for comparison in first for entry in comparisons.by_measure(comparison)]
    questions = [question for comparison in judged for question in _primary(comparisons, comparison)]
    tests, shares = len(questions) + _planned(comparisons, first), alpha_shares or {}
    tested = []
    for question in questions:
        share = shares.get(question.dataset, 1.0)
        tested.append(with_alternatives(answer(comparisons, question, tests, share), question, share))
    return tested


def _primary(comparisons: Comparisons, comparison: Comparison) -> Iterator[Question]:
    """The declared pairs. Only their scores are pooled: a variant that is added later changes no primary p value."""
    declared = _declared(comparisons, comparison.group)
    within = {name for pair in declared for name in pair}
    samples = {name: sample for name, sample in _samples(comparisons, comparison).items() if name in within}
    for pair in declared:
        yield Question(comparison.group, comparison.metric, pair, samples=samples)


def _samples(comparisons: Comparisons, comparison: Comparison) -> dict[str, Sample]:
    return comparisons.samples(comparison.group, comparison.metric.name) if comparison.metric.better else {}


def _declared(comparisons: Comparisons, group: Group) -> list[Pair]:
    return _pairs(contrasts_and_margins(comparisons.tables)[0], group.architectures)


def _planned(comparisons: Comparisons, first: Sequence[Comparison]) -> int:
    """How many primary contrasts are declared on data sets that have no run yet, because trials come first."""
    known = {comparison.group.dataset for comparison in first}
    declared = contrasts_and_margins(comparisons.tables)[0]
    waiting = [task for task in entered(comparisons.tables, "tasks") if task.get("name") not in known]
    named = [[PurePath(str(name)).stem for name in task.get("architectures") or ()] for task in waiting]
    measures = [1 if isinstance(task.get("primary"), str) else len(task.get("primary") or "1") for task in waiting]
    return sum(len(_pairs(declared, names)) * count for names, count in zip(named, measures, strict=True))


def _pairs(declared: Sequence[Pair], architectures: Sequence[str]) -> list[Pair]:
    """The declared pairs among these architectures.

    If the default contrasts are declared and none of them applies: all pairs of up to ``FEW`` architectures; of more,
    the first against each other one.
    """
    present = [pair for pair in declared if set(architectures).issuperset(pair)]
    if present or tuple(declared) != DEFAULT_CONTRASTS:
        return present
    pairs = list(combinations(architectures, 2))
    return pairs if len(architectures) <= FEW else pairs[: len(architectures) - 1]
