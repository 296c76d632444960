"""Puts the pairs of a report to the test: the declared ones, all others, the controls."""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any, Final

import pandas as pd

from reports.comparison import Comparison, Comparisons, Group, by_condition, oriented, placed
from reports.conditions import condition
from reports.contrasts import ALPHA, Contrast, Contrasts, Control, Pair, corrected_for_family, marked
from reports.metrics import metric
from reports.statistics import (
    POWER,
    Interval,
    Sample,
    detectable,
    difference_interval,
    p_beyond,
    p_difference,
    pool,
    seeds_needed,
)
from reports.tables import Tables
from runs.spec import DEFAULT_CONTRASTS, MARGINS

FEW: Final = 4  # architectures of which every pair is a contrast where none is declared


@dataclass(frozen=True)
class Judged:
    """A report's comparisons by their primary metrics, the best architectures marked, and all that was tested.

    ``first`` has each data set under its first condition, ``further`` the others.
    """

    comparisons: Comparisons
    first: tuple[Comparison, ...]
    further: tuple[Comparison, ...]
    tested: Contrasts

    @property
    def headlines(self) -> tuple[Comparison, ...]:
        return (*self.first, *self.further)


def judge(tables: Tables) -> Judged:
    """Compare and test everything that the tables hold."""
    comparisons = Comparisons(tables)
    headlines = comparisons.headlines()
    tested = contrasts(comparisons, headlines)
    first, further = by_condition(headlines)
    return Judged(
        comparisons,
        tuple(marked(one, tested.of(one.group.dataset)) for one in first),
        tuple(further),
        tested,
    )


def contrasts(comparisons: Comparisons, headlines: Sequence[Comparison]) -> Contrasts:
    """Test every pair of every group by its primary metric, and the controls."""
    declared, margins = stated(comparisons.tables)
    first, further = by_condition(headlines)
    tester = _Tester(comparisons, declared, margins)
    family = tester.family(first)
    primary = [one for found in first for one in tester.primary(found, family)]
    exploratory = [one for found in (*first, *further) for one in tester.others(found, found in first)]
    controls = [one for found in first for one in tester.controls(found)]
    corrected = corrected_for_family([one.contrast for one in controls])
    controls = [replace(one, contrast=contrast) for one, contrast in zip(controls, corrected, strict=True)]
    return Contrasts(tuple(corrected_for_family(primary)), tuple(exploratory), tuple(controls))


def stated(tables: Tables) -> tuple[tuple[Pair, ...], dict[str, float]]:
    """The contrasts that the experiment declares, and its margins by metric."""
    rows = tables["experiment"]
    texts = rows.loc[(rows["key"] == "specification").fillna(False), "value"].dropna()
    try:
        specification: Any = json.loads(texts.iloc[0]) if len(texts) else {}
    except ValueError:
        specification = {}
    pairs = specification.get("contrasts", DEFAULT_CONTRASTS)
    return tuple((str(a), str(b)) for a, b in pairs), {**MARGINS, **specification.get("margins", {})}


def tested(comparisons: Comparisons, group: Group, name: str, pair: Pair) -> Contrast:
    """The contrast of two architectures of a group that was put together for it; not corrected."""
    _, margins = stated(comparisons.tables)
    samples = comparisons.samples(group, name)[1]
    return _contrast(group, name, pair, samples, margins.get(name, math.nan), "")


