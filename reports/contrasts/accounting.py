"""Verdicts that depend on the accounting: on what is held equal (``match``) or which tokens have a loss.

A primary contrast is decided under the first condition. Where it is decided differently, at 5% and not corrected, under
a condition that differs from the first one in axis or supervision and in nothing else, it is not called decided. Seeds,
listed architectures and trials of its own are no difference: they say how a condition is run, not what it holds equal.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from archbench.reports.base.declared import Pair, entered
from archbench.reports.base.formatting import listing
from archbench.reports.base.tables import Tables
from archbench.reports.contrasts.contrast import Answers, Contrast
from archbench.reports.contrasts.phrase import phrase
from archbench.reports.contrasts.verdicts import same_outcome
from archbench.reports.results.comparison import Comparison

IGNORED: Final = frozenset(
    {"supervision", "condition", "architectures", "seeds", "own", "tuned", "tuning", "retuned", "budget"}
)  # keys of a resolved task that may differ; of the budget only its match may


def accounted(
    tables: Tables,
    first: Sequence[Comparison],
    further: Sequence[Comparison],
    primary: Sequence[Contrast],
    exploratory: Answers,
) -> tuple[Contrast, ...]:
    """The primary contrasts, each that depends on the accounting marked as such, by its own measure."""
    by_dataset = {comparison.group.dataset: comparison for comparison in first}
    others = {
        name: [other for other in further if other.group.dataset == name and is_accounting(tables, base, other)]
        for name, base in by_dataset.items()
    }
    return tuple(
        replace(contrast, accounting=_accounting(contrast, by_dataset[contrast.dataset], others, exploratory))
        for contrast in primary
    )


def is_accounting(tables: Tables, first: Comparison, other: Comparison) -> bool:
    """True if a further condition differs from the first one in axis or supervision, and in nothing else."""
    place, base_place = other.group.place, first.group.place
    if place.condition == base_place.condition:
        return place.match != base_place.match
    named = [task for task in entered(tables, "tasks") if task.get("name") == first.group.dataset]
    entries = [
        task
        for task in entered(tables, "conditions")
        if (task.get("name"), task.get("condition")) == (first.group.dataset, place.condition)
        and place.match in _axes(task)
    ]
    if base_place.condition or not named or not entries:
        return False
    base = named[0]
    return all(
        _rest(task) == _rest(base)
        and (place.match != base_place.match or task.get("supervision") != base.get("supervision"))
        for task in entries
    )


def _accounting(contrast: Contrast, first: Comparison, others: dict[str, list[Comparison]], tested: Answers) -> str:
    """Where a decided contrast is decided differently, and how; empty where nowhere."""
    if not contrast.decided:
        return ""
    pair = (contrast.first, contrast.second)
    by_outcome: dict[str, list[str]] = {}
    for comparison in others[contrast.dataset]:
        if _runs(comparison, pair) <= _runs(first, pair):
            continue  # the same runs again
        for other in tested.under_condition(contrast, comparison.group.condition):
            if other.decided and not other.flat and not same_outcome(contrast, other):
                by_outcome.setdefault(phrase(other, "clause"), []).append(first.group.without_first(other.condition))
    if not by_outcome:
        return ""
    turned = "; ".join(f"{words} under {listing(conditions)}" for words, conditions in by_outcome.items())
    return f"{phrase(contrast, 'clause')} under the first condition, but {turned}"


def _axes(task: dict[str, Any]) -> Sequence[str]:
    axes = (task.get("budget") or {}).get("match") or ()
    return (axes,) if isinstance(axes, str) else axes


def _rest(task: dict[str, Any]) -> dict[str, Any]:
    """A resolved task without what a condition on another accounting may change."""
    budget = {key: value for key, value in (task.get("budget") or {}).items() if key != "match"}
    return {key: value for key, value in task.items() if key not in IGNORED} | {"budget": budget}


def _runs(comparison: Comparison, pair: Pair) -> set[str]:
    runs = comparison.group.runs
    return set(runs.loc[runs["architecture"].isin(pair), "run"])