class _Tester:
    """Tests pairs within a group."""

    def __init__(self, comparisons: Comparisons, declared: Sequence[Pair], margins: dict[str, float]) -> None:
        self.comparisons, self.declared, self.margins = comparisons, declared, margins
        self.named = {name for pair in declared for name in pair}

    def family(self, first: Sequence[Comparison]) -> int:
        """The number of primary contrasts."""
        return sum(len(self._declared(found.group)) for found in first)

    def primary(self, found: Comparison, family: int) -> Iterator[Contrast]:
        samples = self._samples(found.group, found.metric.name)
        declared = self._declared(found.group)
        within = {name for pair in declared for name in pair}
        named = {name: sample for name, sample in samples.items() if name in within}
        for pair in declared:
            yield self._contrast(found.group, found.metric.name, pair, named, first=True, family=family)

    def others(self, found: Comparison, first: bool) -> Iterator[Contrast]:
        """The pairs that are not primary here; only those that have scores."""
        declared = {frozenset(pair) for pair in self._declared(found.group)} if first else set()
        samples = self._samples(found.group, found.metric.name)
        for pair in combinations(samples, 2):
            if frozenset(pair) not in declared:
                yield self._contrast(found.group, found.metric.name, pair, samples, first=first)

    def controls(self, found: Comparison) -> Iterator[Control]:
        rows = placed(self.comparisons.tables, "control")
        rows = rows[(rows["dataset"] == found.group.dataset).fillna(False)]
        for name, control in rows.groupby("architecture", sort=False):
            reference = _reference(found.group, control)
            if reference is None:
                continue
            own, named = found.group.runs, self.named | {reference}
            runs = pd.concat([own[own["architecture"].isin(list(named))], control], ignore_index=True)
            group = Group(found.group.dataset, found.group.task, {}, runs)
            samples = self._samples(group, found.metric.name)
            pair = (reference, str(name))
            contrast = self._contrast(group, found.metric.name, pair, samples, first=True)
            yield Control(contrast, "same" if (control["share"] == 1).all() else "ahead")

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

    def _contrast(
        self, group: Group, name: str, pair: Pair, samples: dict[str, Sample], *, first: bool, family: int = 0
    ) -> Contrast:
        said = "" if first else condition(group)
        return _contrast(group, name, pair, samples, self.margins.get(name, math.nan), said, family)


def _contrast(
    group: Group, name: str, pair: Pair, samples: dict[str, Sample], margin: float, said: str, family: int = 0
) -> Contrast:
    """Test one pair; the variance between seeds is pooled over all ``samples``.

    ``family`` is the number of primary contrasts, 0 for one that is not primary.
    """
    alpha = ALPHA / max(family, 1)
    a, b = (samples.get(one) for one in pair)
    difference, seeds = Interval(math.nan), None
    if a is not None and b is not None:
        pooled = pool(list(samples.values()))
        difference = oriented(difference_interval(a, b, pooled), metric(name))
        routes = () if difference.error == 0 else _routes(difference.mean, margin, alpha)
        needed = (seeds_needed(a, b, pooled, *route) for route in routes)
        seeds = min((count for count in needed if count is not None), default=None)
    return Contrast(
        dataset=group.dataset,
        task=group.task,
        condition=said,
        metric=name,
        first=pair[0],
        second=pair[1],
        difference=difference,
        p=p_difference(difference),
        p_beyond=math.nan if math.isnan(margin) else p_beyond(difference, margin),
        margin=margin,
        detectable=detectable(difference, 1 - alpha),
        seeds=seeds,
        runs=min(len(a.values), len(b.values)) if a is not None and b is not None else 0,
        primary=family > 0,
        family=max(family, 1),
    )


def _routes(mean: float, margin: float, alpha: float) -> list[tuple[float, float, float]]:
    """The ways in which a true difference of ``mean`` can be decided: distance, error on that side, power.

    It is told from none; and, where it is within the margin, from the margin. There both sides have to be ruled out, so
    that each gets half of the chance of missing it.
    """
    found = [(abs(mean), alpha / 2, POWER)]
    if abs(mean) < margin:
        found.append((margin - abs(mean), alpha, 1 - (1 - POWER) / 2))
    return found


def _reference(group: Group, control: pd.DataFrame) -> str | None:
    """The architecture of the group that a control repeats: the one of the same variant, which its name begins with."""
    name = str(control["architecture"].iloc[0])
    return next((one for one in group.architectures if name.startswith(f"{one}, ")), None)
